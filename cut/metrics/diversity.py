"""How much several outputs of one picture differ."""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import TypeVar

import numpy as np

_Picture = TypeVar("_Picture")


def mean_pairwise(distance: Callable[[_Picture, _Picture], float], outputs: Sequence[_Picture]) -> float:
    """The mean of a symmetric distance over all pairs of N >= 2 outputs, unbiased whatever N is.

    With LPIPS it is the diversity of Zhu et al., NIPS 2017 (BicycleGAN), and of the methods after it.
    """
    return float(np.mean([distance(first, second) for first, second in combinations(outputs, 2)]))


def cosine_distance(first: np.ndarray, second: np.ndarray) -> float:
    """1 - cosine of the angle between two feature vectors `(D,)`: 0 to 2, whatever their scale; 0 where one is 0."""
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    return 1.0 - float(first @ second) / lengths if lengths else 0.0
