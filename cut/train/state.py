"""What a checkpoint holds of a training, and how it is taken up again."""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from cut.errors import UserError
from cut.runtime.seeding import random_state, restore_random_state

if TYPE_CHECKING:
    from cut.train.trainer import Trainer


class RunningMeans:
    """Means of figures over steps, kept as sums on the device, so that nothing waits for it."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begins again."""
        self.sums: dict[str, Tensor] = {}
        self.steps = 0

    def add_step(self, figures: Iterable[tuple[str, Tensor]]) -> None:
        """Adds the figures of one step; of one that occurs several times in it, as a player's terms may, the mean."""
        figures = list(figures)
        times = Counter(key for key, _ in figures)
        for key, value in figures:
            self.sums[key] = self.sums.get(key, 0.0) + value / times[key]
        self.steps += 1

    def means(self) -> dict[str, Tensor]:
        """The mean of each figure over the steps."""
        return {key: value / self.steps for key, value in self.sums.items()}


def state_of(trainer: "Trainer") -> dict[str, Any]:
    """Everything that a checkpoint holds.

    Raises:
        UserError: A weight or a loss is not finite.
    """
    method = trainer.method.state_dict()
    broken = [
        name
        for name, value in [*method.items(), *trainer.losses.sums.items()]
        if isinstance(value, Tensor) and not torch.isfinite(value).all()
    ]
    if broken:
        raise UserError(f"step {trainer.step}: {broken[0]} is not finite, nothing was saved; lower optim.lr")
    return {
        "config": trainer.config.to_dict(),
        "method": method,
        "ema": trainer.ema.state_dict() if trainer.ema else None,
        "optimizers": {name: optimizer.state_dict() for name, optimizer in trainer.optimizers.items()},
        "precision": trainer.fabric.strategy.precision.state_dict(),
        "random": random_state(),
        "num_processes": trainer.processes.count,
        "log": {"sums": dict(trainer.losses.sums), "steps": trainer.losses.steps},
        "pictures": trainer.pictures,
        "evaluations": trainer.evaluations.history if trainer.evaluations else [],
    }


def restore(trainer: "Trainer", state: dict[str, Any]) -> None:
    """Takes up a checkpoint's state.

    Raises:
        UserError: It belongs to other networks.
    """
    try:
        trainer.method.load_state_dict(state["method"])
        if trainer.ema:
            trainer.ema.load_state_dict(state["ema"] or state["method"])
        for name, optimizer in trainer.optimizers.items():
            groups = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
            optimizer.load_state_dict(state["optimizers"][name])
            for group, configured in zip(optimizer.param_groups, groups, strict=True):
                group.update(configured)  # the config's settings, which `--resume` may have changed
    except (RuntimeError, KeyError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise UserError(f"the checkpoint does not fit the config's networks ({reason}); use a new --run-dir") from None
    if state["precision"]:
        trainer.fabric.strategy.precision.load_state_dict(state["precision"])
    trainer.step = state["step"]
    trainer.losses.sums = {key: trainer.fabric.to_device(value) for key, value in state["log"]["sums"].items()}
    trainer.losses.steps = state["log"]["steps"]
    cuda = state["random"]["cuda"][:1] * len(state["random"]["cuda"])  # all devices draw what the first one does
    restore_random_state(state["random"] | {"cuda": cuda})
    if trainer.evaluations:
        trainer.evaluations.restore(state.get("evaluations", []))
        if trainer.evaluations.is_out_of_patience:
            trainer.last_step = trainer.step
