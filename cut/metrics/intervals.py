"""How far a score would move if other pictures of the same kind were scored: intervals of 95 %."""

from collections.abc import Callable

import numpy as np

RESAMPLES = 1000
_TAIL_PERCENT = 2.5
_STANDARD_ERRORS = 1.959964  # of a normal distribution, between which 95 % lie


def bootstrap_interval(
    values: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray | float] | None = None, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The percentile bootstrap (Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, ch. 13).

    With few pictures it is too narrow: of 10 normal values it covers the true mean in about 90 % of cases, not 95 %.

    Args:
        values: `(N, ...)` of floats, a row per picture; the order of rows decides the resamples.
        statistic: Function from means of rows `(..., )` to the score, by default the mean itself.

    Returns:
        The lower and the upper end, of the statistic's shape.
    """
    rng = np.random.default_rng(seed)
    flat = values.reshape(len(values), -1)  # (N, ...) -> (N, K)
    drawn: list[np.ndarray | float] = []
    for _ in range(RESAMPLES):
        times = np.bincount(rng.integers(len(flat), size=len(flat)), minlength=len(flat))
        mean = (times.astype(flat.dtype) @ flat / len(flat)).reshape(values.shape[1:])
        drawn.append(mean if statistic is None else statistic(mean))
    low, high = np.nanpercentile(np.stack(drawn), [_TAIL_PERCENT, 100.0 - _TAIL_PERCENT], axis=0)
    return low, high


def normal_interval(value: float, standard_error: float) -> tuple[float, float]:
    """The interval of a value whose error is normal."""
    return value - _STANDARD_ERRORS * standard_error, value + _STANDARD_ERRORS * standard_error
