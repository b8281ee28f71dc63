"""Layers that several networks share: normalisation by name, borders, anti-aliased resampling."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cut.kernels.instance_norm import InstanceNorm
from cut.kernels.synchronised import BatchNorm2d


def normalisation(name: str, channels: int) -> nn.Module:
    """`instance` (no affine, no running statistics), `instance_affine`, `batch` (running statistics too) or `none`.

    Raises:
        ValueError: another name.
    """
    if name == "instance":
        return InstanceNorm(channels)
    if name == "instance_affine":
        return AffineInstanceNorm(channels)
    if name == "batch":
        return BatchNorm2d(channels)
    if name == "none":
        return nn.Identity()
    raise ValueError(f"no normalisation {name!r}; known: instance, instance_affine, batch, none")


class AffineInstanceNorm(nn.Module):
    """Instance norm, then a learnt weight and bias for each channel: `(N, C, H, W)` -> the same shape."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = InstanceNorm(channels)
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        weight, bias = (parameter.view(-1, 1, 1).to(x.dtype) for parameter in (self.weight, self.bias))
        return x * weight + bias


def needs_bias(norm: str) -> bool:
    """Whether a convolution before this norm has a bias, as in the authors' networks: batch norm brings its own."""
    return norm != "batch"


class ReflectionPad(nn.ReflectionPad2d):
    """Mirrors the borders; keeps bfloat16, which torch's CPU autocast would make float32 for nothing."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            if x.device.type == "cuda" and torch.are_deterministic_algorithms_enabled():
                return self.by_parts(x)  # torch's kernel adds its gradients in no fixed order
            return super().forward(x)

    def by_parts(self, x: Tensor) -> Tensor:
        """The same by copies, whose gradients are added in a fixed order."""
        left, right, top, bottom = self.padding
        h, w = x.shape[2:]
        x = torch.cat([x[..., 1 : left + 1].flip(3), x, x[..., w - right - 1 : w - 1].flip(3)], 3)
        return torch.cat([x[:, :, 1 : top + 1].flip(2), x, x[:, :, h - bottom - 1 : h - 1].flip(2)], 2)


def fastest_layout(image: Tensor) -> Tensor:
    """What a network should turn its input into: on a CPU channels-last, in which convolutions are up to 1.15 times as
    fast in float32 and two to nine times in bfloat16 (seen with AVX-512 and AMX); elsewhere as it is."""
    return image.contiguous(memory_format=torch.channels_last) if image.device.type == "cpu" else image


class BlurDownsample(nn.Module):
    """Halves the size after a binomial blur (Zhang, "Making Convolutional Networks Shift-Invariant Again", ICML 2019).

    `(N, C, H, W)` -> `(N, C, ceil(H / 2), ceil(W / 2))`; H and W at least 2, for the border is reflected.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels
        self.pad = ReflectionPad(1)
        row = torch.tensor([1.0, 2.0, 1.0]) / 4
        kernel = torch.outer(row, row).repeat(channels, 1, 1, 1)  # once per channel: (C, 1, 3, 3)
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        padded = self.pad(x)
        if not isinstance(x, Tensor):  # it stands for one, and records what is done to it (inference/tiling)
            return F.conv2d(padded, self.kernel, stride=2, groups=padded.shape[1])
        return _HalvingConvolution.apply(padded, self.kernel)


class _HalvingConvolution(torch.autograd.Function):
    """A depthwise convolution of stride 2 with a constant 3x3 kernel.

    torch's own keeps its input for a gradient of the kernel that nobody wants.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor) -> Tensor:
        ctx.save_for_backward(kernel)
        ctx.shape = x.shape
        return F.conv2d(x, kernel.to(x.dtype), stride=2, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (kernel,) = ctx.saved_tensors
        # On a CPU float32 is 20 times as fast here as bfloat16.
        on_cpu = gradient.device.type == "cpu"
        kind = torch.promote_types(gradient.dtype, torch.float32) if on_cpu else gradient.dtype
        left_over = [(size - 1) % 2 for size in ctx.shape[2:]]  # rows and columns that the stride passed over
        with torch.autocast(gradient.device.type, enabled=False):
            spread = F.conv_transpose2d(
                gradient.to(kind), kernel.to(kind), stride=2, output_padding=left_over, groups=ctx.shape[1]
            )
        return spread.to(gradient.dtype), None


class BlurUpsample(nn.Module):
    """Doubles the size and smooths with the binomial kernel 1, 3, 3, 1 (Zhang, ICML 2019), the border repeated.

    `(N, C, H, W)` -> `(N, C, 2H, 2W)`. At this factor that is linear interpolation: 1/4 and 3/4 of the two nearest.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
