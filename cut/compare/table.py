"""The results of a comparison as Markdown and CSV."""

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from cut.compare.contenders import Contender
from cut.compare.runs import Outcome
from cut.errors import printable
from cut.metrics.names import NEEDS_OUTPUTS, NUM_OUTPUTS, is_higher_better

_COSTS = {
    "seconds_per_step": ("s/iter", lambda v: f"{v:.3f}"),
    "peak_mib": ("peak memory (GiB)", lambda v: f"{v / 1024:.2f}"),
    "parameters": ("parameters (M)", lambda v: f"{v / 1e6:.2f}"),
    "steps": ("steps", lambda v: f"{v:.0f}"),
    "training_seconds": ("training (s)", lambda v: f"{v:.0f}"),
    "seconds_per_picture": ("s/picture", lambda v: f"{v:.2f}"),
}
Baselines = Mapping[str, Mapping[str, Mapping[str, Any]]]  # title of the row -> scores as cut-eval's JSON has them
_ALWAYS = ("seconds_per_step", "peak_mib", "parameters", "steps")


def markdown_table(outcomes: Sequence[Outcome], baselines: Baselines) -> str:
    """A row per config in the order of `outcomes`: mean ± standard deviation over seeds (of the sample, n - 1), the
    best mean of each score in bold, and an arrow for the better direction."""
    names, costs = _score_names(outcomes), _measured_costs(outcomes)
    titles = [_COSTS[key][0] for key in costs]
    rows = [["method", "seeds", *(f"{n} {'↑' if is_higher_better(n) else '↓'}" for n in names), *titles]]
    means = {}
    for name, runs in _by_config(outcomes).items():
        means[name] = [_mean(runs, score) for score in names]
    for name, runs in _by_config(outcomes).items():
        done = [run for run in runs if not run.error]
        cells = [_cell(done, score, _is_best(means, name, place, score)) for place, score in enumerate(names)]
        failed = f" ({len(runs) - len(done)} failed)" if len(done) < len(runs) else ""
        remarks = {run.remark for run in runs if run.remark}
        title = " ".join([name, *(f"({remark})" for remark in sorted(remarks))])
        rows.append(
            [printable(title).replace("|", "\\|"), f"{len(done)}{failed}", *cells, *(_cost(done, key) for key in costs)]
        )
    for title, scores in baselines.items():
        cells = [_number(scores[name]["value"]) if name in scores else "" for name in names]
        rows.append([title, "", *cells, *("" for _ in costs)])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, "|---|" + "---:|" * (len(rows[0]) - 1))
    return "\n".join(lines) + "\n"


def note_on_styles(contenders: Sequence[Contender], metrics: Sequence[str]) -> str:
    """Which of its many translations of a picture each method is judged by; empty where all have one."""
    names = ", ".join(printable(contender.name) for contender in contenders if contender.takes_styles)
    if not names:
        return ""
    several = f", and {', '.join(m for m in metrics if m in NEEDS_OUTPUTS)} with {NUM_OUTPUTS}"
    several = several if set(metrics) & set(NEEDS_OUTPUTS) else ""
    return f"\n{names}: scored with one random style per picture, the same for every run{several}.\n"


def csv_table(outcomes: Sequence[Outcome], baselines: Baselines) -> str:
    """A row per run, with full digits, for whoever computes on; the baselines come last."""
    names = _score_names(outcomes)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", "seed", *names, *_COSTS, "error"])
    for run in outcomes:
        scores = [run.scores.get(name, {}).get("value", "") for name in names]
        writer.writerow(
            [
                printable(run.name),
                run.seed,
                *scores,
                *(run.costs.get(key, "") for key in _COSTS),
                printable(run.error or ""),
            ]
        )
    for title, of_baseline in baselines.items():
        scores = [of_baseline.get(name, {}).get("value", "") for name in names]
        writer.writerow([title, "", *scores, *("" for _ in _COSTS), ""])
    return text.getvalue()


def _cost(runs: Sequence[Outcome], key: str) -> str:
    """The mean of what runs cost; empty where it was not measured, or there is nothing such."""
    values = [run.costs[key] for run in runs if key in run.costs]
    return _COSTS[key][1](statistics.fmean(values)) if values else ""


def _by_config(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    grouped: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        grouped.setdefault(outcome.name, []).append(outcome)
    return grouped


def _score_names(outcomes: Sequence[Outcome]) -> list[str]:
    return list(dict.fromkeys(name for outcome in outcomes for name in outcome.scores))


def _measured_costs(outcomes: Sequence[Outcome]) -> list[str]:
    """The costs that the table shows: those of any training, and others where they were measured."""
    return [key for key in _COSTS if key in _ALWAYS or any(key in outcome.costs for outcome in outcomes)]


def _values(runs: Sequence[Outcome], score: str) -> list[float]:
    found = [run.scores.get(score, {}).get("value") for run in runs]
    return [value for value in found if value is not None]


def _mean(runs: Sequence[Outcome], score: str) -> float | None:
    values = _values(runs, score)
    return statistics.fmean(values) if values else None


def _is_best(means: Mapping[str, Sequence[float | None]], name: str, place: int, score: str) -> bool:
    values = [value for row in means.values() if (value := row[place]) is not None]
    best = (max if is_higher_better(score) else min)(values) if len(values) > 1 else None
    return best is not None and means[name][place] == best


def _cell(runs: Sequence[Outcome], score: str, best: bool) -> str:
    values = _values(runs, score)
    if not values:
        return ""
    spread = f" ± {_number(statistics.stdev(values), like=statistics.fmean(values))}" if len(values) > 1 else ""
    mean = _number(statistics.fmean(values))
    return (f"**{mean}**" if best else mean) + spread


def _number(value: float | None, like: float | None = None) -> str:
    """With three digits behind the point for shares, fewer for large numbers, up to six for small ones such as KID."""
    if value is None:
        return ""
    size = abs(value if like is None else like)
    digits = next(
        (digits for digits, least in enumerate((100, 10, 0.1, 0.01, 0.001), start=1) if size >= least), 6 if size else 3
    )
    return f"{value:.{digits}f}"
