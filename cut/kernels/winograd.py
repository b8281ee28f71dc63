"""Convolutions with fewer multiplications, for float32 on a CPU (Lavin and Gray, CVPR 2016, arXiv:1509.09308).

From a window of 6x6 pixels d, a kernel g of 3x3 gives 4x4 results Y and one of 4x4 gives 3x3. Either way 36 products
per pair of channels do what plainly needs 144 (their F(4x4, 3x3)):

    Y = A^T [ sum over channels of (G g G^T) * (B^T d B) ] A                                         (their equation 8)

Here B^T d B is one product with the 36x36 Kronecker square of B^T, and the sum over channels is one matrix product for
each of the 36 places. The numbers are those of the plain convolution except for rounding: errors of 1e-5 of the largest
result instead of 2e-6.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input, conv2d_weight

from cut.kernels.cpu import is_exported

_WINDOW = 6
_PLACES = _WINDOW * _WINDOW
_CHUNK_NUMBERS = 1_000_000  # of a transformed chunk; what is worked on should stay in the cache
_MIN_CHANNELS, _MIN_TILES = 64, 128  # below these the plain convolution was as fast or faster

# The polynomial through 0, 1, -1, 2, -2 and infinity.
_B = torch.tensor(
    [
        [4.0, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
_WEIGHTS = torch.tensor([6.0, -4, -4, 1, 1, 24]) / 24


class _Transform(NamedTuple):
    """The Kronecker squares that belong to a kernel size."""

    tile: int  # side of what a window gives
    kernel: Tensor  # of G: (36, kernel size squared)
    output: Tensor  # of A^T: (tile squared, 36)


def _transform(kernel_size: int) -> _Transform:
    tile = _WINDOW + 1 - kernel_size
    g, a = _powers(kernel_size) * _WEIGHTS[:, None], _powers(tile).T
    return _Transform(tile, torch.kron(g, g), torch.kron(a, a))


def _powers(count: int) -> Tensor:
    """Of the points, `(6, count)`; infinity has the last alone."""
    points = torch.tensor([0.0, 1, -1, 2, -2])
    return torch.cat([points[:, None] ** torch.arange(count), torch.eye(count)[-1:]])


_INPUT = torch.kron(_B, _B)  # (36, 36)
_TRANSFORMS = {size: _transform(size) for size in (3, 4)}


class Conv2d(nn.Conv2d):
    """nn.Conv2d that multiplies less where that is faster: wide layers with a 3x3 or 4x4 kernel and stride 1."""

    padding: tuple[int, int]  # and never a name, such as "same"

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` -> `(N, out_channels, H', W')` as nn.Conv2d gives it."""
        return _Winograd.apply(self._with_borders(x), self.weight, self.bias) if self.pays(x) else super().forward(x)

    def gradients(self, gradient: Tensor, x: Tensor, wanted: list[bool], fast: bool) -> tuple[Tensor | None, ...]:
        """Of x, weight and bias, those that are wanted, from the gradient of what `forward` makes of x.

        `fast` is what `pays` said to `forward`.
        """
        if fast:
            grad_x, *others = _gradients(gradient, self._with_borders(x), self.weight, wanted)
            (rows, columns), (height, width) = self.padding, x.shape[2:]
            if grad_x is not None:
                grad_x = grad_x[:, :, rows : rows + height, columns : columns + width]
            return grad_x, *others
        kind, bias_size = gradient.dtype, None if self.bias is None else [self.out_channels]
        shape = (self.stride, self.padding, self.dilation, False, (0, 0), self.groups)
        return torch.ops.aten.convolution_backward(
            gradient, x.to(kind), self.weight.to(kind), bias_size, *shape, wanted
        )

    def pays(self, x: Tensor) -> bool:
        """Whether `forward` goes the fast way with x."""
        plain = self.stride == self.dilation == (1, 1) and self.groups == 1 and self.padding_mode == "zeros"
        return plain and pays(x, self.weight)

    def _with_borders(self, x: Tensor) -> Tensor:
        rows, columns = self.padding
        return F.pad(x, (columns, columns, rows, rows)) if rows or columns else x


