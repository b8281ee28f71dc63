"""A picture of a run's losses, drawn from its metrics.jsonl."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cut.errors import UserError, reason
from cut.storage.files import write_whole
from cut.train.history import Curve, curves_of, read_entries

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WINDOW_SHARE = 0.05  # of a curve's points, in the moving average on either side together
_PANEL_INCHES = (8.0, 3.2)
_MOST_PANELS = 12


def plot_losses(run_dir: Path) -> None:
    """Draws `losses.png` from `metrics.jsonl`: a panel per player, a line per term; nothing where nothing is logged.

    Each line is a moving average over the raw values, which stand behind it in a pale tone.

    Raises:
        UserError: the file cannot be written.
    """
    curves = dict(list(read_losses(run_dir / "metrics.jsonl").items())[:_MOST_PANELS])
    if not curves:
        return
    import matplotlib  # only here, because it is slow to import; pyplot would keep figures of its own

    path = run_dir / "losses.png"
    try:
        with matplotlib.rc_context({"text.parse_math": False}):  # names are names
            write_whole(path, lambda file: _figure(curves).savefig(file, format="png", dpi=100))
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({reason(error)})") from None


def _figure(curves: dict[str, dict[str, Curve]]) -> "Figure":
    from matplotlib.figure import Figure

    width, height = _PANEL_INCHES
    figure = Figure(figsize=(width, height * len(curves)), layout="constrained")
    panels = figure.subplots(len(curves), 1, sharex=True, squeeze=False)[:, 0]
    for panel, (player, terms) in zip(panels, curves.items(), strict=True):
        for name, (steps, values) in terms.items():
            smooth = moving_average(values)
            (line,) = panel.plot(
                steps, smooth, label=f"{_plain(name)} ({smooth[-1]:.3g})", marker="." if len(steps) < 3 else ""
            )
            panel.plot(steps, values, color=line.get_color(), alpha=0.25, linewidth=0.8, zorder=1)
        panel.set_title(_plain(player), loc="left")
        panel.set_ylabel("loss")
        panel.grid(alpha=0.3)
        panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, title="term (now)")
    panels[-1].set_xlabel("step (generator updates)")
    return figure


def read_losses(path: Path) -> dict[str, dict[str, Curve]]:
    """The curve of each term `loss/<player>/<term>`, by player and term in the order of their first appearance."""
    losses: dict[str, dict[str, Curve]] = {}
    for key, curve in curves_of(read_entries(path)[0]).items():
        if key.startswith("loss/") and key.count("/") >= 2:
            _, player, term = key.split("/", 2)
            losses.setdefault(player, {})[term] = curve
    return losses


def _plain(name: str) -> str:
    """The name as matplotlib draws it unchanged: it would read what stands between dollar signs as a formula."""
    return name.replace("$", r"\$")


def moving_average(values: np.ndarray) -> np.ndarray:
    """The mean of each value and its neighbours, fewer of them towards the ends; of the same length."""
    reach = int(len(values) * _WINDOW_SHARE / 2)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    low, high = np.maximum(index - reach, 0), np.minimum(index + reach + 1, len(values))
    return (sums[high] - sums[low]) / (high - low)
