"""What must be known of batch norm from outside a network."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

_BatchNorm = nn.modules.batchnorm._BatchNorm


def has_batch_norm(network: nn.Module) -> bool:
    """Whether a layer takes statistics over the images of a batch."""
    return any(isinstance(module, _BatchNorm) for module in network.modules())


@contextmanager
def untracked_statistics(network: nn.Module) -> Iterator[None]:
    """Inside, batch norm in training mode neither reads nor writes its running averages, and spectral norm keeps its
    vectors."""
    norms: list[Any] = [m for m in network.modules() if getattr(m, "track_running_stats", False)]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
