"""Whether a picture fits into memory as a whole."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from cut.errors import UserError
from cut.inference.tiling.plan import whole_bytes
from cut.inference.tiling.recorder import record
from cut.runtime.memory import available_bytes

_SMALL_PIXELS = 2**21  # of all pictures of a batch; not worth the look


def check_memory(
    forward: Callable[[Any], Any], picture: np.ndarray, count: int, device: torch.device, name: str
) -> None:
    """Refuses what certainly does not fit, before the system kills the process for it.

    Args:
        forward: see `translate_in_tiles`.
        picture: one of a batch of one size.
        count: of the batch.
        device: whose memory it takes.
        name: of the picture, for the error.

    Raises:
        UserError: the feature maps alone need more than there is.
    """
    if count * picture.shape[0] * picture.shape[1] < _SMALL_PIXELS:
        return
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):  # none of the run's own is drawn
            needed_bytes = count * whole_bytes(record(forward, picture, device)[1])
    except UserError:  # not known here, so nobody can say
        return
    free_bytes = available_bytes(device)
    if free_bytes is not None and needed_bytes > free_bytes:
        fewer = "lower --batch-size, or " if count > 1 else ""
        raise UserError(
            f"{name}: {picture.shape[1]}x{picture.shape[0]} px need at least {needed_bytes / 1e9:.1f} GB of memory, "
            f"{free_bytes / 1e9:.1f} GB are free; {fewer}cut it into tiles with --tile-px 1024"
        )
