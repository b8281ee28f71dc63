"""The scores of a run so far: which is the best, and whether the run should go on."""

import math
from collections.abc import Mapping
from typing import Any

from cut.config import EvalConfig
from cut.metrics.names import is_higher_better, metric_of

Scores = dict[str, float]
_DECIDE = ("split", "num_images", "features", "inception_weights", "palette", "segmenter")  # what a score means


class Evaluations:
    """Record of the evaluations of a run, part of its checkpoints.

    Args:
        config: What is scored.
        every_steps: Number of steps between two evaluations.
    """

    def __init__(self, config: EvalConfig, every_steps: int):
        self.config, self.every_steps = config, every_steps
        plain = config.model_dump(mode="json")  # a checkpoint is read without any class of ours
        self.settings = {"decisive": config.decisive} | {key: plain[key] for key in _DECIDE}
        # {"step": ..., "scores": {generator: {name: value}}, "settings": ...}, oldest first
        self.history: list[dict[str, Any]] = []

    def restore(self, history: Any) -> None:
        """Takes up the history of a checkpoint; those of old versions did not keep the settings.

        Raises:
            ValueError: It is no list of evaluations; a checkpoint may come from anywhere.
        """
        own = {"settings": self.settings}
        if not (isinstance(history, list) and all(isinstance(e, dict) and _is_evaluation(own | e) for e in history)):
            raise ValueError("its evaluations are no scores of generators by their steps")
        self.history = [own | entry for entry in history]

    def set_aside(self) -> None:
        """Lets the evaluations so far compare with no later one, because they were of other pictures."""
        for entry in self.history:
            entry["settings"] = {**entry["settings"], "pictures": "others"}

    def add(self, step: int, scores: Mapping[str, Scores]) -> bool:
        """Takes an evaluation into the history; says whether it is the best so far."""
        copied = {name: dict(values) for name, values in scores.items()}
        self.history.append({"step": step, "scores": copied, "settings": self.settings})
        return self.best is self.history[-1]

    @property
    def values(self) -> list[float | None]:
        """What decides, of every evaluation: of the generator that inference uses, greater is better.

        None stands where the settings changed, with which scores before it do not compare.
        """
        found: list[float | None] = []
        for index, entry in enumerate(self.history):
            if index and entry["settings"] != self.history[index - 1]["settings"]:
                found.append(None)
            found.append(self._value(entry))
        return found

    @property
    def best(self) -> dict[str, Any] | None:
        """The first of the best evaluations, by the settings of today."""
        entries = self._comparable
        values = [self._value(entry) for entry in entries]
        values = [value if math.isfinite(value) or value > 0 else -math.inf for value in values]
        return entries[values.index(max(values))] if values else None

    @property
    def is_out_of_patience(self) -> bool:
        entries, best = self._comparable, self.best
        if not self.config.patience or best is None:
            return False
        return len(entries) - 1 - entries.index(best) >= self.config.patience

    def decisive(self, entry: Mapping[str, Any]) -> tuple[str, float]:
        """Name and value of the score that compares evaluations; not a number where it was not computed."""
        scores, decisive = entry["scores"].get("ema") or entry["scores"]["last"], entry["settings"]["decisive"]
        found = ((name, value) for name, value in scores.items() if metric_of(name) == decisive)
        return next(found, (decisive, math.nan))

    @property
    def _comparable(self) -> list[dict[str, Any]]:
        """The evaluations since the settings last changed, which `--resume` allows: others are of another kind."""
        first = len(self.history)
        while first and self.history[first - 1]["settings"] == self.settings:
            first -= 1
        return self.history[first:]

    def _value(self, entry: Mapping[str, Any]) -> float:
        name, value = self.decisive(entry)
        return value if is_higher_better(name) else -value

    def summary(self) -> str:
        """One line: the last and the best score."""
        last, best = self.history[-1], self.best
        assert best is not None
        name, value = self.decisive(last)
        return (
            f"{name}: last {value:.4g} (step {last['step']}), best {self.decisive(best)[1]:.4g} "
            f"(step {best['step']}, best.pt)"
        )

    def content(self) -> dict[str, Any]:
        """The last scores and the best one, as plain values for JSON."""
        last, best = self.history[-1], self.best
        assert best is not None
        generator = "ema" if "ema" in last["scores"] else "last"
        name, value = self.decisive(best)
        chosen = {"step": best["step"], "metric": name, "value": json_number(value)}
        return {
            "step": last["step"],
            "generator": generator,
            "metrics": {name: json_number(value) for name, value in last["scores"][generator].items()},
            "best": chosen | {"higher_is_better": is_higher_better(name)},
        }


def _is_evaluation(entry: dict[str, Any]) -> bool:
    """Whether it is what `Evaluations.add` makes."""
    step, scores, settings = entry.get("step"), entry.get("scores"), entry["settings"]
    is_setting = isinstance(settings, dict) and isinstance(settings.get("decisive"), str)
    if not (is_setting and type(step) is int and step >= 0 and isinstance(scores, dict) and "last" in scores):
        return False
    if not all(isinstance(values, dict) for values in scores.values()):
        return False
    named = [*scores, *(name for values in scores.values() for name in values)]
    numbers = [number for values in scores.values() for number in values.values()]
    return all(isinstance(name, str) for name in named) and all(type(number) in (int, float) for number in numbers)


def json_number(value: float) -> float | None:
    """A number for JSON, which knows no infinity, such as the psnr of identical pictures."""
    return value if math.isfinite(value) else None
