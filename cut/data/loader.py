"""Batches of a sample stream, from any point of the run on."""

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from cut.errors import PictureError, UserError


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

    Raises:
        PictureError: a picture cannot be used.
    """
    with warnings.catch_warnings():
        # On a machine with one core, where two workers are fine: they mostly wait for the disk.
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        loader = DataLoader(
            stream,
            batch_size=batch_size,
            sampler=numbers,
            num_workers=num_workers,
            collate_fn=_collate,
            pin_memory=pin_memory,
            # The base seed of its workers comes from a generator of its own, so that the run's is left alone.
            generator=torch.Generator(),
        )
        iterator = iter(loader)
    for batch in iterator:
        if isinstance(batch, UserError):
            raise PictureError(str(batch))
        yield batch


def _collate(samples: list[Any]) -> Any:
    """Stacks samples; the first mistake among them stands for the batch."""
    return next((s for s in samples if isinstance(s, UserError)), None) or default_collate(samples)
