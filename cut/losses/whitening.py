"""Whitening and colouring: features take on the mean and covariance of others (Li et al., NeurIPS 2017; used in Yoo et
al., ICCV 2019, arXiv:1903.09760)."""

import torch
import torch.nn.functional as F
from torch import Tensor

_LEAST_PIXELS = 10  # of a label, which both pictures must exceed
_MOST_RATIO = 100  # which the number of its pixels in one must not reach, by that in the other


def whiten_and_colour(content: Tensor, style: Tensor) -> Tensor:
    """Content features with the style's mean and covariance, clamped to the range that they had.

        t = Cov_s^(1/2) Cov_c^(-1/2) (c - mu_c) + mu_s

    The identity is added to both covariances, as in the authors' code.

    Args:
        content: Features `(C, places)`.
        style: Features `(C, other places)`.
    """
    c, s = _in_double(content), _in_double(style)
    white = _power(_covariance(c), -0.5) @ (c - c.mean(1, keepdim=True))
    coloured = _power(_covariance(s), 0.5) @ white + s.mean(1, keepdim=True)
    return coloured.to(content).clamp(content.min(), content.max())


def transfer(content: Tensor, style: Tensor, alpha: float = 1.0, labels: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """`whiten_and_colour` of maps: `(1, C, H, W)`, `(1, C, h, w)` -> `(1, C, H, W)`.

    Args:
        content: Features of the photograph.
        style: Features of the painting.
        alpha: Share of the result; the rest is the content itself.
        labels: Label of each pixel of both pictures, `(H', W')` and `(h', w')`, scaled to the maps here: each label of
            the content takes the statistics of the same label of the style; places of the others stay as they are.
    """
    c, s = content[0].flatten(1), style[0].flatten(1)
    if labels is None:
        moved = whiten_and_colour(c, s)
    else:
        moved = c.clone()
        own, theirs = _fit(labels[0], content), _fit(labels[1], style)
        for label in shared_labels(*labels):
            if (own == label).any() and (theirs == label).any():
                moved[:, own == label] = whiten_and_colour(c[:, own == label], s[:, theirs == label])
    return (alpha * moved + (1.0 - alpha) * c).view_as(content)


def _fit(labels: Tensor, features: Tensor) -> Tensor:
    """Labels of the places of a map, `(H W,)`: those of the pixels in the middle of each."""
    scaled = F.interpolate(labels[None, None].float(), size=features.shape[2:], mode="nearest-exact")
    return scaled.flatten().to(labels.dtype)


def shared_labels(content: Tensor, style: Tensor) -> list[int]:
    """Labels with enough pixels in both, and not too many more in one of them."""
    found = []
    for label in content.unique().tolist():
        own, theirs = int((content == label).sum()), int((style == label).sum())
        if min(own, theirs) > _LEAST_PIXELS and max(own, theirs) / min(own, theirs) < _MOST_RATIO:
            found.append(label)
    return found


def _in_double(features: Tensor) -> Tensor:
    """In float64, which Apple's GPUs do not have."""
    return (features.cpu() if features.device.type == "mps" else features).double()


def _covariance(features: Tensor) -> Tensor:
    """`(C, places)` -> `(C, C)`, with the identity added."""
    centred = features - features.mean(1, keepdim=True)
    identity = torch.eye(len(features), dtype=features.dtype, device=features.device)
    return centred @ centred.T / max(features.shape[1] - 1, 1) + identity


def _power(symmetric: Tensor, exponent: float) -> Tensor:
    """Of a symmetric matrix whose eigenvalues are all positive."""
    values, vectors = torch.linalg.eigh(symmetric)
    return vectors * values.pow(exponent) @ vectors.T
