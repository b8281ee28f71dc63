"""MUNIT's networks (Huang et al., ECCV 2018): content and style encoder, and a decoder whose residual blocks take their
scales and biases from the style."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cut.kernels.cpu import fastest_layout
from cut.kernels.instance_norm import InstanceNorm
from cut.kernels.padding import ReflectionPad
from cut.kernels.recompute import run_layers
from cut.kernels.winograd import Conv2d
from cut.models.residual_block import ResidualBlock


class ContentEncoder(nn.Module):
    """`(N, in_channels, H, W)` in [-1, 1] -> content `(N, 4 * base_channels, H // 4, W // 4)`.

    Args:
        in_channels: Number of channels of the image.
        base_channels: Width at full resolution; doubled by each of two strided convolutions.
        num_blocks: Number of residual blocks behind them.
    """

    stride = 4
    min_size_px = 8  # below it the reflected borders are wider than the feature maps

    def __init__(self, in_channels: int = 3, base_channels: int = 64, num_blocks: int = 4):
        super().__init__()
        width = base_channels
        layers = convolution(in_channels, width, 7, norm=True)
        for _ in range(2):
            layers += convolution(width, width * 2, 4, stride=2, norm=True)
            width *= 2
        layers += [ResidualBlock(width, "instance") for _ in range(num_blocks)]
        self.layers = Layers(*layers)

    def forward(self, image: Tensor) -> Tensor:
        return self.layers(fastest_layout(image))


class StyleEncoder(nn.Module):
    """`(N, in_channels, H, W)` in [-1, 1] -> style `(N, style_dim)`: the mean over all places, before a last layer.

    No norm, which would remove the style. Also DRIT's attribute encoder where attributes are injected feature-wise.
    """

    stride = 4
    min_size_px = 16

    def __init__(self, in_channels: int = 3, base_channels: int = 64, style_dim: int = 8):
        super().__init__()
        widths = [base_channels * factor for factor in (1, 2, 4, 4, 4)]
        layers = convolution(in_channels, widths[0], 7)
        for before, width in pairwise(widths):
            layers += convolution(before, width, 4, stride=2)
        self.layers = Layers(*layers)
        self.last = nn.Conv2d(widths[-1], style_dim, 1)

    def forward(self, image: Tensor) -> Tensor:
        features = self.layers(fastest_layout(image))
        return self.last(features.mean((2, 3), keepdim=True)).flatten(1)


class AdaINDecoder(nn.Module):
    """Content `(N, 4 * base_channels, H, W)`, style `(N, style_dim)` -> image `(N, out_channels, 4H, 4W)` in [-1, 1].

    Args:
        out_channels: Number of channels of the image.
        base_channels: Width at full resolution; four times that in the residual blocks.
        num_blocks: Number of residual blocks.
        style_dim: Numbers per style.
        mlp_channels: Width of the network that turns a style into scales and biases.
    """

    stride = 4
    min_size_px = 8

    def __init__(
        self,
        out_channels: int = 3,
        base_channels: int = 64,
        num_blocks: int = 4,
        style_dim: int = 8,
        mlp_channels: int = 256,
    ):
        super().__init__()
        width = base_channels * 4
        layers: list[nn.Module] = [nn.Linear(style_dim, mlp_channels), nn.ReLU(inplace=True)]
        layers += [nn.Linear(mlp_channels, mlp_channels), nn.ReLU(inplace=True)]
        self.mlp = nn.Sequential(*layers, nn.Linear(mlp_channels, num_blocks * 4 * width))
        self.blocks = nn.ModuleList(AdaINResidualBlock(width) for _ in range(num_blocks))
        layers = []
        for _ in range(2):
            layers += [nn.Upsample(scale_factor=2), ReflectionPad(2), Conv2d(width, width // 2, 5)]
            width //= 2
            layers += [LayerNorm(width), nn.ReLU(inplace=True)]
        self.layers = Layers(*layers, ReflectionPad(3), Conv2d(width, out_channels, 7), nn.Tanh())

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        x = content
        for block, affine in zip(self.blocks, self.mlp(style).chunk(len(self.blocks), 1), strict=True):
            x = block(x, affine)
        return self.layers(x)


class AdaINResidualBlock(nn.Module):
    """x + adain(conv(relu(adain(conv(x))))), 3x3, shape kept (Huang & Belongie, ICCV 2017)."""

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels
        self.first = Layers(ReflectionPad(1), Conv2d(channels, channels, 3), InstanceNorm(channels))
        self.second = Layers(ReflectionPad(1), Conv2d(channels, channels, 3), InstanceNorm(channels))

    def forward(self, x: Tensor, affine: Tensor) -> Tensor:
        """`affine` is `(N, 4 * channels)`: bias, then scale, of the first and of the second norm."""
        bias_1, scale_1, bias_2, scale_2 = affine[:, :, None, None].chunk(4, 1)
        y = F.relu(torch.addcmul(bias_1, self.first(x), scale_1), inplace=True)
        return x + torch.addcmul(bias_2, self.second(y), scale_2)


class LayerNorm(nn.Module):
    """weight (x - mean) / (deviation + eps) + bias, with the statistics of each whole image and parameters per channel.

    The authors' own norm: torch's layer norm has the biased deviation, and eps inside the root.
    """

    def __init__(self, channels: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.rand(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` -> the same shape."""
        exact = x.to(torch.promote_types(x.dtype, torch.float32))  # statistics of bfloat16 are too coarse
        mean, deviation = exact.mean((1, 2, 3), keepdim=True), exact.std((1, 2, 3), correction=1, keepdim=True)
        scale = self.weight[:, None, None] / (deviation + self.eps)  # (N, C, 1, 1)
        return torch.addcmul(self.bias[:, None, None], exact - mean, scale).to(x.dtype)


class Layers(nn.Sequential):
    """The same bits as its parent, with less kept for the backward pass."""

    def forward(self, x: Tensor) -> Tensor:
        return run_layers(self, x)


def convolution(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, norm: bool = False
) -> list[nn.Module]:
    """The layers of a convolution that keeps the size, or divides it by `stride`: border, weights, norm, ReLU."""
    padding = (kernel - 1) // 2
    layers: list[nn.Module] = [ReflectionPad(padding), Conv2d(in_channels, out_channels, kernel, stride=stride)]
    return [*layers, *([InstanceNorm(out_channels)] if norm else []), nn.ReLU(inplace=True)]
