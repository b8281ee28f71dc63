"""The Frechet distance between two sets of feature vectors, each summed up by a Gaussian.

    d^2 = |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))

Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", NeurIPS 2017, eq. 6,
after Dowson & Landau, "The Frechet distance between multivariate normal distributions", J. Multivariate Analysis 1982.
"""

from collections.abc import Iterable

import numpy as np


def feature_statistics(batches: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance (divided by N - 1) of N feature vectors, kept one batch at a time, in float64.

    Batches are merged as Chan, Golub & LeVeque 1979 do, which loses no digits where the mean is far from zero.

    Args:
        batches: arrays `(n, D)`; 2 vectors or more in all, and how they are batched matters only to rounding.

    Returns:
        `(D,)` and `(D, D)`.
    """
    count, mean, scatter = 0, 0.0, 0.0
    for batch in batches:
        batch = np.asarray(batch, dtype=np.float64)  # (n, D)
        total = count + len(batch)
        shift = batch.mean(axis=0) - mean
        centred = batch - batch.mean(axis=0)
        scatter = scatter + centred.T @ centred + np.outer(shift, shift) * (count * len(batch) / total)  # (D, D)
        mean = mean + shift * (len(batch) / total)
        count = total
    assert count >= 2, f"a covariance needs 2 vectors or more, got {count}"
    return mean, scatter / (count - 1)


def frechet_distance(mean1: np.ndarray, cov1: np.ndarray, mean2: np.ndarray, cov2: np.ndarray) -> float:
    """The squared distance d^2 between two Gaussians, as FID reports it; 0 or more.

    S1 S2 has the eigenvalues of the symmetric R^T S2 R for any R with S1 = R R^T, so the trace of its square root is
    the sum of their roots. That needs no general matrix square root, which fails on singular matrices: with fewer
    pictures than features both covariances are singular.

    Args:
        mean1, mean2: `(D,)`.
        cov1, cov2: `(D, D)`, symmetric and without negative eigenvalues.
    """
    mean1, cov1, mean2, cov2 = (np.asarray(a, dtype=np.float64) for a in (mean1, cov1, mean2, cov2))
    values, vectors = np.linalg.eigh(cov1)
    # Below this an eigenvalue is rounding, and its root, 1e8 times greater, would add up over all directions.
    kept = values > values[-1] * len(values) * np.finfo(np.float64).eps
    root = vectors[:, kept] * np.sqrt(values[kept])  # (D, rank)
    products = np.linalg.eigvalsh(root.T @ cov2 @ root)  # (rank,)
    trace_of_root = np.sqrt(products.clip(min=0.0)).sum()
    distance = np.sum((mean1 - mean2) ** 2) + np.trace(cov1) + np.trace(cov2) - 2.0 * trace_of_root
    return max(float(distance), 0.0)  # equal statistics may end a rounding error below zero
