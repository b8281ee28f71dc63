"""Which images of a step's batch are worked on here and now, where the batch is divided.

A batch may be cut into micro-batches, one after the other (gradient accumulation), and each of them be shared out among
processes. Losses are means over images of equally large shards, so that the mean of their gradients is the gradient of
the whole batch; whatever mixes images or draws random numbers goes through this file, so that it stays so:

- random numbers per image are drawn for the whole batch, from the same stream everywhere, and a shard keeps its rows
  (`draw_rows`);
- what is remembered of images, or compared with them, comes from all processes (`all_rows`, `other_rows`,
  `joined_rows`);
- statistics over images are summed over processes (`sum_over_processes`).

Outside `working_on`, as at inference, nothing is divided.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed
from torch import Tensor

from cut.errors import LostProcessError
from cut.runtime.signals import waited_since_asked


@dataclass(frozen=True)
class Shard:
    """A part of a batch; parts are ordered by micro-batch, then by process.

    Args:
        rows: images of a batch that lie in it.
        process: from 0.
        num_processes: that share each micro-batch.
        micro_batch: from 0.
        num_micro_batches: that a batch is cut into.
    """

    rows: int
    process: int = 0
    num_processes: int = 1
    micro_batch: int = 0
    num_micro_batches: int = 1

    @property
    def index(self) -> int:
        return self.micro_batch * self.num_processes + self.process

    @property
    def count(self) -> int:
        return self.num_processes * self.num_micro_batches


_PART = timedelta(seconds=0.2)
PATIENCE_SECONDS = 30.0  # of a process that was asked to stop: the slowest of the others may still be at its step
_UNDIVIDED = Shard(rows=1)
_current = _UNDIVIDED  # not of a thread: on a GPU backward passes run in threads of their own


@contextmanager
def working_on(shard: Shard) -> Iterator[None]:
    """Inside, tensors hold the images of this shard alone."""
    global _current
    before, _current = _current, shard
    try:
        yield
    finally:
        _current = before


def num_processes() -> int:
    """How many processes share the images that are worked on at this moment."""
    return _current.num_processes


def num_shards() -> int:
    """How many parts the batch is divided into, among processes and in time."""
    return _current.count


def draw_rows(draw: Callable[[int], Tensor], rows: int) -> Tensor:
    """Random numbers for `rows` images here: those that they would get in the whole batch.

    Args:
        draw: number of images -> `(images, ...)` random numbers.
        rows: images here; may be several batches, one behind the other, each of which is divided, or an equal share of
            the images of one.
    """
    shard = _current
    if shard.count == 1:
        return draw(rows)
    drawn = draw(rows * shard.count)
    each = min(rows, shard.rows)
    return drawn.unflatten(0, (rows // each, shard.count, each))[:, shard.index].flatten(0, 1)


def all_rows(tensor: Tensor) -> Tensor:
    """`(N, ...)` of this process -> `(N * processes, ...)` of all, in the order of the batch; without gradient."""
    return torch.cat(_gathered(tensor.detach())) if _current.num_processes > 1 else tensor.detach()


def own_rows(tensor: Tensor) -> Tensor:
    """The inverse of `all_rows`."""
    return tensor.chunk(_current.num_processes)[_current.process]


def other_rows(tensor: Tensor) -> Tensor | None:
    """`(N, ...)` of this process -> those of all others; None where there is no other. Without gradient."""
    if _current.num_processes == 1:
        return None
    gathered = _gathered(tensor.detach())
    return torch.cat([rows for process, rows in enumerate(gathered) if process != _current.process])


def joined_rows(tensor: Tensor) -> Tensor:
    """`all_rows` with gradient, so that every process may compute the same loss of the whole batch."""
    count = _current.num_processes
    if count == 1:
        return tensor
    parts = [tensor if process == _current.process else torch.zeros_like(tensor) for process in range(count)]
    return sum_over_processes(torch.cat(parts))


def sum_over_processes(tensor: Tensor) -> Tensor:
    """The sum of all processes' tensors; may be differentiated, more than once."""
    return _Sum.apply(tensor) if _current.num_processes > 1 else tensor


def finish(work: Any, device: torch.device, patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Waits until an exchange that was started with `async_op` is done.

    Between CPUs it waits in parts, because Python hears signals between them only. On a GPU nothing waits here.

    Args:
        work: Exchange between processes.
        device: Device of its tensors.
        patience_seconds: Time that the others get after this process was asked to stop.

    Raises:
        LostProcessError: this process was asked to stop, and the others do not come.
    """
    if device.type != "cpu":
        work.wait()
        return
    while True:
        try:
            work.wait(_PART)
            return
        except RuntimeError:
            if work.is_completed():  # it has failed; else this part is over
                raise
        if signum := waited_since_asked(patience_seconds):
            error = LostProcessError(
                f"process {torch.distributed.get_rank()} of {torch.distributed.get_world_size()}: asked to stop, but "
                f"the others did not come within {patience_seconds:.0f} s, so nothing was saved; the same command "
                "resumes from the last checkpoint"
            )
            error.status = 128 + signum
            raise error


@contextmanager
def connected() -> Iterator[None]:
    """Inside, an exchange between processes that fails says so in one line.

    Raises:
        LostProcessError: another process has ended, or the network is gone.
    """
    try:
        yield
    except RuntimeError as error:  # gloo and nccl know no type of their own for it
        # gloo: "[its file] what happened. What it might mean."
        reason = str(error).strip().partition("] ")[2].partition(". ")[0] or type(error).__name__
        raise LostProcessError(
            f"process {torch.distributed.get_rank()} of {torch.distributed.get_world_size()}: lost the others "
            f"({reason}); the same command goes on from the last checkpoint"
        ) from None


def _gathered(tensor: Tensor) -> list[Tensor]:
    found = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(_current.num_processes)]
    with connected():
        work = torch.distributed.all_gather(found, tensor.contiguous(), async_op=True)
        finish(work, tensor.device)
    return found


class _Sum(torch.autograd.Function):
    """What every process gets depends on every process's tensor, so the gradient is the sum of all gradients."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        with connected():
            work = torch.distributed.all_reduce(total, async_op=True)
            finish(work, total.device)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.apply(gradient)
