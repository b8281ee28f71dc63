"""Curves as coordinates of small SVG charts, one per logged key, a line per run."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cut.data.images import evenly_chosen
from cut.report.read_run import BASELINE, GENERATORS, Run, scores_of
from cut.train.history import Curve, is_step
from cut.train.plots import moving_average

WIDTH, HEIGHT = 340, 160  # of a chart's plot, in its own units
_MOST_POINTS = 300  # of a line; more cannot be seen
_MOST_DOTS = 12
_NOTHING = 1e-30  # what is less counts as zero, for axes that do not divide by it
_LOG_RATIO = 50  # between a loss's largest and smallest value, from which on its axis is logarithmic
_SECTIONS = {  # title -> first parts of the keys
    "Scores": ("eval",),
    "Losses": ("loss",),
    "Health": ("health",),
    "Learning rate, time, memory": ("lr", "time", "memory"),
}
_SMOOTHED = ("loss", "health", "time")
_NOT_DRAWN = ("epoch", "time/images_per_second")  # the latter tells the same as seconds per step
_TITLES = {"lr": "learning rate", "memory/peak_mib": "peak memory (MiB)"}


@dataclass(frozen=True)
class Line:
    """A curve: `points` and `raw` as an SVG polyline takes them, and the steps and values that the pointer tells."""

    run: int
    label: str
    stroke: str
    points: str
    raw: str
    steps: list[int]
    values: list[str]
    best: tuple[float, float] | None

    @property
    def dots(self) -> list[list[str]]:
        """The places of single points, where they are few enough to be seen as such."""
        return (
            [point.split(",") for point in self.points.split()]
            if len(self.steps) <= _MOST_DOTS and self.stroke != "dotted"
            else []
        )


@dataclass(frozen=True)
class Chart:
    """One logged key of all runs; ticks are (place, label), places in the units of WIDTH and HEIGHT."""

    title: str
    is_log: bool
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    lines: list[Line]

    @property
    def description(self) -> str:
        """The chart in words, for those who cannot see it."""
        ends = (
            f"{x.label}: {x.values[0]} at step {x.steps[0]}, {x.values[-1]} at step {x.steps[-1]}" for x in self.lines
        )
        return f"{self.title}; " + "; ".join(ends)


@dataclass(frozen=True)
class _Curve:
    """What a line is drawn of."""

    run: int
    label: str
    stroke: str  # solid, dashed or dotted
    raw: Curve
    smooth: Curve
    best_step: float | None = None


def draw_charts(runs: Sequence[Run]) -> dict[str, list[Chart]]:
    """The charts of all that was logged, by section, over one common axis of steps."""
    last_step = max(1, *(run.last_step for run in runs))
    sections: dict[str, list[Chart]] = {title: [] for title in (*_SECTIONS, "Other")}
    for key in dict.fromkeys(key for run in runs for key in run.curves):
        kind = key.partition("/")[0]
        if kind != "eval" and key not in _NOT_DRAWN:
            section = next((title for title, kinds in _SECTIONS.items() if kind in kinds), "Other")
            sections[section].append(_draw(_title(key), _curves(runs, key), last_step, kind == "loss"))
    metrics = dict.fromkeys(metric for run in runs for metric, _ in scores_of(run))
    sections["Scores"] = [_draw(metric, _score_curves(runs, metric, last_step), last_step, False) for metric in metrics]
    return {title: charts for title, charts in sections.items() if charts}


def _title(key: str) -> str:
    return _TITLES.get(key) or (key.partition("/")[2] or key).replace("/", ": ").replace("_", " ")


def _curves(runs: Sequence[Run], key: str) -> list[_Curve]:
    curves = []
    for index, run in enumerate(runs):
        if key in run.curves:
            steps, values = run.curves[key]
            smooth = moving_average(values) if key.startswith(_SMOOTHED) else values
            curves.append(_Curve(index, run.label, "solid", (steps, values), (steps, smooth)))
    return curves


def _score_curves(runs: Sequence[Run], metric: str, last_step: int) -> list[_Curve]:
    """A line per run and generator: the last weights dashed beside their moving average, the inputs' score dotted."""
    curves = []
    for index, run in enumerate(runs):
        own = {generator: curve for (name, generator), curve in scores_of(run).items() if name == metric}
        for generator, (steps, values) in own.items():
            stroke = "dashed" if generator == "last" and "ema" in own else "solid"
            if generator == BASELINE:  # scored once, and a level for all steps
                steps, values, stroke = np.array([0.0, last_step]), values[[-1, -1]], "dotted"
            names = [*([run.label] if len(runs) > 1 else []), GENERATORS.get(generator, generator)]
            label = ", ".join(name for name in names if name)
            curve = (steps, values)
            curves.append(_Curve(index, label, stroke, curve, curve, _best_step(run, metric, generator)))
    return curves


