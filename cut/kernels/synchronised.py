"""Layers that look at a batch as a whole, also where processes share it (`cut/runtime/sharding.py`)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cut.runtime.sharding import draw_rows, num_processes, num_shards, sum_over_processes


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm with the statistics of all processes' images (Ioffe & Szegedy, ICML 2015, algorithm 1).

    torch's own is used wherever a batch is not shared. Its SyncBatchNorm knows GPUs alone and can be differentiated but
    once.
    """

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` -> the same shape."""
        if not self.training or num_processes() == 1:
            return super().forward(x)
        exact = x.to(torch.promote_types(x.dtype, torch.float32))  # statistics of bfloat16 are too coarse
        count = exact.numel() // exact.shape[1] * num_processes()
        if count == 1:
            raise ValueError("batch norm needs more than one value per channel while training")
        mean = sum_over_processes(exact.sum((0, 2, 3))) / count  # (C,)
        centred = exact - mean[:, None, None]
        variance = sum_over_processes(centred.square().sum((0, 2, 3))) / count  # (C,), biased
        if self.track_running_stats:
            self._follow(mean.detach(), variance.detach() * count / (count - 1))
        scale = (variance + self.eps).rsqrt()
        if not self.affine:
            return (centred * scale[:, None, None]).to(x.dtype)
        return (centred * (self.weight * scale)[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
        self.running_var.lerp_(variance.to(self.running_var), self.momentum)


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
