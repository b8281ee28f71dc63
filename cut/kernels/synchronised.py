"""Layers that look at a batch as a whole, also where processes share it (`cut/runtime/sharding.py`)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cut.runtime.sharding import draw_rows, num_processes, num_shards, sum_over_processes


class _Synchronised(nn.modules.batchnorm._BatchNorm):
    """Batch norm with the statistics of all processes' images (Ioffe & Szegedy, ICML 2015, algorithm 1).

    torch's own is used wherever a batch is not shared. Its SyncBatchNorm knows GPUs alone and can be differentiated but
    once.
    """

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, ...)` -> the same shape."""
        if not self.training or num_processes() == 1:
            return super().forward(x)
        exact = x.to(torch.promote_types(x.dtype, torch.float32))  # statistics of bfloat16 are too coarse
        count = exact.numel() // exact.shape[1] * num_processes()
        if count == 1:
            raise ValueError("batch norm needs more than one value per channel while training")
        others, shape = [0, *range(2, x.dim())], (-1, *[1] * (x.dim() - 2))  # all dimensions but the channels'
        mean = sum_over_processes(exact.sum(others)) / count  # (C,)
        centred = exact - mean.view(shape)
        variance = sum_over_processes(centred.square().sum(others)) / count  # (C,), biased
        if self.track_running_stats:
            self._follow(mean.detach(), variance.detach() * count / (count - 1))
        scale = (variance + self.eps).rsqrt()
        if self.weight is None:
            return (centred * scale.view(shape)).to(x.dtype)
        return (centred * (self.weight * scale).view(shape) + self.bias.view(shape)).to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
        self.running_var.lerp_(variance.to(self.running_var), self.momentum)


class BatchNorm1d(_Synchronised, nn.BatchNorm1d):
    """Of vectors `(N, C)`, N of them to a batch."""


class BatchNorm2d(_Synchronised, nn.BatchNorm2d):
    """Of maps `(N, C, H, W)`."""


class Dropout(nn.Dropout):
    """Dropout whose choice for an image is that of the whole batch."""

    def forward(self, x: Tensor) -> Tensor:
        """`(N, ...)` -> the same shape."""
        if not self.training:
            return x
        return x * draw_rows(lambda rows: self._mask(x, rows), len(x)) if num_shards() > 1 else super().forward(x)

    def _mask(self, x: Tensor, rows: int) -> Tensor:
        """0, or 1 / (1 - p), in the order in which torch draws for a batch laid out as `x` is."""
        ones = x.new_ones((rows, *x.shape[1:]))
        if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
            ones = ones.contiguous(memory_format=torch.channels_last)
        return F.dropout(ones, self.p)
