"""Reads a run directory, of which any part may be missing, cut off or damaged."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cut.errors import UserError, reason, shortened
from cut.report.own_pictures import may_show
from cut.storage.files import open_regular, real_path
from cut.storage.yaml import parse_yaml
from cut.train.history import Curve, curves_of, is_number, is_step, read_entries

BASELINE = "input"  # what the scores of the untranslated test pictures are logged as
GENERATORS = {"ema": "moving average", "last": "last weights", BASELINE: "untranslated input"}
PARTS = ("config.yaml", "metrics.jsonl", "samples")  # by any of which a run directory is known
_SHEET = re.compile(r"step_(\d{1,15})\.png")


@dataclass
class Run:
    """What is known of a run.

    `label` is how the page calls it, `sheets` are (step, sample sheet) in ascending order, `notes` tell in a line each
    what could not be read, and what the training warned of. Of a comparison's run `comparison` is the folder and
    `costs` what cut-test wrote of its translations.
    """

    path: Path
    label: str
    config: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    sheets: list[tuple[int, Path]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    last_time: float | None = None  # of the newest logged line, in seconds since 1970
    comparison: Path | None = None
    costs: dict[str, Any] = field(default_factory=dict)

    @property
    def last_step(self) -> int:
        """The last step that left a trace; 0 without any."""
        logged = [int(steps[-1]) for steps, _ in self.curves.values()]
        return max([*logged, *(step for step, _ in self.sheets)], default=0)

    def at(self, key: str, step: float) -> float | None:
        """The value logged at `step`, or at the logged step nearest to it; None where the key was never logged."""
        if key not in self.curves:
            return None
        steps, values = self.curves[key]
        return float(values[abs(steps - step).argmin()])


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """Reads run directories; runs of one name are told apart by their paths.

    Raises:
        UserError: no directory is given, one is given twice, or is not a run.
    """
    if not paths:
        raise UserError("no run directory is given; name at least one, such as runs/quickstart")
    paths = [Path(path) for path in paths]
    names = [real_path(path).name for path in paths]
    for index, path in enumerate(paths):
        if real_path(path) in [real_path(other) for other in paths[:index]]:
            raise UserError(f"{path}: is given twice; name each run once")
    return [
        _read_run(path, name if names.count(name) == 1 else str(path)) for path, name in zip(paths, names, strict=True)
    ]


def _read_run(path: Path, label: str) -> Run:
    if not path.is_dir():
        raise UserError(f"{path}: {'is a file, not a run directory' if path.exists() else 'no such run directory'}")
    if not any((path / part).exists() for part in PARTS):
        raise UserError(
            f"{path}: is no run (holds none of {', '.join(PARTS)}) and no comparison (holds no table.csv); name a "
            "directory that cut-train or cut-compare wrote"
        )
    return read_run(path, label)


def read_run(path: Path, label: str) -> Run:
    """A run directory, or what is left of one."""
    run = Run(path, label)
    run.config = read_mapping(run, "config.yaml", parse_yaml)
    run.environment = read_mapping(run, "environment.json", json.loads)
    run.evaluation = read_mapping(run, "evaluation.json", json.loads)
    _read_metrics(run)
    if isinstance(note := run.evaluation.get("note"), str):
        run.notes.append(f"scores: {shortened(note)}")
    if (path / "samples").is_dir():
        found = [(_SHEET.fullmatch(sheet.name), sheet) for sheet in (path / "samples").iterdir()]
        run.sheets = sorted((int(match[1]), sheet) for match, sheet in found if match and may_show(run, sheet))
    return run


def _read_metrics(run: Run) -> None:
    try:
        entries, broken = read_entries(run.path / "metrics.jsonl")
    except OSError as error:
        run.notes.append(f"metrics.jsonl: cannot be read ({reason(error)})")
        return
    run.curves = curves_of(entries)
    times = [entry["time"] for entry in entries if is_number(entry.get("time")) and 0 <= entry["time"] < 1e11]
    run.last_time = max(times, default=None)
    if broken:
        run.notes.append(f"metrics.jsonl: {broken} broken {'line' if broken == 1 else 'lines'} skipped")
    if not run.curves:
        run.notes.append("metrics.jsonl: nothing is logged yet")
    run.notes += [f"step {entry['step']:.0f}: {entry['warning']}" for entry in entries if entry.get("warning")]


def read_mapping(run: Run, name: str, parse: Callable[[str], Any]) -> dict[str, Any]:
    """The mapping that a file holds; empty, with a note where the file is there, if it holds none."""
    content = read_part(run, name, parse)
    if content is None:
        return {}
    if isinstance(content, dict):
        return content
    run.notes.append(f"{name}: holds no mapping")
    return {}


def read_part(run: Run, name: str, parse: Callable[[str], Any]) -> Any:
    """What a file holds; None, with a note where the file is there, if it cannot be read."""
    try:
        with open_regular(run.path / name) as file:
            return parse(file.read().decode("utf-8", errors="replace"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        run.notes.append(f"{name}: cannot be read ({reason(error)})")
        return None


def scores_of(run: Run) -> dict[tuple[str, str], Curve]:
    """The curve of each score, by (metric, generator); where none was logged, the figures of evaluation.json."""
    scores = {}
    for key, curve in run.curves.items():
        if key.startswith("eval/") and key.count("/") >= 2:
            _, generator, metric = key.split("/", 2)
            scores[metric, generator] = curve
    if scores:
        return scores
    metrics, step = run.evaluation.get("metrics"), run.evaluation.get("step")
    entry = {"step": step if is_step(step) else run.last_step} | (metrics if isinstance(metrics, dict) else {})
    generator = str(run.evaluation.get("generator", ""))
    return {(metric, generator): curve for metric, curve in curves_of([entry]).items()}
