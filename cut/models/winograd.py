"""3x3 convolutions with fewer multiplications, for float32 on a CPU (Lavin and Gray, CVPR 2016, arXiv:1509.09308).

A tile of 4x4 results needs 36 products per pair of channels instead of 144 (their F(4x4, 3x3)):

    Y = A^T [ sum over channels of (G g G^T) * (B^T d B) ] A                                         (their equation 8)

with d the 6x6 pixels under the tile and g the 3x3 kernel. Here (B^T d B) is one product with the 36x36 Kronecker square
of B^T, and the sum over channels one matrix product for each of the 36 places. The numbers are those of the plain
convolution but for rounding: about 1e-5 of the largest instead of 2e-6.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_TILE, _WINDOW = 4, 6  # a window of 6x6 input pixels gives a tile of 4x4 output pixels
_POINTS = _WINDOW * _WINDOW
_CHUNK_NUMBERS = 1_000_000  # of a transformed chunk; what is worked on should stay in the cache
_MIN_CHANNELS, _MIN_TILES = 64, 64  # below these the plain convolution was as fast or faster

_B_T = torch.tensor(
    [
        [4.0, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
_G = (
    torch.tensor(
        [[6.0, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]],
    )
    / 24
)
_A_T = torch.tensor([[1.0, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])
_INPUT, _KERNEL, _OUTPUT = (torch.kron(m, m) for m in (_B_T, _G, _A_T))  # (36, 36), (36, 9), (16, 36)


class Conv3x3(nn.Conv2d):
    """A convolution with a 3x3 kernel and stride 1, multiplying less where that is faster."""

    def __init__(self, in_channels: int, out_channels: int, padding: int = 0, bias: bool = True):
        super().__init__(in_channels, out_channels, 3, padding=padding, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` -> `(N, out_channels, H + 2 (padding - 1), W + 2 (padding - 1))`."""
        if not _pays(x, self.weight):
            return super().forward(x)
        if any(self.padding):
            x = F.pad(x, (self.padding[1],) * 2 + (self.padding[0],) * 2)
        return _Winograd.apply(x, self.weight, self.bias)


def _pays(x: Any, weight: Tensor) -> bool:
    # What is no tensor stands for one, and records what is done to it (engine/tiling).
    if not isinstance(x, Tensor) or x.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return False
    if x.dtype != torch.float32 or weight.dtype != torch.float32:
        return False
    num_tiles = len(x) * x.shape[2] * x.shape[3] // _TILE**2
    return min(weight.shape[:2]) >= _MIN_CHANNELS and num_tiles >= _MIN_TILES and min(x.shape[2:]) >= _WINDOW


