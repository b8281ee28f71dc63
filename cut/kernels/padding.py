"""Borders around feature maps."""

import torch
from torch import Tensor, nn

from cut.kernels.cpu import is_exported


class ReflectionPad(nn.ReflectionPad2d):
    """Mirrors the borders; keeps bfloat16, which torch's CPU autocast would make float32 for nothing."""

    def forward(self, x: Tensor) -> Tensor:
        if is_exported():
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            if x.device.type == "cuda" and torch.are_deterministic_algorithms_enabled():
                return self.by_parts(x)  # torch's kernel adds its gradients in no fixed order
            return super().forward(x)

    def by_parts(self, x: Tensor) -> Tensor:
        """The same by copies, whose gradients are added in a fixed order."""
        left, right, top, bottom = self.padding
        h, w = x.shape[2:]
        x = torch.cat([x[..., 1 : left + 1].flip(3), x, x[..., w - right - 1 : w - 1].flip(3)], 3)
        return torch.cat([x[:, :, 1 : top + 1].flip(2), x, x[:, :, h - bottom - 1 : h - 1].flip(2)], 2)
