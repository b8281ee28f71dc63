"""Normalisation by name, as networks' options give it."""

from torch import nn

from cut.kernels.instance_norm import InstanceNorm
from cut.kernels.synchronised import BatchNorm2d


def normalisation(name: str, channels: int) -> nn.Module:
    """`instance` (no affine, no running statistics), `batch` (affine, running statistics) or `none`.

    Raises:
        ValueError: another name.
    """
    if name == "instance":
        return InstanceNorm(channels)
    if name == "batch":
        return BatchNorm2d(channels)
    if name == "none":
        return nn.Identity()
    raise ValueError(f"no normalisation {name!r}; known: instance, batch, none")


def needs_bias(norm: str) -> bool:
    """Whether a convolution before this norm has a bias, as in the authors' networks: batch norm brings its own."""
    return norm != "batch"