class _Winograd(torch.autograd.Function):
    """`(N, C, H, W)`, `(K, C, 3, 3)`, `(K,)` or None -> `(N, K, H - 2, W - 2)`, channels-last."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        kernel = _transformed_kernel(weight)
        image, tiles = _canvas(x)
        n, rows, columns = tiles
        y = x.new_empty(n, rows, _TILE, columns, _TILE, len(weight))
        for part in _chunks(tiles, max(weight.shape[:2])):
            products = torch.bmm(_windows(image, part), kernel)  # (36, P, K)
            places = (_OUTPUT @ products.view(_POINTS, -1)).view(_TILE, _TILE, n, -1, columns, y.shape[-1])
            places = places.permute(2, 3, 0, 4, 1, 5)
            if bias is None:
                y[:, part] = places
            else:
                torch.add(places, bias, out=y[:, part])
        y = y.view(n, rows * _TILE, columns * _TILE, -1)
        return y[:, : x.shape[2] - 2, : x.shape[3] - 2].permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad
        grad_bias = gradient.sum((0, 2, 3)) if wants_bias else None
        if torch.is_grad_enabled():  # it will be differentiated once more
            grad_x = torch.nn.grad.conv2d_input(x.shape, weight, gradient)
            return grad_x, torch.nn.grad.conv2d_weight(x, weight.shape, gradient), grad_bias
        kernel = _transformed_kernel(weight)
        image, tiles = _canvas(x)
        n, rows, columns = tiles
        grad_kernel = torch.empty_like(kernel)
        grad_x = x.new_zeros(n, rows + 1, _TILE, columns + 1, _TILE, x.shape[1]) if wants_x else None
        gradient = _filled_up(gradient.permute(0, 2, 3, 1), rows * _TILE, columns * _TILE)
        gradient = gradient.reshape(n, rows, _TILE, columns, _TILE, -1)
        for part in _chunks(tiles, max(weight.shape[:2])):
            places = gradient[:, part].permute(2, 4, 0, 1, 3, 5).reshape(_TILE**2, -1)
            products = (_OUTPUT.T @ places).view(_POINTS, -1, len(weight))  # (36, P, K)
            if wants_weight:
                kept = 1 if part.start else 0  # of what grad_kernel holds: nothing yet, the first time
                grad_kernel.baddbmm_(_windows(image, part).transpose(1, 2), products, beta=kept)
            if wants_x:
                windows = torch.bmm(products, kernel.transpose(1, 2))
                _add_windows(grad_x, _INPUT.T @ windows.view(_POINTS, -1), part)
        if wants_x:
            grad_x = grad_x.view(n, (rows + 1) * _TILE, (columns + 1) * _TILE, -1).permute(0, 3, 1, 2)
            grad_x = grad_x[:, :, : x.shape[2], : x.shape[3]]
        grad_weight = (_KERNEL.T @ grad_kernel.view(_POINTS, -1)).view(3, 3, *kernel.shape[1:]).permute(3, 2, 0, 1)
        return grad_x, grad_weight if wants_weight else None, grad_bias


def _transformed_kernel(weight: Tensor) -> Tensor:
    """`(K, C, 3, 3)` -> G g G^T of each pair of channels: `(36, C, K)`."""
    k, c = weight.shape[:2]
    return (_KERNEL @ weight.permute(2, 3, 1, 0).reshape(9, -1)).view(_POINTS, c, k)


def _canvas(x: Tensor) -> tuple[Tensor, tuple[int, int, int]]:
    """`(N, H, W, C)` filled up to whole tiles, and how many those are: images, rows, columns."""
    rows, columns = (-(-(size - 2) // _TILE) for size in x.shape[2:])
    return _filled_up(x.permute(0, 2, 3, 1), rows * _TILE + 2, columns * _TILE + 2), (len(x), rows, columns)


def _filled_up(image: Tensor, height: int, width: int) -> Tensor:
    """`(N, H, W, C)` with zeros below and to the right."""
    return F.pad(image, (0, 0, 0, width - image.shape[2], 0, height - image.shape[1]))


def _chunks(tiles: tuple[int, int, int], channels: int) -> list[slice]:
    """Rows of tiles that are worked on together."""
    n, rows, columns = tiles
    height = max(1, _CHUNK_NUMBERS // (_POINTS * n * columns * channels))
    return [slice(top, min(top + height, rows)) for top in range(0, rows, height)]


def _windows(image: Tensor, part: slice) -> Tensor:
    """B^T d B of the windows under some rows of tiles: `(36, P, C)`."""
    image = image[:, part.start * _TILE : part.stop * _TILE + 2]
    windows = image.unfold(1, _WINDOW, _TILE).unfold(2, _WINDOW, _TILE)  # (N, rows, columns, C, 6, 6)
    windows = windows.permute(4, 5, 0, 1, 2, 3).reshape(_POINTS, -1)
    return (_INPUT @ windows).view(_POINTS, -1, image.shape[3])


def _add_windows(canvas: Tensor, windows: Tensor, part: slice) -> None:
    """Adds `(36, P C)`, what each window holds, where they lie; neighbours overlap by two pixels."""
    n, _, _, columns, _, channels = canvas.shape
    columns -= 1
    w = windows.view(_WINDOW, _WINDOW, n, -1, columns, channels).permute(
        2, 3, 0, 4, 1, 5
    )  # (N, rows, 6, columns, 6, C)
    here, below = slice(part.start, part.stop), slice(part.start + 1, part.stop + 1)
    canvas[:, here, :, :-1] += w[:, :, :4, :, :4]
    canvas[:, here, :, 1:, :2] += w[:, :, :4, :, 4:]
    canvas[:, below, :2, :-1] += w[:, :, 4:, :, :4]
    canvas[:, below, :2, 1:, :2] += w[:, :, 4:, :, 4:]
