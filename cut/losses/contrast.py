"""The contrastive loss over the layers of an encoder, for any loss of one layer."""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from cut.runtime.sharding import all_rows


class Queue(Protocol):
    """A memory of earlier keys."""

    def content(self) -> Tensor:
        """Keys `(K, C)`."""

    def push(self, keys: Tensor) -> None:
        """Takes in keys `(N, S, C)`."""


def contrast_over_layers(
    queries: Sequence[Tensor],
    keys: Sequence[Tensor],
    loss: Callable[..., Tensor],
    negatives: str = "image",
    queues: Sequence[Queue] | None = None,
    inside: Sequence[Tensor] | None = None,
) -> Tensor:
    """Mean over layers, places and images of a contrastive loss (CUT, equation 3).

    Args:
        queries: Unit vectors `(N, S, C)` of translations, per layer.
        keys: Unit vectors `(N, S, C)` of inputs at the same places, per layer.
        loss: Loss of one layer, called as `loss(query, key, negatives=..., external=...)`, such as
            `losses.patchnce.patchnce_loss`; gives a value for each patch.
        negatives: Other places of the same image (`image`) or of all images of the batch (`minibatch`); or none besides
            the queues' (`none`).
        queues: Memories of earlier keys, per layer, which are further negatives and then take in these keys; None where
            there are none.
        inside: Per layer `(N, S)` which queries count, as those inside a mask; the others are negatives only. An image
            of which none counts gives 0. Of layers beyond these, and without them, all count.
    """
    losses = []
    for layer, (query, key) in enumerate(zip(queries, keys, strict=True)):
        external = queues[layer].content() if queues else None
        values = loss(query, key, negatives=negatives, external=external)
        losses.append(_mean(values, inside[layer] if inside and layer < len(inside) else None))
        if queues:
            queues[layer].push(key)
    return sum(losses, torch.zeros(())) / len(losses)


def _mean(values: Tensor, inside: Tensor | None) -> Tensor:
    """Mean over images of the mean over those patches that count."""
    if inside is None:
        return values.mean()
    counted = inside.to(values)
    counted = counted if counted.numel() == values.numel() else all_rows(counted)  # a loss of all processes' patches
    sums = (values.view_as(counted) * counted).sum(1)
    return (sums / counted.sum(1).clamp_min(1.0)).mean()
