"""The page's tables: what each run is, its scores, and in what the runs differ."""

import datetime
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cut.metrics.names import is_higher_better
from cut.report.read_run import BASELINE, GENERATORS, Run, scores_of
from cut.train.history import is_number


@dataclass(frozen=True)
class Score:
    """A score of one run at its end, and the best one on the way; `is_leader` where no other run ends better.

    `best` is empty for the untranslated inputs, which do not train.
    """

    final: str
    best: str
    best_step: int
    is_leader: bool


@dataclass(frozen=True)
class ScoreRow:
    """One metric of one generator, with a cell per run; None where the run has none."""

    metric: str
    generator: str
    is_higher_better: bool
    cells: list[Score | None]


@dataclass(frozen=True)
class Row:
    """One setting with its value in each run, in the order of the runs."""

    key: str
    cells: list[str]
    differs: bool


def score_table(runs: Sequence[Run]) -> list[ScoreRow]:
    """The final and the best value of every score of every run."""
    scores = [scores_of(run) for run in runs]
    rows = []
    for metric, generator in _grouped(key for own in scores for key in own):
        choose = max if is_higher_better(metric) else min
        curves = [own.get((metric, generator)) for own in scores]
        leader = choose(curve[1][-1] for curve in curves if curve)
        is_race = generator != BASELINE and sum(curve is not None for curve in curves) > 1
        cells: list[Score | None] = []
        for curve in curves:
            if curve is None:
                cells.append(None)
                continue
            steps, values = curve
            step, value = choose(zip(steps, values, strict=True), key=lambda point: point[1])
            best = f"{value:.4g}" if generator != BASELINE else ""
            cells.append(Score(f"{values[-1]:.4g}", best, int(step), is_race and values[-1] == leader))
        rows.append(ScoreRow(metric, GENERATORS.get(generator, generator), choose is max, cells))
    return rows


def _grouped(keys: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Each (metric, generator) once, those of one metric together, otherwise in the order of their appearance."""
    keys = list(dict.fromkeys(keys))
    metrics = [metric for metric, _ in keys]
    return sorted(keys, key=lambda key: metrics.index(key[0]))


def summary(run: Run) -> dict[str, str]:
    """What the run is, in a few lines; what is not known is left out."""
    method, data = _section(run, "method"), _section(run, "data")
    epoch = run.at("epoch", run.last_step)
    facts = {
        "method": method.get("name"),
        "data": data.get("root") or " and ".join(str(data[side]) for side in ("a", "b") if data.get(side)),
        "steps": f"{run.last_step:,}" + (f" ({epoch:g} epochs)" if epoch else "") if run.last_step else None,
        "training time": _training_time(run),
        "speed": _last(run, "time/images_per_second", lambda rate: f"{rate:,.{0 if rate >= 100 else 2}f} images/s"),
        "waiting for pictures": _last(run, "time/loading_share", lambda share: f"{share:.0%} of the time"),
        "peak memory": _last(run, "memory/peak_mib", _gib) or _cost(run, "peak_mib", _gib),
        "seconds per test picture": _cost(run, "seconds_per_picture", lambda seconds: f"{seconds:.3g}"),
        "made with": run.costs.get("remark"),
        "seed": run.config.get("seed"),
        "last logged": _last_time(run),
    }
    return {name: str(fact) for name, fact in facts.items() if fact not in (None, "")}


def _section(run: Run, name: str) -> dict[str, Any]:
    section = run.config.get(name)
    return section if isinstance(section, dict) else {}


def _last(run: Run, key: str, show: Callable[[float], str]) -> str | None:
    value = run.at(key, run.last_step)
    return None if value is None else show(value)


def _gib(mib: float) -> str:
    return f"{mib / 1024:.2f} GiB"


def _cost(run: Run, key: str, show: Callable[[float], str]) -> str | None:
    """What cut-test measured."""
    return show(run.costs[key]) if is_number(run.costs.get(key)) else None


def _training_time(run: Run) -> str | None:
    """Seconds per step times steps, summed over the logged stretches: pauses between sessions do not count."""
    if "time/seconds_per_step" not in run.curves:
        return None
    steps, rates = run.curves["time/seconds_per_step"]
    seconds = float((rates * (steps - [0, *steps[:-1]])).sum())
    hours, minutes = int(seconds // 3600), int(seconds % 3600 // 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {int(seconds % 60):02d} s"


def _last_time(run: Run) -> str | None:
    if run.last_time is None:
        return None
    moment = datetime.datetime.fromtimestamp(run.last_time, datetime.timezone.utc)
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def settings_table(mappings: Sequence[Mapping[str, Any]]) -> list[Row]:
    """All settings of nested mappings, one per run, by dotted key; an empty cell where a run has none."""
    flat = [_flatten(mapping) for mapping in mappings]
    rows = []
    for key in dict.fromkeys(key for own in flat for key in own):
        cells = [own.get(key, "") for own in flat]
        rows.append(Row(key, cells, len(set(cells)) > 1))
    return rows


def _flatten(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in mapping.items():
        if isinstance(value, dict) and value:
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value, default=str, skipkeys=True)
    return flat
