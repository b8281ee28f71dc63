"""Normalisation by name, as networks' options give it."""

import torch
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
