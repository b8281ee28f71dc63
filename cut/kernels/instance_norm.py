"""Instance norm that is fast on a CPU and right there whatever the layout of its gradient."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cut.kernels.cpu import is_exported

_LAYOUT = torch.channels_last


class InstanceNorm(nn.InstanceNorm2d):
    """(x - mean) / sqrt(variance + eps) per image and channel, variance biased (Ulyanov et al., 2016, equation 4).

    No parameters, no running statistics. On a CPU the result is channels-last, the layout in which its convolutions are
    fastest, and no view, so that an activation behind it may work in place without a copy of the gradient. (torch's own
    returns a view, and its backward pass on a CPU is wrong by more than 100 % for channels-last gradients at batch
    size 1, seen with torch 2.14.)
    """

    def __init__(self, channels: int):
        super().__init__(channels, affine=False, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` -> the same shape; more than one pixel."""
        if is_exported():  # what nn.InstanceNorm2d does, without its look at the size
            return torch.instance_norm(x, None, None, None, None, True, 0.0, self.eps, False)
        if x.device.type != "cpu" or x.shape[2] * x.shape[3] == 1:
            return super().forward(x)
        return _CPUInstanceNorm.apply(x.contiguous(memory_format=_LAYOUT), self.eps)


class _CPUInstanceNorm(torch.autograd.Function):
    """Of a channels-last `(N, C, H, W)`. Statistics are float32, also of bfloat16."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> Tensor:
        n, c, h, w = x.shape
        ctx.eps = eps
        # A float32 weight makes torch keep the statistics of bfloat16 in float32.
        ctx.weight = torch.ones(c) if x.dtype in (torch.bfloat16, torch.float16) else None
        if ctx.weight is not None:
            bias = torch.zeros(c)
            y, mean, scale = torch.native_group_norm(x, ctx.weight, bias, n, c, h * w, c, eps)
        else:  # torch's kernel sums pixel after pixel, which costs two digits of float32 at 256 px
            mean = x.mean((2, 3), keepdim=True)
            y = x - mean
            scale = ((y * y).mean((2, 3), keepdim=True) + eps).rsqrt()
            y.mul_(scale)
        ctx.save_for_backward(x, mean.view(n, c), scale.view(n, c))
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        x, means, scales = ctx.saved_tensors
        if torch.is_grad_enabled():  # a penalty on the slope differentiates once more
            with torch.autocast("cpu", enabled=False):
                exact = x.to(torch.promote_types(x.dtype, torch.float32))
                y = F.layer_norm(exact, x.shape[2:], eps=ctx.eps)
                return torch.autograd.grad(y, x, gradient.to(y), create_graph=True)[0], None
        gradient = gradient.contiguous(memory_format=_LAYOUT)
        # Of one image, batch norm is instance norm.
        images = zip(gradient.split(1), x.split(1), means, scales, strict=True)
        gradients = [
            torch.ops.aten.native_batch_norm_backward(
                g, image, ctx.weight, None, None, mean, scale, True, ctx.eps, [True, False, False]
            )[0]
            for g, image, mean, scale in images
        ]
        return (torch.cat(gradients) if len(gradients) > 1 else gradients[0]), None
