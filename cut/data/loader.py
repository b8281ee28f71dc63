"""Batches of a sample stream, from any point of the run on."""

import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, default_collate
from tqdm import tqdm

from cut.data.images import max_megapixels, set_max_megapixels
from cut.errors import PictureError, UserError

_MOST_DEATHS = 3


def batches(
    stream: Dataset, batch_size: int, first_step: int, last_step: int, num_workers: int, pin_memory: bool = False
) -> Iterator[dict[str, torch.Tensor]]:
    """The batches of steps `first_step` up to, not including, `last_step`; step s holds samples s * batch_size onwards.

    A worker that is killed, as the system does when memory runs out, is replaced: what a sample is depends on its
    number alone.

    Raises:
        PictureError: a picture cannot be used, or workers are killed again and again.
    """
    step, deaths = first_step, 0
    while step < last_step:
        try:
            for batch in _loaded(stream, batch_size, step, last_step, num_workers, pin_memory):
                yield batch
                step, deaths = step + 1, 0
        except (RuntimeError, OSError, EOFError) as error:
            if not (num_workers and _tells_of_a_dead_worker(error)):
                raise
            deaths += 1
            if deaths >= _MOST_DEATHS:
                raise PictureError(
                    f"data.num_workers: {num_workers} workers were killed {deaths} times in a row, perhaps for lack of "
                    "memory; set a lower number, or 0, and run the same command again"
                ) from None
            tqdm.write(f"warning: step {step}: a loader worker was killed; others take its place", file=sys.stderr)


def _loaded(
    stream: Dataset, batch_size: int, first_step: int, last_step: int, num_workers: int, pin_memory: bool
) -> Iterator[dict[str, torch.Tensor]]:
    with warnings.catch_warnings(), _own_child_signals():
        # On a machine with one core, where two workers are fine: they mostly wait for the disk.
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        loader = DataLoader(
            stream,
            batch_size=batch_size,
            sampler=range(first_step * batch_size, last_step * batch_size),
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
