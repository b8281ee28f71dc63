"""Layers of StyleGAN2 (Karras et al., CVPR 2020) as SinCUT uses them, without a style.

Every convolution has an equalised learning rate (Karras et al., ICLR 2018, section 4.1): weights are drawn from N(0, 1)
and scaled by 1 / sqrt(fan in) whenever they are used, so that Adam's steps are the same share of each. Activations are
leaky ReLUs of slope 0.2 times sqrt(2), which keeps the variance.

A constant gain behind a leaky ReLU may as well stand before it, so all gains are multiplied into the weights, which are
small, and not into the feature maps.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cut.kernels.cpu import is_exported
from cut.runtime.sharding import draw_rows

_BLUR_TAPS = (1.0, 3.0, 3.0, 1.0)
_SLOPE = 0.2
ACTIVATION_GAIN = math.sqrt(2.0)


def blur_matrix(like: Tensor, size: int, out_size: int, padding: int, stride: int = 1, gain: float = 1.0) -> Tensor:
    """`(out_size, size)` that smooths a vector with [1, 3, 3, 1] / 8 * `gain` over `padding` zeros before it.

    Two matrix products were faster on a CPU than depthwise convolutions (1.2 times forward and backward, at 64 px),
    and many times faster than shifted sums, which go through memory once per tap.
    """
    taps = torch.tensor(_BLUR_TAPS, device=like.device) * (gain / sum(_BLUR_TAPS))
    column, row = torch.arange(size, device=like.device), torch.arange(out_size, device=like.device)
    tap = column + padding - stride * row[:, None]  # (out_size, size)
    inside = (tap >= 0) & (tap < len(_BLUR_TAPS))
    return (taps[tap.clamp(0, len(_BLUR_TAPS) - 1)] * inside).to(like.dtype)


def blur(x: Tensor, grow: int, stride: int = 1, gain: float = 1.0) -> Tensor:
    """Smooths with the outer product of [1, 3, 3, 1] / 8, zeros around.

    Args:
        x: `(N, C, H, W)`.
        grow: Number of pixels that height and width gain before striding: 1 or -1 (padded by 2 or by 1 on all sides).
        stride: Distance of the rows and columns that are kept.
        gain: Sum of the kernel's values.
    """
    height, width = ((side + grow + stride - 1) // stride for side in x.shape[2:])
    padding = 2 if grow > 0 else 1
    across = blur_matrix(x, x.shape[3], width, padding, stride, gain)
    down = blur_matrix(x, x.shape[2], height, padding, stride)
    return down @ (x @ across.t())  # (N, C, H, W) -> (N, C, H, W') -> (N, C, H', W')


class EqualConv2d(nn.Module):
    """Convolution with an equalised learning rate, optionally blurred and halved, optionally with a leaky ReLU.

    `(N, in_channels, H, W)` -> `(N, out_channels, H, W)`, or with `down` `(N, out_channels, H // 2, W // 2)`.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel: Side of the filters in pixels, 1 or 3.
        down: Whether to blur and then take stride 2.
        activate: Whether to add a bias and apply the leaky ReLU; without it the bias is optional.
        bias: Whether there is a bias.
        gain: Factor of the output; with activation, ACTIVATION_GAIN is the paper's.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        down: bool = False,
        activate: bool = True,
        bias: bool = True,
        gain: float = ACTIVATION_GAIN,
    ):
        super().__init__()
        self.out_channels, self.kernel, self.down, self.activate, self.gain = out_channels, kernel, down, activate, gain
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.scale = gain / math.sqrt(in_channels * kernel**2)

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias * self.gain
        if self.down and self.kernel == 1:
            x = F.conv2d(blur(x, grow=-1, stride=2), self.weight * self.scale, bias)  # only what is kept is blurred
        elif self.down:
            x = F.conv2d(blur(x, grow=1), self.weight * self.scale, bias, stride=2)
        else:
            x = F.conv2d(x, self.weight * self.scale, bias, padding=self.kernel // 2)
        return F.leaky_relu(x, _SLOPE, inplace=True) if self.activate else x


class EqualLinear(nn.Module):
    """`(N, in_features)` -> `(N, out_features)` with an equalised learning rate, optionally with the leaky ReLU."""

    def __init__(self, in_features: int, out_features: int, activate: bool = False):
        super().__init__()
        self.activate, self.gain = activate, ACTIVATION_GAIN if activate else 1.0
        self.weight = nn.Parameter(torch.randn(out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(out_features))
        self.scale = self.gain / math.sqrt(in_features)

    def forward(self, x: Tensor) -> Tensor:
        x = F.linear(x, self.weight * self.scale, self.bias * self.gain)
        return F.leaky_relu(x, _SLOPE, inplace=True) if self.activate else x


class EqualResidualBlock(nn.Module):
    """(two 3x3 convolutions of x + x) / sqrt(2), or with `down` halved, and x blurred, halved and convolved 1x1."""

    def __init__(self, in_channels: int, out_channels: int, down: bool = False):
        super().__init__()
        half = math.sqrt(0.5)
        self.out_channels = out_channels
        self.conv1 = EqualConv2d(in_channels, in_channels, 3)
        self.conv2 = EqualConv2d(in_channels, out_channels, 3, down, gain=ACTIVATION_GAIN * half)
        with_skip = down or in_channels != out_channels
        self.skip = (
            EqualConv2d(in_channels, out_channels, 1, down, activate=False, bias=False, gain=half)
            if with_skip
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2(self.conv1(x))
        return out + self.skip(x) if self.skip is not None else torch.add(out, x, alpha=math.sqrt(0.5))


class NoiseInjection(nn.Module):
    """Adds one plane of normal noise to all channels, by a learnt weight that starts at 0 (StyleGAN2, figure 2c).

    Outside training the plane is always the same for a size, so that a picture has one translation. Exported graphs
    cannot draw it: `draw_beforehand` comes first.
    """

    drawn: Tensor | None  # (P,), for graphs

    def __init__(self, gain: float):
        super().__init__()
        self.gain = gain
        self.weight = nn.Parameter(torch.zeros(1))
        self.register_buffer("drawn", None, persistent=False)

    def draw_beforehand(self, max_pixels: int) -> None:
        """Keeps the planes of all maps up to that size, for torch.export and torch.jit.trace.

        They are one: torch draws 16 numbers at a time, so that a large plane begins as a small one. Where the pixels of
        a map are no multiple of 16, its last 16 differ.
        """
        device = self.weight.device
        self.drawn = torch.randn(max_pixels, generator=torch.Generator().manual_seed(0)).to(device)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            # On the CPU: a run is the same on every device.
            noise = draw_rows(lambda rows: torch.randn(rows, 1, *x.shape[2:]), len(x))
        elif is_exported():
            if self.drawn is None:
                raise ValueError("noise: an exported graph cannot draw it; call the network's prepare_export first")
            height, width = x.shape[2:]
            noise = self.drawn[torch.arange(height * width, device=x.device)].view(1, 1, height, width)
        else:
            noise = torch.randn(1, 1, *x.shape[2:], generator=torch.Generator().manual_seed(0))
        return x + (self.weight * self.gain).to(x.dtype) * noise.to(x)


class UpsampleConv(nn.Module):
    """Doubles the size: demodulated transposed 3x3 convolution, blur, noise, bias, leaky ReLU.

    Demodulation (StyleGAN2, section 2.2) divides each filter by its norm; without a style it is the same for all
    images, so that one ordinary convolution serves the batch.
    """

    def __init__(self, in_channels: int, out_channels: int, noise: bool):
        super().__init__()
        self.out_channels = out_channels
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise = NoiseInjection(ACTIVATION_GAIN) if noise else None
        self.scale = 1.0 / math.sqrt(in_channels * 9)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight * self.scale
        weight = weight * torch.rsqrt(weight.square().sum((1, 2, 3), keepdim=True) + 1e-8)
        x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)  # (N, C, 2H + 1, 2W + 1)
        # 2 along each axis, for only every second row and column of a doubled map is filled.
        x = blur(x, grow=-1, gain=4.0 * ACTIVATION_GAIN)
        if self.noise is not None:
            x = self.noise(x)
        return F.leaky_relu(x + self.bias[:, None, None] * ACTIVATION_GAIN, _SLOPE, inplace=True)
