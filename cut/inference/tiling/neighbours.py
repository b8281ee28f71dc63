"""Nodes whose places depend on neighbouring places of their inputs."""

from collections.abc import Callable, Sequence
from dataclasses import InitVar, dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cut.inference.tiling.nodes import Node, Region, Span


@dataclass(eq=False, kw_only=True)
class Window(Node):
    """Convolution or pooling, `function`, of the map with `border` around it; pairs are (rows, columns)."""

    function: Callable[[Tensor], Tensor]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    border: float

    def span(self, axis: int, first: int, last: int) -> Span:
        stride, padding = self.stride[axis], self.padding[axis]
        reach = self.dilation[axis] * (self.kernel[axis] - 1)
        return first * stride - padding, (last - 1) * stride - padding + reach + 1

    def compute(self, tiles: Sequence[Tensor], region: Region) -> Tensor:
        return self.function(self._with_borders(tiles[0], region, self.border))


@dataclass(eq=False, kw_only=True)
class TransposedConvolution(Window):
    """F.conv_transpose2d, which `function` gives with all that `padding` cuts off."""

    def span(self, axis: int, first: int, last: int) -> Span:
        # Input row i is spread over the output rows from i * stride - padding on, reach + 1 of them.
        stride, reach = self.stride[axis], self.dilation[axis] * (self.kernel[axis] - 1)
        first, last = first + self.padding[axis], last - 1 + self.padding[axis]
        begin = min(-(-(first - reach) // stride), first // stride)
        return begin, max(last // stride, -(-(last - reach) // stride)) + 1

    def compute(self, tiles: Sequence[Tensor], region: Region) -> Tensor:
        x = super().compute(tiles, region)
        for axis, (first, last) in enumerate(region):
            begin = self.span(axis, first, last)[0] * self.stride[axis] - self.padding[axis]
            x = x.narrow(2 + axis, first - begin, last - first)
        return x


@dataclass(eq=False, kw_only=True)
class Padding(Node):
    """F.pad of rows and columns; `before` is (top, left)."""

    before: tuple[int, int]
    mode: str
    value: float

    is_cheap = True

    def span(self, axis: int, first: int, last: int) -> Span:
        if self.mode == "constant":
            return first - self.before[axis], last - self.before[axis]
        rows = self._source_rows(axis, first, last)
        return int(rows.min()), int(rows.max()) + 1

    def compute(self, tiles: Sequence[Tensor], region: Region) -> Tensor:
        if self.mode == "constant":
            return self._with_borders(tiles[0], region, self.value)
        x = tiles[0].permute(0, 2, 3, 1)  # as it lies in memory, and shall lie
        for axis, span in enumerate(region):
            rows = self._source_rows(axis, *span)
            if np.any(np.diff(rows) != 1):
                x = x.index_select(1 + axis, torch.from_numpy(rows - rows.min()).to(x.device))
        return x.permute(0, 3, 1, 2)

    def _source_rows(self, axis: int, first: int, last: int) -> np.ndarray:
        rows, end = np.arange(first, last) - self.before[axis], self.inputs[0].size[axis] - 1
        return np.clip(rows, 0, end) if self.mode == "replicate" else end - np.abs(end - np.abs(rows))


@dataclass(eq=False, kw_only=True)
class Interpolation(Node):
    """F.interpolate by a whole factor, `nearest` or `bilinear` with corners that are not aligned."""

    factor: int
    mode: str

    def span(self, axis: int, first: int, last: int) -> Span:
        # Row i lies at (i + 1/2) / factor - 1/2 of the input's rows, between the one below and the one above.
        double = 2 * self.factor
        return (2 * first + 1 - self.factor) // double, (2 * last - 1 - self.factor) // double + 2

    def compute(self, tiles: Sequence[Tensor], region: Region) -> Tensor:
        x = F.interpolate(tiles[0], scale_factor=self.factor, mode=self.mode)
        for axis, ((first, last), (begin, _)) in enumerate(zip(region, self.needed(region), strict=True)):
            x = x.narrow(2 + axis, first - begin * self.factor, last - first)
        return x


@dataclass(eq=False, kw_only=True)
class BandMatrix(Node):
    """`matrix @ x` along rows (axis 0), or `x @ matrix.T` along columns, where few neighbours have a weight."""

    axis: int
    matrix: InitVar[Tensor]  # (out, in); kept as a band, for a whole one is as large as a picture

    def __post_init__(self, matrix: Tensor) -> None:
        used = torch.ne(matrix, 0)
        self._first = used.int().argmax(1)  # (out,)
        width = int((used.shape[1] - used.flip(1).int().argmax(1) - self._first).max())
        columns = self._first[:, None] + torch.arange(width, device=used.device)  # (out, width)
        inside = columns < used.shape[1]
        self._band = matrix.gather(1, columns.clamp(max=used.shape[1] - 1)) * inside

    def span(self, axis: int, first: int, last: int) -> Span:
        if axis != self.axis:
            return first, last
        begins = self._first[first:last]
        return int(begins.min()), int(begins.max()) + self._band.shape[1]

    def compute(self, tiles: Sequence[Tensor], region: Region) -> Tensor:
        first, last = region[self.axis]
        begin, end = self.needed(region)[self.axis]
        columns = self._first[first:last, None] - begin + torch.arange(self._band.shape[1], device=self._band.device)
        part = self._band.new_zeros(last - first, self._band.shape[1] + end - begin)
        part = part.scatter_(1, columns, self._band[first:last])[:, : end - begin]
        return part @ tiles[0] if self.axis == 0 else tiles[0] @ part.t()
