"""The processes that share a run, one per device: what they agree on, and what one does for all.

Every process holds all weights and the same random streams, and works on its shard of each batch (`sharding.py`).
Gradients are averaged once per player; the networks are not wrapped, for a GAN's several passes per step and its
penalties on slopes do not fit torch's wrapper.
"""

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed
from lightning_fabric import Fabric
from torch import Tensor

from cut.errors import PictureError, UserError
from cut.runtime.sharding import PATIENCE_SECONDS, connected, finish
from cut.runtime.signals import ended_by_ctrl_c

Result = TypeVar("Result")
_PATIENCE_WITH_FIRST_SECONDS = 600.0  # of a process that was asked to stop while the first one scores, draws or saves
_TIMEOUT = timedelta(hours=6)  # for what the first process does alone: scores, sample sheets, checkpoints


class Processes:
    """All processes of a run, seen from one of them; of a single process everything here does nothing.

    Args:
        fabric: launched.
    """

    def __init__(self, fabric: Fabric):
        self.rank, self.count, self._device = fabric.global_rank, fabric.world_size, fabric.device
        # Between CPUs a process that ended is noticed at once, and waiting is no fault.
        self._control: Any = None
        if self.count > 1:
            with ended_by_ctrl_c():
                self._control = torch.distributed.new_group(backend="gloo", timeout=_TIMEOUT)

    @property
    def is_first(self) -> bool:
        """Whether this one writes, for all."""
        return self.rank == 0

    def close(self) -> None:
        """Takes leave of the others, at the end of a run."""
        if self.count > 1:
            torch.distributed.destroy_process_group()

    @torch.no_grad()
    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replaces tensors by their means over all processes, in one exchange."""
        if self.count == 1 or not tensors:
            return
        flat = torch.cat(
            [tensor.flatten().to(self._device, torch.promote_types(tensor.dtype, torch.float32)) for tensor in tensors]
        )
        with connected():
            finish(torch.distributed.all_reduce(flat, async_op=True), flat.device)
        flat /= self.count
        for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(mean.view(tensor.shape))

    def largest(self, value: float, patience_seconds: float = PATIENCE_SECONDS) -> float:
        """The largest of all processes' values; see `finish` for the patience."""
        if self.count == 1:
            return value
        found = torch.tensor(value, dtype=torch.float64)
        with connected():
            work = torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MAX, self._control, async_op=True)
            finish(work, found.device, patience_seconds)
        return found.item()

    def together(self, work: Callable[[], Result], patience_seconds: float = PATIENCE_SECONDS) -> Result:
        """What `work` returns here; where it fails in one process, all fail.

        Raises:
            UserError: with what went wrong, wherever it did; a `PictureError` if it is one somewhere.
        """
        if self.count == 1:
            return work()
        found: list[Result] = []  # or nothing
        error = None
        try:
            found.append(work())
        except UserError as caught:
            error = caught
        if self.largest(error is not None, patience_seconds):
            raise self._shared(error)
        return found[0]

    def on_first(self, work: Callable[[], Result]) -> Result:
        """What `work` returns in the first process, which alone does it, while all others wait.

        Raises:
            UserError: it failed there.
        """
        if self.count == 1:
            return work()
        own = work if self.is_first else lambda: None
        result: list[Any] = [self.together(own, _PATIENCE_WITH_FIRST_SECONDS)]
        with connected():
            torch.distributed.broadcast_object_list(result, group=self._control)
        return result[0]

    def require_equal(self, what: str, tensors: Sequence[Tensor]) -> None:
        """Checks that all processes hold the same.

        Raises:
            UserError: they do not, so that their results would not be one run's.
        """
        if self.count == 1:
            return
        # Sums of the numbers' bits: a plain sum could hide two differences.
        own = sum(int(_bits(tensor).to(torch.int64).sum()) * (place + 1) for place, tensor in enumerate(tensors))
        found = self._of_all(own)
        differing = [rank for rank, other in enumerate(found) if other != found[0]]
        if differing:
            raise self.tell_once(
                UserError(
                    f"{what} differ between process 0 and {', '.join(map(str, differing))}; start all processes with "
                    "the same code, torch and config, on processors of one kind, from the last checkpoint"
                )
            )

    def require_same(self, what: str, value: Any, differences: Callable[[Any, Any], list[str]]) -> None:
        """Checks that all processes have the same plain values, before any exchange whose form depends on them.

        Args:
            what: What the values are, for the error.
            value: Values of this process, as plain types.
            differences: Says how the values of two processes differ, a text for each.

        Raises:
            UserError: they differ; without this, processes would wait for each other for ever.
        """
        if self.count == 1:
            return
        found = self._of_all(value)
        for rank, other in enumerate(found):
            if different := differences(found[0], other):
                more = f" and {len(different) - 3} more" if len(different) > 3 else ""
                raise self.tell_once(
                    UserError(
                        f"process {rank} has other {what} than process 0 ({'; '.join(different[:3])}{more}); start all "
                        "processes with the same command, config and files"
                    )
                )

    def tell_once(self, error: UserError) -> UserError:
        """An error that all processes raise, to be printed by one of each machine."""
        error.is_told = local_rank() != 0
        return error

    def _of_all(self, value: Any) -> list[Any]:
        """The plain values of all processes, by their numbers."""
        self.largest(0)  # until all are here: the exchange of objects would wait deaf to signals
        found: list[Any] = [None] * self.count
        with connected():
            torch.distributed.all_gather_object(found, value, self._control)
        return found

    def _shared(self, error: UserError | None) -> UserError:
        told = [entry for entry in self._of_all(error and (isinstance(error, PictureError), str(error))) if entry]
        kind = PictureError if any(is_picture for is_picture, _ in told) else UserError
        return self.tell_once(kind("; ".join(dict.fromkeys(text for _, text in told))))


def local_rank() -> int:
    """The number of this process on its machine."""
    return int(os.environ.get("LOCAL_RANK", 0))


def _bits(tensor: Tensor) -> Tensor:
    kinds = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tensor.detach().contiguous().view(-1).view(kinds[tensor.element_size()])
