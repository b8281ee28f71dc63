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
from cut.runtime.sharding import connected

Result = TypeVar("Result")
_TIMEOUT = timedelta(hours=6)  # for what the first process does alone: scores, sample sheets, checkpoints


class Processes:
    """All processes of a run, seen from one of them; of a single process everything here does nothing.

    Args:
        fabric: launched.
    """

    def __init__(self, fabric: Fabric):
        self.rank, self.count, self._device = fabric.global_rank, fabric.world_size, fabric.device
        # Between CPUs a process that ended is noticed at once, and waiting is no fault.
        is_shared = self.count > 1
        self._control: Any = torch.distributed.new_group(backend="gloo", timeout=_TIMEOUT) if is_shared else None

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
            torch.distributed.all_reduce(flat)
        flat /= self.count
        for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(mean.view(tensor.shape))

    def largest(self, value: float) -> float:
        """The largest of all processes' values."""
        if self.count == 1:
            return value
        found = torch.tensor(value, dtype=torch.float64)
        with connected():
            torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MAX, self._control)
        return found.item()

    def together(self, work: Callable[[], Result]) -> Result:
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
        if self.largest(error is not None):
            raise self._shared(error)
        return found[0]

    def on_first(self, work: Callable[[], Result]) -> Result:
        """What `work` returns in the first process, which alone does it, while all others wait.

        Raises:
            UserError: it failed there.
        """
        if self.count == 1:
            return work()
        result: list[Any] = [self.together(work) if self.is_first else self.together(lambda: None)]
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
        found: list[Any] = [None] * self.count
        with connected():
            torch.distributed.all_gather_object(found, own, self._control)
        differing = [rank for rank, other in enumerate(found) if other != found[0]]
        if differing:
            raise self.tell_once(
                UserError(
                    f"{what} differ between process 0 and {', '.join(map(str, differing))}; start all processes with "
                    "the same code, torch and config, on processors of one kind, from the last checkpoint"
                )
            )

    def tell_once(self, error: UserError) -> UserError:
        """An error that all processes raise, to be printed by one of each machine."""
        error.is_told = local_rank() != 0
        return error

    def _shared(self, error: UserError | None) -> UserError:
        found: list[Any] = [None] * self.count
        with connected():
            torch.distributed.all_gather_object(
                found, error and (isinstance(error, PictureError), str(error)), self._control
            )
        told = [entry for entry in found if entry]
        kind = PictureError if any(is_picture for is_picture, _ in told) else UserError
        return self.tell_once(kind("; ".join(dict.fromkeys(text for _, text in told))))


def local_rank() -> int:
    """The number of this process on its machine."""
    return int(os.environ.get("LOCAL_RANK", 0))


def _bits(tensor: Tensor) -> Tensor:
    kinds = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tensor.detach().contiguous().view(-1).view(kinds[tensor.element_size()])
