"""Normalisation by name, as networks' options give it."""

import torch
from torch import Tensor, nn

from cut.kernels.instance_norm import InstanceNorm
from cut.kernels.synchronised import BatchNorm2d


class AffineInstanceNorm(nn.Module):
    """weight * InstanceNorm(x) + bias, both learnt per channel; the statistics are those of each image."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = InstanceNorm(channels)
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` -> the same shape and type; more than one pixel."""
        y = self.norm(x)
        weight, bias = (tensor.to(y.dtype)[:, None, None] for tensor in (self.weight, self.bias))
        return torch.addcmul(bias, y, weight)


def normalisation(name: str, channels: int) -> nn.Module:
    """`instance` (no affine, no running statistics), `instance_affine`, `batch` (affine, running statistics) or `none`.

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


def needs_bias(norm: str) -> bool:
    """Whether a convolution before this norm has a bias, as in the authors' networks: batch norm brings its own (and so
    does `instance_affine`, but its authors kept both)."""
    return norm != "batch"
