"""Texture as correlations of features (Gatys, Ecker, Bethge, CVPR 2016)."""

from torch import Tensor

from cut.losses import full_precision


def gram(features: Tensor) -> Tensor:
    """Means over places of the products of channels: `(N, C, H, W)` -> `(N, C, C)`.

    F F^T / M with M = H * W; equation 3 of the paper has the sum, F F^T.
    """
    flat = full_precision(features).flatten(2)  # (N, C, M)
    return flat @ flat.transpose(1, 2) / flat.shape[2]


def style_loss(features: Tensor, target_gram: Tensor) -> Tensor:
    """Mean over channel pairs of (G - A)^2, for one layer; A is the `gram` of the painting's features.

    Equation 4 of the paper has the sum over (2 C M)^2 of (F F^T - M A)^2: a quarter of this.
    """
    return (gram(features) - target_gram).square().mean()


def content_loss(features: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference of features; equation 1 of the paper has half the sum."""
    return (full_precision(features) - target).square().mean()