def _best_step(run: Run, metric: str, generator: str) -> float | None:
    best = run.evaluation.get("best")
    if not isinstance(best, dict) or best.get("metric") != metric or run.evaluation.get("generator") != generator:
        return None
    return best["step"] if is_step(best.get("step")) else None


@dataclass(frozen=True)
class _Axes:
    """Where steps and values lie in a chart; on a logarithmic axis `bottom` and `top` are logarithms."""

    last_step: int
    bottom: float
    top: float
    is_log: bool

    def x(self, steps: np.ndarray) -> np.ndarray:
        return np.round(steps / self.last_step * WIDTH, 1)

    def y(self, values: np.ndarray) -> np.ndarray:
        scaled = np.log10(np.maximum(values, 10.0**self.bottom)) if self.is_log else values
        return np.round(HEIGHT * (1 - (scaled - self.bottom) / (self.top - self.bottom)), 1)

    def points(self, steps: np.ndarray, values: np.ndarray) -> str:
        """As an SVG polyline takes them."""
        return " ".join(f"{x:g},{y:g}" for x, y in zip(self.x(steps), self.y(values), strict=True))


def _draw(title: str, curves: Sequence[_Curve], last_step: int, may_be_log: bool) -> Chart:
    from matplotlib.ticker import LogLocator, MaxNLocator  # only here, because matplotlib is slow to import

    seen = np.concatenate([c.smooth[1] for c in curves] + [np.percentile(c.raw[1], (2, 98)) for c in curves])
    low, high = float(seen.min()), float(seen.max())
    is_log = may_be_log and low > _NOTHING and high / low > _LOG_RATIO
    bottom, top = (float(np.log10(low)), float(np.log10(high))) if is_log else (low, high)
    is_flat = top - bottom <= max(1e-9 * max(abs(top), abs(bottom)), _NOTHING)  # the moving average rounds
    margin = (0.1 * abs(top) if abs(top) > _NOTHING else 1.0) if is_flat else 0.06 * (top - bottom)
    axes = _Axes(last_step, bottom - margin, top + margin, is_log)
    round_steps = MaxNLocator(4, steps=(1, 2, 2.5, 5, 10))
    locator, ends = (LogLocator(numticks=5), (low, high)) if is_log else (round_steps, (axes.bottom, axes.top))
    ticks = np.asarray(locator.tick_values(*ends))
    y_ticks = [(y, _short(tick)) for tick, y in zip(ticks, axes.y(ticks), strict=True) if 0 <= y <= HEIGHT]
    steps = np.asarray(round_steps.tick_values(0, last_step))
    x_ticks = [(x, _short(step)) for step, x in zip(steps, axes.x(steps), strict=True) if 0 <= x <= WIDTH]
    return Chart(title, is_log, x_ticks, y_ticks, [_line(curve, axes) for curve in curves])


def _short(tick: float) -> str:
    return f"{tick / 1000:.4g}k" if abs(tick) >= 10_000 else f"{tick:.4g}"


def _line(curve: _Curve, axes: _Axes) -> Line:
    steps, values = _thin(*curve.smooth)
    raw = "" if curve.raw[1] is curve.smooth[1] else axes.points(*_envelope(*curve.raw))
    best = None
    if curve.best_step in curve.raw[0]:
        at = curve.raw[0] == curve.best_step
        best = (float(axes.x(curve.raw[0][at])[0]), float(axes.y(curve.raw[1][at])[0]))
    shown = [f"{value:.4g}" for value in values]
    return Line(
        curve.run, curve.label, curve.stroke, axes.points(steps, values), raw, steps.astype(int).tolist(), shown, best
    )


def _thin(steps: np.ndarray, values: np.ndarray) -> Curve:
    """Points at equal distances, the first and the last among them."""
    kept = evenly_chosen(range(len(steps)), _MOST_POINTS)
    return steps[kept], values[kept]


def _envelope(steps: np.ndarray, values: np.ndarray) -> Curve:
    """The least and the largest value of each of many short stretches, so that no spike is lost."""
    if len(steps) <= 2 * _MOST_POINTS:
        return steps, values
    stretches = np.array_split(np.arange(len(steps)), _MOST_POINTS)
    kept = np.sort([index[f(values[index])] for index in stretches for f in (np.argmin, np.argmax)])
    return steps[kept], values[kept]
