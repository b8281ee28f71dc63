"""Batches of a sample stream, from any point of the run on."""

import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from cut.errors import PictureError, UserError


def batches(
    stream: Dataset, batch_size: int, first_step: int, last_step: int, num_workers: int, pin_memory: bool = False
) -> Iterator[dict[str, torch.Tensor]]:
    """The batches of steps `first_step` up to, not including, `last_step`; step s holds samples s * batch_size onwards.

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
            sampler=range(first_step * batch_size, last_step * batch_size),
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