def pays(x: Tensor, weight: Tensor) -> bool:
    """Whether `convolution` gives what F.conv2d gives, and sooner."""
    if x.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return False
    if torch.compiler.is_compiling() or is_exported():
        return False
    if x.dtype != torch.float32 or weight.dtype != torch.float32 or weight.shape[2:] not in ((3, 3), (4, 4)):
        return False
    num_tiles = len(x) * x.shape[2] * x.shape[3] // _TRANSFORMS[weight.shape[2]].tile ** 2
    return min(weight.shape[:2]) >= _MIN_CHANNELS and num_tiles >= _MIN_TILES and min(x.shape[2:]) >= _WINDOW


class _Winograd(torch.autograd.Function):
    """`(N, C, H, W)`, `(K, C, R, R)`, `(K,)` or None -> `(N, K, H - R + 1, W - R + 1)`, channels-last."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return convolution(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        if torch.is_grad_enabled():  # it will be differentiated once more
            wants_x, wants_weight, wants_bias = ctx.needs_input_grad
            return (
                conv2d_input(x.shape, weight, gradient) if wants_x else None,
                conv2d_weight(x, weight.shape, gradient) if wants_weight else None,
                gradient.sum((0, 2, 3)) if wants_bias else None,
            )
        return _gradients(gradient, x, weight, ctx.needs_input_grad)


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """F.conv2d without borders, `(N, C, H, W)` -> `(N, K, H - R + 1, W - R + 1)`, channels-last; has no gradient."""
    way, kernel = _TRANSFORMS[weight.shape[2]], _transformed_kernel(weight)
    image, (n, rows, columns) = _canvas(x, way.tile)
    whole = (n, len(weight), rows * way.tile, columns * way.tile)
    y = torch.empty(whole, dtype=x.dtype, memory_format=torch.channels_last)
    y_tiles = y.permute(0, 2, 3, 1).view(n, rows, way.tile, columns, way.tile, len(weight))
    for part in _chunks(n, rows, columns, weight):
        products = torch.bmm(_windows(image, part, way.tile), kernel)  # (36, P, K)
        tiles = (way.output @ products.view(_PLACES, -1)).view(way.tile, way.tile, n, -1, columns, len(weight))
        tiles = tiles.permute(2, 3, 0, 4, 1, 5)  # (N, rows, tile, columns, tile, K)
        if bias is None:
            y_tiles[:, part] = tiles
        else:
            torch.add(tiles, bias, out=y_tiles[:, part])
    height, width = (size - weight.shape[2] + 1 for size in x.shape[2:])
    # No view, so that an activation behind it may work in place.
    return y if y.shape[2:] == (height, width) else y[:, :, :height, :width].clone(memory_format=torch.channels_last)


def _gradients(gradient: Tensor, x: Tensor, weight: Tensor, wanted: Sequence[bool]) -> tuple[Tensor | None, ...]:
    """Of x, weight and bias, those that are wanted: each linear step of `convolution`, transposed and backwards."""
    wants_x, wants_weight, wants_bias = wanted
    way, kernel = _TRANSFORMS[weight.shape[2]], _transformed_kernel(weight)
    image, (n, rows, columns) = _canvas(x, way.tile)
    grad_bias = gradient.sum((0, 2, 3)) if wants_bias else None
    grad_kernel = torch.empty_like(kernel)
    grad_x = x.new_zeros(n, rows + 1, way.tile, columns + 1, way.tile, x.shape[1]) if wants_x else None
    gradient = _filled_up(gradient.permute(0, 2, 3, 1), rows * way.tile, columns * way.tile)
    gradient = gradient.reshape(n, rows, way.tile, columns, way.tile, -1)
    for part in _chunks(n, rows, columns, weight):
        tiles = gradient[:, part].permute(2, 4, 0, 1, 3, 5).reshape(way.tile**2, -1)
        products = (way.output.T @ tiles).view(_PLACES, -1, len(weight))  # (36, P, K)
        if wants_weight:
            kept = 1 if part.start else 0  # of what grad_kernel holds: nothing yet, the first time
            grad_kernel.baddbmm_(_windows(image, part, way.tile).transpose(1, 2), products, beta=kept)
        if grad_x is not None:
            windows = torch.bmm(products, kernel.transpose(1, 2))
            _add_windows(grad_x, _INPUT.T @ windows.view(_PLACES, -1), part)
    if grad_x is not None:
        grad_x = grad_x.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)[:, :, : x.shape[2], : x.shape[3]]
    grad_weight = None
    if wants_weight:
        grad_weight = (way.kernel.T @ grad_kernel.view(_PLACES, -1)).view(*weight.shape[2:], *kernel.shape[1:])
        grad_weight = grad_weight.permute(3, 2, 0, 1)
    return grad_x, grad_weight, grad_bias


def _transformed_kernel(weight: Tensor) -> Tensor:
    """`(K, C, R, R)` -> G g G^T of each pair of channels: `(36, C, K)`."""
    k, c, size, _ = weight.shape
    return (_TRANSFORMS[size].kernel @ weight.permute(2, 3, 1, 0).reshape(size * size, -1)).view(_PLACES, c, k)


def _canvas(x: Tensor, tile: int) -> tuple[Tensor, tuple[int, int, int]]:
    """`(N, H, W, C)` filled up to whole tiles, and how many those are: images, rows, columns."""
    overlap = _WINDOW - tile
    rows, columns = (-(-(size - overlap) // tile) for size in x.shape[2:])
    image = _filled_up(x.permute(0, 2, 3, 1), rows * tile + overlap, columns * tile + overlap)
    return image, (len(x), rows, columns)


def _filled_up(image: Tensor, height: int, width: int) -> Tensor:
    """`(N, H, W, C)` with zeros below and to the right."""
    return F.pad(image, (0, 0, 0, width - image.shape[2], 0, height - image.shape[1]))


def _chunks(n: int, rows: int, columns: int, weight: Tensor) -> list[slice]:
    """Rows of tiles that are worked on together."""
    height = max(1, _CHUNK_NUMBERS // (_PLACES * n * columns * max(weight.shape[:2])))
    return [slice(top, min(top + height, rows)) for top in range(0, rows, height)]


def _windows(image: Tensor, part: slice, tile: int) -> Tensor:
    """B^T d B of the windows under some rows of tiles: `(36, P, C)`."""
    image = image[:, part.start * tile : part.stop * tile + _WINDOW - tile]
    windows = image.unfold(1, _WINDOW, tile).unfold(2, _WINDOW, tile)  # (N, rows, columns, C, 6, 6)
    windows = windows.permute(4, 5, 0, 1, 2, 3).reshape(_PLACES, -1)
    return (_INPUT @ windows).view(_PLACES, -1, image.shape[3])


def _add_windows(canvas: Tensor, windows: Tensor, part: slice) -> None:
    """Adds `(36, P C)`, what each window holds, where they lie: on a tile and on the edges of the next ones.

    `canvas` is `(N, rows + 1, tile, columns + 1, tile, C)`.
    """
    n, _, tile, columns, _, channels = canvas.shape
    windows = windows.view(_WINDOW, _WINDOW, n, -1, columns - 1, channels).permute(2, 3, 0, 4, 1, 5)
    overlap = _WINDOW - tile
    here, below = slice(part.start, part.stop), slice(part.start + 1, part.stop + 1)
    canvas[:, here, :, :-1] += windows[:, :, :tile, :, :tile]
    canvas[:, here, :, 1:, :overlap] += windows[:, :, :tile, :, tile:]
    canvas[:, below, :overlap, :-1] += windows[:, :, tile:, :, :tile]
    canvas[:, below, :overlap, 1:, :overlap] += windows[:, :, tile:, :, tile:]
