"""Learning-rate schedules as pure functions of the step, the run's one clock."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cut.config import ScheduleConfig


@dataclass(frozen=True)
class Schedule:
    """A schedule with its lengths in steps; epochs are converted here, once.

    Epoch schedules change the rate once per epoch, as the authors' code does; step schedules at every step.

    Args:
        config: the schedule.
        steps_per_epoch: generator updates per epoch.
    """

    config: ScheduleConfig
    steps_per_epoch: int

    @property
    def total_steps(self) -> int:
        """The step after the last one."""
        if self.config.name == "linear":
            return self._ticks("constant", "decay") * self._unit
        return self._ticks("total") * self._unit

    @property
    def decay_start_step(self) -> int | None:
        """The first step of a linear schedule's decay; None for the others."""
        return self._ticks("constant") * self._unit if self.config.name == "linear" else None

    def factor(self, step: int, scores: Sequence[float | None] = ()) -> float:
        """The learning rate at `step`, from 0, as a share of the full rate.

        Args:
            step: Number of updates done.
            scores: Scores of all evaluations so far, as `plateau_reductions` takes them; a plateau schedule follows
                them.
        """
        warmup_steps = self._ticks("warmup") * self._unit
        rising = min(1.0, (step + 1) / (warmup_steps + 1)) if warmup_steps else 1.0
        return rising * self._factor(step, scores)

    def _factor(self, step: int, scores: Sequence[float | None]) -> float:
        config, tick = self.config, step // self._unit
        if config.name == "linear":  # 1 - max(0, e + 1 - constant) / (decay + 1) in the authors' words
            return 1.0 - max(0, tick + 1 - self._ticks("constant")) / (self._ticks("decay") + 1)
        if config.name == "cosine":
            progress = min(tick / self._ticks("total"), 1.0)
            return config.final_factor + (1.0 - config.final_factor) * 0.5 * (1.0 + math.cos(math.pi * progress))
        if config.name == "step":
            return config.factor ** (tick // self._ticks("every"))
        if config.name == "plateau":
            return config.factor ** plateau_reductions(scores, config.patience)
        return 1.0

    @property
    def _in_epochs(self) -> bool:
        return any(name.endswith("_epochs") and value for name, value in self.config)

    @property
    def _unit(self) -> int:
        return self.steps_per_epoch if self._in_epochs else 1

    def _ticks(self, *names: str) -> int:
        unit = "epochs" if self._in_epochs else "steps"
        return sum(getattr(self.config, f"{name}_{unit}") or 0 for name in names)


def plateau_reductions(scores: Sequence[float | None], patience: int) -> int:
    """How often `patience` scores in a row were no better than the best before them; each time counts anew.

    Args:
        scores: greater is better; None where scores of another kind begin, which start anew.
        patience: scores in a row.
    """
    best, waited, reductions = -math.inf, 0, 0
    for score in scores:
        if score is None:
            best, waited = -math.inf, 0
            continue
        waited = 0 if score > best else waited + 1
        best = max(best, score)
        if waited == patience:
            reductions, waited = reductions + 1, 0
    return reductions
