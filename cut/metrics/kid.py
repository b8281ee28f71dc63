"""The kernel distance between two sets of feature vectors, KID with Inception's.

Binkowski, Sutherland, Arbel & Gretton, "Demystifying MMD GANs", ICLR 2018, section 4: the unbiased estimate of the
squared maximum mean discrepancy (Gretton et al., JMLR 2012, eq. 3),

    MMD^2 = mean of k(x, x'), x not x'  +  mean of k(y, y'), y not y'  -  2 mean of k(x, y),   k(x, y) = (x.y / D + 1)^3
"""

from typing import NamedTuple

import numpy as np

NUM_SUBSETS = 100
SUBSET_SIZE = 1000
_POOL_SIZE = 10_000  # of more vectors, subsets are drawn from a random part, which bounds the time
_ROWS = 1000  # of a kernel matrix, held at once


class KernelDistance(NamedTuple):
    """The mean and the standard deviation of MMD^2 over subsets, and the standard error of the mean.

    All subsets of sets no larger than a subset are the same; their deviation is 0, and says nothing of the error.
    """

    mean: float
    std: float
    standard_error: float


def kernel_distance(
    generated: np.ndarray,
    target: np.ndarray,
    num_subsets: int = NUM_SUBSETS,
    subset_size: int = SUBSET_SIZE,
    seed: int = 0,
) -> KernelDistance:
    """MMD^2 over random subsets, drawn without replacement; about 0 for equal distributions, then also below 0.

    The standard error is Tukey's jackknife over the generated vectors (those of the target are held fixed), of
    MMD^2 over all of them, and the chance of drawing these subsets.

    Args:
        generated, target: `(N, D)` and `(M, D)`, 2 vectors or more each; their order decides the subsets.
        subset_size: Largest number of vectors per subset; smaller where a set has fewer.
    """
    rng = np.random.default_rng(seed)
    x, y = (_pool(np.asarray(a, dtype=np.float64), rng) for a in (generated, target))
    size = min(subset_size, len(x), len(y))
    assert size >= 2, f"a kernel distance needs 2 vectors or more, got {size}"
    num_subsets = num_subsets if size < max(len(x), len(y)) else 1
    # A column per subset: 1 where a vector belongs to it. In the last column all do.
    chosen_x, chosen_y = (_members(len(a), size, num_subsets, rng) for a in (x, y))
    within_x, rows_x = _kernel_sums(x, x, chosen_x, chosen_x)
    within_y, _ = _kernel_sums(y, y, chosen_y, chosen_y)
    between, rows_between = _kernel_sums(x, y, chosen_x, chosen_y)
    same_x, same_y = (_kernel(np.sum(a * a, axis=1), a.shape[1]) for a in (x, y))  # pairs of x and x, left out
    within_x, within_y = within_x - same_x @ chosen_x, within_y - same_y @ chosen_y
    of_subsets = _mmd2(within_x, within_y, between, size, size)[:-1]
    error = _jackknife(rows_x[:, -1] - same_x, rows_between[:, -1], len(y))
    return KernelDistance(
        float(of_subsets.mean()), float(of_subsets.std()), float(np.hypot(error, of_subsets.std() / num_subsets**0.5))
    )


def _pool(features: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return features if len(features) <= _POOL_SIZE else rng.choice(features, _POOL_SIZE, replace=False)


def _members(count: int, size: int, num_subsets: int, rng: np.random.Generator) -> np.ndarray:
    """`(count, num_subsets + 1)` of 0 and 1."""
    members = np.ones((count, num_subsets + 1))
    for subset in range(num_subsets):
        members[:, subset] = 0.0
        members[rng.choice(count, size, replace=False), subset] = 1.0
    return members


def _kernel(products: np.ndarray, dimensions: int) -> np.ndarray:
    return (products / dimensions + 1.0) ** 3


def _kernel_sums(x: np.ndarray, y: np.ndarray, in_x: np.ndarray, in_y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each subset the sum of k over its pairs `(S,)`, and over the pairs of each x `(N, S)`."""
    rows = np.empty((len(x), in_y.shape[1]))
    for start in range(0, len(x), _ROWS):
        kernel = _kernel(x[start : start + _ROWS] @ y.T, x.shape[1])  # (rows, M)
        rows[start : start + _ROWS] = kernel @ in_y
    return np.sum(in_x * rows, axis=0), rows


def _mmd2(
    within_x: np.ndarray, within_y: np.ndarray | float, between: np.ndarray, num_x: int, num_y: int
) -> np.ndarray:
    return within_x / (num_x * (num_x - 1)) + within_y / (num_y * (num_y - 1)) - 2.0 * between / (num_x * num_y)


def _jackknife(rows_x: np.ndarray, rows_between: np.ndarray, num_y: int) -> float:
    """The standard error from leaving out one x at a time, each of which has its own sums over x' and over y `(N,)`."""
    count = len(rows_x)
    if count < 3:
        return float("nan")
    left = _mmd2(rows_x.sum() - 2.0 * rows_x, 0.0, rows_between.sum() - rows_between, count - 1, num_y)
    return float(np.sqrt((count - 1) * left.var()))
