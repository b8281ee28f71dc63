"""What a network computes, as nodes that can be asked for any part of their feature map.

A node knows which part of its inputs a part of its own map needs, and computes that part alone. Borders are padded
where the picture ends and nowhere else; so parts put together are the whole map.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cut.data.transforms import to_tensor

Span = tuple[int, int]  # first row or column, and the one behind the last
Region = tuple[Span, Span]  # rows, columns


@dataclass(eq=False)
class Node:
    """A feature map `(1, channels, *size)` that is computed from others, and from what is one for all places.

    The inputs of one node are all of one size.
    """

    inputs: tuple["Node", ...]
    channels: int
    size: tuple[int, int]
    dtype: torch.dtype
    wholes: tuple["Whole", ...] = field(default=(), kw_only=True)

    is_cheap = False  # to keep what it is made of is as good as to keep it

    @property
    def moments(self) -> "list[Moments]":
        """What must be known before any place of the map is."""
        return [moments for whole in self.wholes for moments in whole.moments]

    @property
    def num_elements(self) -> int:
        return self.channels * self.size[0] * self.size[1]

    @property
    def num_bytes(self) -> int:
        return self.num_elements * self.dtype.itemsize

    def span(self, axis: int, first: int, last: int) -> Span:
        """What rows (axis 0) or columns (axis 1) from `first` to before `last` need; may reach beyond the borders."""
        return first, last

    def needed(self, region: Region) -> Region:
        """The part of each input that `compute` wants, within its borders and never empty."""
        spans = []
        for axis, (first, last) in enumerate(region):
            first, last = self.span(axis, first, last)
            limit = self.inputs[0].size[axis]
            first = min(max(first, 0), limit - 1)
            spans.append((first, max(min(last, limit), first + 1)))
        return spans[0], spans[1]

    def compute(self, tiles: Sequence[Tensor], region: Region) -> Tensor:
        """`(1, channels, *region)` of the inputs' parts `needed(region)`; those are not changed."""
        raise NotImplementedError

    def _with_borders(self, tile: Tensor, region: Region, value: float = 0.0) -> Tensor:
        """The inputs' part, extended beyond the borders to all of `span`."""
        amounts: list[int] = []
        for axis, (inside, span) in enumerate(zip(self.needed(region), region, strict=True)):
            first, last = self.span(axis, *span)
            amounts = [inside[0] - first, last - inside[1], *amounts]  # as F.pad wants them, columns first
        if any(amounts):
            tile = F.pad(tile, [max(0, amount) for amount in amounts], value=value)
            tile = F.pad(tile, [min(0, amount) for amount in amounts])  # `needed` is more where all lies outside
        return tile


class Moments:
    """Mean and variance of each channel over all places of a map, merged tile by tile in float64, on the CPU.

    Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979, eq. 2.1.
    """

    def __init__(self, source: Node):
        self.source, self.count, self.device = source, 0, torch.device("cpu")
        self.mean = torch.zeros(source.channels, dtype=torch.float64)
        self._squares = torch.zeros_like(self.mean)  # sum of squared distances from the mean

    @property
    def variance(self) -> Tensor:
        """Divided by the number of places; `(C,)`."""
        return self._squares / self.count

    def add(self, tile: Tensor) -> None:
        """Takes `(1, C, h, w)` in; its own moments are taken in float32 whatever its type."""
        pixels = tile[0].permute(1, 2, 0).flatten(0, 1).float()  # (h * w, C); torch.var_mean takes twice as long
        count, mean, self.device = len(pixels), pixels.mean(0), tile.device
        variance = (pixels - mean).square_().mean(0).cpu().double()  # Apple's GPUs have no float64
        mean = mean.cpu().double()
        total, distance = self.count + count, mean - self.mean
        self._squares += variance * count + distance.square() * (self.count * count / total)
        self.mean += distance * (count / total)
        self.count = total

    def of_groups(self, num_groups: int) -> tuple[Tensor, Tensor]:
        """Mean and variance over all places of groups of neighbouring channels, float32 `(num_groups,)`."""
        means, variances = self.mean.view(num_groups, -1), self.variance.view(num_groups, -1)
        mean = means.mean(1)
        variance = (variances + (means - mean[:, None]).square()).mean(1)
        return mean.float().to(self.device), variance.float().to(self.device)


class Whole:
    """A tensor of any shape, or several, that is computed once, when the moments that it needs are known.

    Args:
        function: Of the statistics and the values of the inputs.
        statistics: Moments that it is computed from.
        inputs: Others that it is computed from.
    """

    def __init__(
        self, function: Callable[..., Any], statistics: Sequence[Moments] = (), inputs: "Sequence[Whole]" = ()
    ):
        self.function, self.statistics, self.inputs = function, statistics, inputs
        self.moments: list[Moments] = [*statistics, *(moments for whole in inputs for moments in whole.moments)]

    @cached_property
    def value(self) -> Any:
        return self.function(*self.statistics, *(whole.value for whole in self.inputs))


@dataclass(eq=False, kw_only=True)
class Source(Node):
    """The picture, `(H, W, C)`, uint8, uint16, or float32 in [-1, 1]."""

    picture: np.ndarray
    device: torch.device

    def compute(self, tiles: Sequence[Tensor], region: Region) -> Tensor:
        (top, bottom), (left, right) = region
        image = to_tensor(self.picture[top:bottom, left:right])[None].to(self.device)
        return image.contiguous(memory_format=torch.channels_last)  # whose convolutions are faster


@dataclass(eq=False, kw_only=True)
class Pointwise(Node):
    """`function` of the inputs, the wholes and the planes; of the last two what is as large as a map is cut."""

    function: Callable[..., Tensor]
    planes: tuple[Tensor, ...] = ()

    is_cheap = True

    def compute(self, tiles: Sequence[Tensor], region: Region) -> Tensor:
        others = (*(whole.value for whole in self.wholes), *self.planes)
        return self.function(*tiles, *(self._cut(other, region) for other in others))

    def _cut(self, tensor: Tensor, region: Region) -> Tensor:
        for axis, (first, last) in zip((-2, -1), region, strict=True):
            if tensor.dim() >= -axis and tensor.shape[axis] > 1:
                tensor = tensor.narrow(axis, first, last - first)
        return tensor


@dataclass(eq=False, kw_only=True)
class Dropout(Node):
    """Drops what F.dropout of the whole map would have dropped: its mask is drawn once, when it is first needed."""

    probability: float
    mask: Tensor | None = None  # bool; large maps may have none

    is_cheap = True

    def compute(self, tiles: Sequence[Tensor], region: Region) -> Tensor:
        if self.mask is None:
            ones = torch.ones(1, self.channels, *self.size, device=tiles[0].device)
            self.mask = F.dropout(ones, self.probability, training=True) > 0
        (top, bottom), (left, right) = region
        return tiles[0] * self.mask[:, :, top:bottom, left:right] / (1.0 - self.probability)
