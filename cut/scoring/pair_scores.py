"""Scores that compare each picture with its partner, pixel by pixel."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from cut.data.images import read_image
from cut.data.numbers import COLOURS, Bands, bands_of
from cut.errors import UserError
from cut.metrics.intervals import bootstrap_interval
from cut.scoring.scores import Score

PairMetric = Callable[[np.ndarray, np.ndarray], float]


def score_pairs(
    pairs: Iterable[tuple[Path, Path]],
    functions: dict[str, PairMetric],
    intervals: bool,
    limits: tuple[float, float] | None = None,
) -> tuple[dict[str, Score], list[str]]:
    """Mean, spread and interval over pairs, for each of the functions; and warnings.

    Args:
        pairs: generated pictures and their targets.
        functions: metrics by their names.
        intervals: whether to compute the interval of 95 %.
        limits: values that become 0 and 1; None takes 0 and the largest number of 8 or 16 bits.

    Raises:
        UserError: a picture is broken, too small for a metric, or differs in size from its partner.
    """
    values: dict[str, list[float]] = {name: [] for name in functions}
    differing: list[str] = []
    count = 0
    for path, target_path in pairs:
        bands = comparable_bands(path, limits)
        image, target = read_scaled(path, np.float64, bands), read_scaled(target_path, np.float64, bands)
        count += 1
        if image.shape != target.shape:
            differing.append(size_difference(path, target_path, image, target))
        elif not differing:
            for name, function in functions.items():
                values[name].append(_score_pair(function, path, image, target))
    refuse_differing(differing, count)
    return summarise(values, intervals)


def comparable_bands(path: Path, limits: tuple[float, float] | None) -> Bands:
    """What a picture is read as: colour if it can be, because over three equal channels all metrics give the same as
    over one; else all its bands."""
    count = bands_of(path)
    return Bands(3 if count == 1 else count, limits)


def read_scaled(path: Path, dtype: type, bands: Bands = COLOURS) -> np.ndarray:
    """`(H, W, C)` in [0, 1], whatever the file's depth; in float32 the very numbers of torchvision's ToTensor."""
    array = read_image(path, bands)
    if bands.limits is not None:
        return (array.astype(dtype) + dtype(1.0)) / dtype(2.0)
    return array.astype(dtype) / dtype(np.iinfo(array.dtype).max)


def size_difference(path: Path, target_path: Path, image: np.ndarray, target: np.ndarray) -> str:
    """How two pictures of a pair differ, in words."""
    sizes = " and ".join(f"{a.shape[1]}x{a.shape[0]}" for a in (image, target))
    return f"{path}: differs in size from its partner {target_path}, {sizes} px"


def refuse_differing(differing: list[str], count: int) -> None:
    """Raises a UserError if pairs differ in size."""
    if differing:
        raise UserError(f"{differing[0]} ({len(differing)} of {count} pairs differ); bring them to one size first")


def _score_pair(function: PairMetric, path: Path, image: np.ndarray, target: np.ndarray) -> float:
    try:
        return function(image, target)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def summarise(values: dict[str, list[float]], intervals: bool) -> tuple[dict[str, Score], list[str]]:
    """Means of each metric's values, one per picture, and warnings.

    Identical pictures, of infinite psnr, are left out of the mean, for one of them would hide all others."""
    scores, warnings = {}, []
    for name, numbers in values.items():
        # Sorted, so that neither sums nor resamples depend on the names of the pictures.
        finite = np.sort([number for number in numbers if np.isfinite(number)])
        infinite = len(numbers) - len(finite)
        if infinite:
            left_out = ", left out of its mean" if len(finite) else ""
            warnings.append(f"{name}: infinite for {infinite} of {len(numbers)} pairs, identical pictures{left_out}")
        if not len(finite):
            scores[name] = Score(float("inf"), len(numbers), 0.0)
            continue
        low, high = map(float, bootstrap_interval(finite)) if intervals and len(finite) > 1 else (None, None)
        scores[name] = Score(float(finite.mean()), len(finite), float(finite.std()), low, high)
    return scores, warnings
