"""Batches of a sample stream, from any point of the run on."""

import signal
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from cut.data.bounds import max_megapixels, set_max_megapixels
from cut.errors import PictureError, UserError
from cut.terminal import say

_MOST_DEATHS = 3


@dataclass(frozen=True)
class SampleNumbers:
    """Which samples one process takes, in its order; together the processes take every sample once.

    Batch b of a run holds samples b * batch_size onwards, micro-batch by micro-batch, and of each of these every
    process has an equal share.

    Args:
        batches: of the run, from 0.
        batch_size: of all processes together.
        num_micro_batches: that a batch is cut into.
        process: from 0.
        num_processes: that share each micro-batch.
    """

    batches: range
    batch_size: int
    num_micro_batches: int = 1
    process: int = 0
    num_processes: int = 1

    def __iter__(self) -> Iterator[int]:
        share = self.batch_size // (self.num_micro_batches * self.num_processes)
        for batch in self.batches:
            for micro_batch in range(self.num_micro_batches):
                start = batch * self.batch_size + (micro_batch * self.num_processes + self.process) * share
                yield from range(start, start + share)


def batches(
    stream: Dataset, batch_size: int, numbers: Iterable[int], num_workers: int, pin_memory: bool = False
) -> Iterator[dict[str, torch.Tensor]]:
    """Batches of `batch_size` samples of these numbers, in this order.

    One set of workers serves the whole run, epochs included, and each loads two batches ahead. With `pin_memory`
    batches lie where CUDA copies them from without waiting, as Fabric's `to_device` does.

    A worker that is killed, as the system does when memory runs out, is replaced: what a sample is depends on its
    number alone.

    Raises:
        PictureError: a picture cannot be used, or workers are killed again and again.
    """
    done = deaths = 0
    while True:
        try:
            for batch in _loaded(stream, batch_size, islice(numbers, done * batch_size, None), num_workers, pin_memory):
                yield batch
                done, deaths = done + 1, 0
            return
        except (RuntimeError, OSError, EOFError) as error:
            if not (num_workers and _tells_of_a_dead_worker(error)):
                raise
            deaths += 1
            if deaths >= _MOST_DEATHS:
                raise PictureError(
                    f"data.num_workers: {num_workers} workers were killed {deaths} times in a row, perhaps for lack of "
                    "memory; set a lower number, or 0, and run the same command again"
                ) from None
            say("warning: a loader worker was killed; others take its place", above_bars=True)


def _loaded(
    stream: Dataset, batch_size: int, numbers: Iterable[int], num_workers: int, pin_memory: bool
) -> Iterator[dict[str, torch.Tensor]]:
    with warnings.catch_warnings(), _own_child_signals():
        # On a machine with one core, where two workers are fine: they mostly wait for the disk.
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        loader = DataLoader(
            stream,
            batch_size=batch_size,
            sampler=numbers,
            num_workers=num_workers,
            collate_fn=_collate,
            pin_memory=pin_memory,
            worker_init_fn=partial(_begin_worker, max_megapixels()),
            # The base seed of its workers comes from a generator of its own, so that the run's is left alone.
            generator=torch.Generator(),
        )
        iterator = iter(loader)
    for batch in iterator:
        if isinstance(batch, UserError):
            raise PictureError(str(batch))
        yield batch


def _tells_of_a_dead_worker(error: Exception) -> bool:
    """Whether torch noticed that a worker is gone, or its pipe broke; what fails inside a worker has another text."""
    text = str(error)
    return "DataLoader worker (pid" in text or not (isinstance(error, RuntimeError) or text.startswith("Caught "))


@contextmanager
def _own_child_signals() -> Iterator[None]:
    """Undoes what a loader does about dead children: it would raise an error in the middle of a training step.

    A dead worker is then noticed when its batch is waited for, within seconds.
    """
    if not hasattr(signal, "SIGCHLD") or threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, handler)


def _begin_worker(megapixels: float, number: int) -> None:
    """A worker that is not forked knows of no setting of this process."""
    set_max_megapixels(megapixels)


def _collate(samples: list[Any]) -> Any:
    """Stacks samples; the first mistake among them stands for the batch."""
    return next((s for s in samples if isinstance(s, UserError)), None) or default_collate(samples)
