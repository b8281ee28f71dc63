"""Anti-aliased resampling (Zhang, "Making Convolutional Networks Shift-Invariant Again", ICML 2019)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cut.kernels.cpu import is_exported
from cut.kernels.padding import ReflectionPad


class BlurDownsample(nn.Module):
    """Halves the size after a binomial blur (Zhang, "Making Convolutional Networks Shift-Invariant Again", ICML 2019).

    `(N, C, H, W)` -> `(N, C, ceil(H / 2), ceil(W / 2))`; H and W at least 2, because the border is reflected.
    """

    kernel: Tensor  # (C, 1, 3, 3)

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels
        self.pad = ReflectionPad(1)
        row = torch.tensor([1.0, 2.0, 1.0]) / 4
        kernel = torch.outer(row, row).repeat(channels, 1, 1, 1)  # once per channel: (C, 1, 3, 3)
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if is_exported():
            return F.conv2d(self.pad(x), self.kernel, stride=2, groups=self.channels)
        return _HalvingConvolution.apply(self.pad(x), self.kernel)


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
