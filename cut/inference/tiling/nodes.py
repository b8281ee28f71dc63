"""What a network computes, as nodes that can be asked for any part of their feature map.

A node knows which part of its inputs a part of its own map needs, and computes that part alone. Borders are padded
where the picture ends and nowhere else; so parts put together are the whole map.
"""

from collections.abc import Callable, Sequence
from dataclasses import InitVar, dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cut.data.transforms import to_tensor
from cut.kernels.winograd import convolution, pays

Span = tuple[int, int]  # first row or column, and the one behind the last
Region = tuple[Span, Span]  # rows, columns


@dataclass(eq=False)
class Node:
    """A feature map `(1, channels, *size)` that is computed from others; those of one node are all of one size."""

    inputs: tuple["Node", ...]
    channels: int
    size: tuple[int, int]
    dtype: torch.dtype

    is_pointwise = True  # each place depends on the same place of the inputs alone

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

    def _with_zeros_around(self, tile: Tensor, region: Region, value: float = 0.0) -> Tensor:
        """The inputs' part, extended beyond the borders to all of `span`."""
        amounts: list[int] = []
        for axis, (inside, span) in enumerate(zip(self.needed(region), region, strict=True)):
            first, last = self.span(axis, *span)
            amounts = [inside[0] - first, last - inside[1], *amounts]  # as F.pad wants them, columns first
        if any(amounts):
            tile = F.pad(tile, [max(0, amount) for amount in amounts], value=value)
            tile = F.pad(tile, [min(0, amount) for amount in amounts])  # `needed` is more where all lies outside
        return tile


@dataclass(eq=False, kw_only=True)
class Source(Node):
    """The picture, `(H, W, C)`, uint8 or uint16."""

    picture: np.ndarray
    device: torch.device

    is_pointwise = False

    def compute(self, tiles: Sequence[Tensor], region: Region) -> Tensor:
        (top, bottom), (left, right) = region
        image = to_tensor(self.picture[top:bottom, left:right])[None].to(self.device)
        return image.contiguous(memory_format=torch.channels_last)  # whose convolutions are faster


@dataclass(eq=False, kw_only=True)
class Pointwise(Node):
    """`function` of the inputs; `plane`, if any, is a tensor that it gets too, cut as they are where it is a map."""

    function: Callable[..., Tensor]
    plane: Tensor | None = None

    def compute(self, tiles: Sequence[Tensor], region: Region) -> Tensor:
        if self.plane is None:
            return self.function(*tiles)
        cut = self.plane
        for axis, (first, last) in zip((-2, -1), region, strict=True):
            if cut.dim() >= -axis and cut.shape[axis] > 1:
                cut = cut.narrow(axis, first, last - first)
        return self.function(*tiles, cut)


@dataclass(eq=False, kw_only=True)
class Dropout(Node):
    """Drops what F.dropout of the whole map would have dropped: its mask is drawn once, when it is first needed."""

    probability: float
    mask: Tensor | None = None  # bool, on the CPU, where small maps alone may have one

    def compute(self, tiles: Sequence[Tensor], region: Region) -> Tensor:
        if self.mask is None:
            ones = torch.ones(1, self.channels, *self.size, device=tiles[0].device)
            self.mask = F.dropout(ones, self.probability, training=True) > 0
        (top, bottom), (left, right) = region
        return tiles[0] * self.mask[:, :, top:bottom, left:right] / (1.0 - self.probability)


@dataclass(eq=False, kw_only=True)
class Norm(Node):
    """Instance norm, or batch norm by the picture's own statistics: `(x - mean) / sqrt(variance + eps)`, affine.

    Of each channel over the whole map (Ulyanov et al., arXiv:1607.08022, equation 2); `set_moments` comes first.
    """

    eps: float
    weight: Tensor | None = None
    bias: Tensor | None = None

    def set_moments(self, mean: Tensor, variance: Tensor) -> None:
        """Mean and uncorrected variance of each channel, float64 `(C,)`."""
        self._mean, self._variance = mean.float(), variance.float()

    def compute(self, tiles: Sequence[Tensor], region: Region) -> Tensor:
        mean, variance = self._mean.to(tiles[0].device), self._variance.to(tiles[0].device)
        return F.batch_norm(tiles[0], mean, variance, self.weight, self.bias, False, 0.0, self.eps)


@dataclass(eq=False, kw_only=True)
class Convolution(Node):
    """F.conv2d or F.conv_transpose2d with zeros around the map; pairs are (rows, columns)."""

    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    is_transposed: bool

    is_pointwise = False

    def span(self, axis: int, first: int, last: int) -> Span:
        stride, padding = self.stride[axis], self.padding[axis]
        reach = self.dilation[axis] * (self.weight.shape[2 + axis] - 1)
        if not self.is_transposed:
            return first * stride - padding, (last - 1) * stride - padding + reach + 1
        # Input row i is spread over the output rows from i * stride - padding on, reach + 1 of them.
        first, last = first + padding, last - 1 + padding
        begin = min(-(-(first - reach) // stride), first // stride)
        return begin, max(last // stride, -(-(last - reach) // stride)) + 1

    def compute(self, tiles: Sequence[Tensor], region: Region) -> Tensor:
        x = self._with_zeros_around(tiles[0], region)
        if not self.is_transposed:
            if self.stride == self.dilation == (1, 1) and self.groups == 1 and pays(x, self.weight):
                return convolution(x, self.weight, self.bias)
            return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)
        x = F.conv_transpose2d(x, self.weight, self.bias, self.stride, 0, 0, self.groups, self.dilation)
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

    is_pointwise = False

    def span(self, axis: int, first: int, last: int) -> Span:
        if self.mode == "constant":
            return first - self.before[axis], last - self.before[axis]
        rows = self._source_rows(axis, first, last)
        return int(rows.min()), int(rows.max()) + 1

    def compute(self, tiles: Sequence[Tensor], region: Region) -> Tensor:
        if self.mode == "constant":
            return self._with_zeros_around(tiles[0], region, self.value)
        rows_beyond, columns_beyond = (self._beyond(axis, *span) for axis, span in enumerate(region))
        if rows_beyond is not None and columns_beyond is not None:
            amounts = (*columns_beyond, *rows_beyond)
            return F.pad(tiles[0], amounts, self.mode) if any(amounts) else tiles[0]
        x = tiles[0]
        for axis, span in enumerate(region):
            rows = self._source_rows(axis, *span)
            x = x.index_select(2 + axis, torch.from_numpy(rows - rows.min()).to(x.device))
        return x

    def _beyond(self, axis: int, first: int, last: int) -> tuple[int, int] | None:
        """How many rows lie before the map's first and behind its last; None where F.pad cannot make them of the
        inputs' part, for that is not what lies between them."""
        begin, end, limit = first - self.before[axis], last - self.before[axis], self.inputs[0].size[axis]
        before, behind = max(0, -begin), max(0, end - limit)
        between = begin + before, end - behind
        is_enough = between == self.span(axis, first, last) and max(before, behind) < between[1] - between[0]
        return (before, behind) if is_enough else None

    def _source_rows(self, axis: int, first: int, last: int) -> np.ndarray:
        rows, end = np.arange(first, last) - self.before[axis], self.inputs[0].size[axis] - 1
        return np.clip(rows, 0, end) if self.mode == "replicate" else end - np.abs(end - np.abs(rows))


@dataclass(eq=False, kw_only=True)
class Interpolation(Node):
    """F.interpolate by a whole factor, `nearest` or `bilinear` with corners that are not aligned."""

    factor: int
    mode: str

    is_pointwise = False

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

    is_pointwise = False

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
