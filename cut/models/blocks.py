"""Layers that several networks share: normalisation by name, anti-aliased resampling, the residual block."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def normalisation(name: str, channels: int) -> nn.Module:
    """`instance` (no affine, no running statistics), `batch` (affine, running statistics) or `none`.

    Raises:
        ValueError: another name.
    """
    if name == "instance":
        return nn.InstanceNorm2d(channels, affine=False, track_running_stats=False)
    if name == "batch":
        return nn.BatchNorm2d(channels)
    if name == "none":
        return nn.Identity()
    raise ValueError(f"no normalisation {name!r}; known: instance, batch, none")


def needs_bias(norm: str) -> bool:
    """Whether a convolution before this norm has a bias, as in the authors' networks: batch norm brings its own."""
    return norm != "batch"


class BlurDownsample(nn.Module):
    """Halves the size after a binomial blur (Zhang, "Making Convolutional Networks Shift-Invariant Again", ICML 2019).

    `(N, C, H, W)` -> `(N, C, ceil(H / 2), ceil(W / 2))`; H and W at least 2, for the border is reflected.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels
        self.register_buffer("kernel", _depthwise_kernel([1.0, 2.0, 1.0], channels, gain=1.0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (1, 1, 1, 1), mode="reflect")
        return F.conv2d(x, self.kernel, stride=2, groups=self.channels)


class BlurUpsample(nn.Module):
    """Doubles the size and smooths with a binomial kernel (Zhang, ICML 2019). `(N, C, H, W)` -> `(N, C, 2H, 2W)`."""

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels
        # Gain 4: only every second row and column of the stretched image holds a value.
        self.register_buffer("kernel", _depthwise_kernel([1.0, 3.0, 3.0, 1.0], channels, gain=4.0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (1, 1, 1, 1), mode="replicate")
        # Padding 3 drops the rows and columns that only the replicated border reaches.
        return F.conv_transpose2d(x, self.kernel, stride=2, padding=3, groups=self.channels)


class ResidualBlock(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))), 3x3, shape kept (He et al. 2016; Johnson et al. 2016).

    `padding` is what lies beyond the borders: `reflect`, the mirrored image, or `zeros`.
    """

    def __init__(self, channels: int, norm: str, dropout: float = 0.0, padding: str = "reflect"):
        super().__init__()
        bias, pad = needs_bias(norm), nn.ReflectionPad2d if padding == "reflect" else nn.ZeroPad2d
        layers: list[nn.Module] = [pad(1), nn.Conv2d(channels, channels, 3, bias=bias)]
        layers += [normalisation(norm, channels), nn.ReLU(inplace=True)]
        if dropout:
            layers.append(nn.Dropout(dropout))
        layers += [pad(1), nn.Conv2d(channels, channels, 3, bias=bias), normalisation(norm, channels)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def _depthwise_kernel(taps: list[float], channels: int, gain: float) -> Tensor:
    """The outer product of `taps`, of sum `gain`, once per channel: (C, 1, K, K)."""
    row = torch.tensor(taps)
    kernel = torch.outer(row, row)
    kernel = kernel * (gain / kernel.sum())
    return kernel.repeat(channels, 1, 1, 1)
