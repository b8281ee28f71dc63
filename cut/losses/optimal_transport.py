"""Distances between sets of feature vectors (Kolkin, Salavon, Shakhnarovich, CVPR 2019, arXiv:1904.12785, section 2).

All take vectors `(n, C)`, one per place.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_LEAST_NORM = 1e-8  # a black pixel has the norm 0, and 0 / 0 would make the whole loss NaN
# From RGB to an axis of brightness and two of colour, which do not depend on it.
_DECORRELATED = ((0.577350, 0.577350, 0.577350), (-0.577350, 0.788675, -0.211325), (-0.577350, -0.211325, 0.788675))


def cosine_distances(x: Tensor, y: Tensor) -> Tensor:
    """1 - cos of each pair: `(n, C)`, `(m, C)` -> `(n, m)`."""
    unit_x, unit_y = (v / torch.linalg.vector_norm(v, dim=1, keepdim=True).clamp_min(_LEAST_NORM) for v in (x, y))
    return 1.0 - unit_x @ unit_y.T


def relaxed_emd(cost: Tensor) -> Tensor:
    """The larger of the two one-sided relaxations of the earth mover's distance (equations 3 to 5).

    Args:
        cost: Distance of each pair, `(n, m)`.
    """
    return torch.maximum(cost.min(dim=1).values.mean(), cost.min(dim=0).values.mean())


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean `(C,)` and covariance `(C, C)`, divided by n."""
    mean = x.mean(dim=0)
    centred = x - mean
    return mean, centred.T @ centred / len(x)


def moment_distance(x: tuple[Tensor, Tensor], y: tuple[Tensor, Tensor]) -> Tensor:
    """Mean absolute difference of means, plus that of covariances, both from `moments` (equation 7)."""
    return (x[0] - y[0]).abs().mean() + (x[1] - y[1]).abs().mean()


def self_similarity_distance(x: Tensor, z: Tensor) -> Tensor:
    """How much the distances within x differ from those within z, at the same places (equation 8).

    Each column of distances is divided by its sum; the absolute differences are summed over pairs and divided by n.
    """
    similarities = [distances / distances.sum(dim=0) for v in (x, z) for distances in [cosine_distances(v, v)]]
    return (similarities[0] - similarities[1]).abs().sum() / len(x)


def palette_distance(x: Tensor, y: Tensor) -> Tensor:
    """Relaxed earth mover's distance of colours: RGB `(n, 3)` and `(m, 3)` in [0, 1].

    The cost is 1 - cos plus the Euclidean distance over the square root of 3, of colours with the brightness on an axis
    of its own.
    """
    matrix = torch.tensor(_DECORRELATED, dtype=x.dtype, device=x.device)
    x, y = F.linear(x, matrix), F.linear(y, matrix)
    squared = (x.square().sum(1)[:, None] + y.square().sum(1) - 2.0 * x @ y.T).clamp(1e-5, 1e5)
    return relaxed_emd(cosine_distances(x, y) + (squared / x.shape[1]).sqrt())
