"""Quality and variety of a set of feature vectors, separately, by nearest neighbours.

A set's manifold is the union of balls around its vectors, each reaching to the k-th nearest other vector of the set.
Precision and recall: Kynkaanniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models",
NeurIPS 2019, eq. 1 and 2, k = 3. Density and coverage: Naeem et al., "Reliable Fidelity and Diversity Metrics for
Generative Models", ICML 2020, eq. 3 and 4, k = 5.

Each function gives a value per vector; the metric is their mean. Inputs are `(N, D)` and `(M, D)`; a set whose manifold
is asked for holds more than k vectors.
"""

from collections.abc import Iterator

import numpy as np

_ENTRIES = 10_000_000  # of the matrix of distances, held at once
# Vectors at the same distance must count as such, whatever their distance is rounded to.
_TIE = 1e-9


def precision(generated: np.ndarray, target: np.ndarray, k: int = 3) -> np.ndarray:
    """Whether each generated vector lies in the target's manifold, `(N,)` of 0 and 1."""
    return (_enclosing_balls(generated, target, k)[0] > 0).astype(np.float64)


def recall(generated: np.ndarray, target: np.ndarray, k: int = 3) -> np.ndarray:
    """Whether each target vector lies in the generated manifold, `(M,)` of 0 and 1."""
    return precision(target, generated, k)


def density(generated: np.ndarray, target: np.ndarray, k: int = 5) -> np.ndarray:
    """In how many of the target's balls each generated vector lies, divided by k, `(N,)`; the mean may exceed 1."""
    return _enclosing_balls(generated, target, k)[0] / k


def coverage(generated: np.ndarray, target: np.ndarray, k: int = 5) -> np.ndarray:
    """Whether each target vector's ball holds a generated one, `(M,)` of 0 and 1."""
    return _enclosing_balls(generated, target, k)[1].astype(np.float64)


MANIFOLD_METRICS = {"precision": precision, "recall": recall, "density": density, "coverage": coverage}


def _enclosing_balls(points: np.ndarray, centres: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """In how many balls each point lies `(N,)`, and whether each ball holds a point `(M,)`."""
    points, centres = (np.asarray(a, dtype=np.float64) for a in (points, centres))
    assert len(centres) > k, f"{k} nearest neighbours need more than {k} vectors, got {len(centres)}"
    origin = centres.mean(axis=0)  # far from it, differences of squares lose their digits
    points, centres = points - origin, centres - origin
    squared_radii = _squared_radii(centres, k)
    counts, holds = np.zeros(len(points)), np.zeros(len(centres), dtype=bool)
    for rows in _blocks(len(points), len(centres)):
        inside = _squared_distances(points[rows], centres) <= squared_radii * (1.0 + _TIE)
        counts[rows] = inside.sum(axis=1)
        holds |= inside.any(axis=0)
    return counts, holds


def _squared_radii(centres: np.ndarray, k: int) -> np.ndarray:
    """Squared distance to the k-th nearest other vector, `(M,)`."""
    radii = np.empty(len(centres))
    for rows in _blocks(len(centres), len(centres)):
        distances = _squared_distances(centres[rows], centres)
        np.fill_diagonal(distances[:, rows], 0.0)  # to the vector itself, whatever rounding made of it
        radii[rows] = np.partition(distances, k, axis=1)[:, k]  # the first is the vector itself
    return radii


def _blocks(num_rows: int, num_columns: int) -> Iterator[slice]:
    step = max(_ENTRIES // num_columns, 1)
    return (slice(start, start + step) for start in range(0, num_rows, step))


def _squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """`(N, D)`, `(M, D)` -> `(N, M)`; what is not above rounding is 0, so that equal vectors are at distance 0."""
    scale = np.sum(x**2, axis=1)[:, None] + np.sum(y**2, axis=1)
    distances = scale - 2.0 * x @ y.T
    distances[distances < 1e-12 * scale] = 0.0
    return distances
