"""Mean and deviation of each channel over all pixels of many pictures."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

_HALF = 127.5  # sums are of bytes, and so exact, in whatever order pictures come


class ColourStatistics(NamedTuple):
    """Of a domain, one number per channel, of values in [-1, 1]."""

    mean: list[float]
    deviation: list[float]


def colour_statistics(images: Iterable[Tensor]) -> ColourStatistics:
    """Statistics of all pixels together.

    Args:
        images: At least one, `(C, H, W)`, uint8 or float in [-1, 1].
    """
    count, total, squares = 0, torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    for image in images:
        values = image.flatten(1).cpu().double()
        if image.dtype != torch.uint8:
            values = (values + 1.0) * _HALF
        count, total, squares = count + values.shape[1], total + values.sum(1), squares + (values * values).sum(1)
    mean = total / count
    deviation = (squares / count - mean * mean).clamp(min=0.0).sqrt()
    return ColourStatistics((mean / _HALF - 1.0).tolist(), (deviation / _HALF).tolist())
