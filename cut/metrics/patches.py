"""How far the patches of two pictures are from each other, wherever they lie: texture and colour, not content."""

import numpy as np

from cut.errors import UserError

SWD_PATCH_PX = 7
_SCALES = 3
_DIRECTIONS = 256
_MOST_PATCHES = 8192  # per scale


def swd(image: np.ndarray, target: np.ndarray) -> float:
    """Sliced Wasserstein distance between the patches of two pictures; 0 where they have the same.

    After Karras et al. (ICLR 2018, section 5): patches of 7 x 7 pixels are projected onto random directions, and the
    sorted projections of both pictures compared; the mean over directions, and over three scales, each half as large as
    the one before. Unlike there, colours are not normalised, and the scales are those of a plain pyramid. Directions
    and places are always the same.

    Args:
        image: `(H, W, C)` in [0, 1].
        target: Of the same shape.

    Raises:
        UserError: A side is shorter than a patch.
    """
    if min(image.shape[:2]) < SWD_PATCH_PX:
        height, width = image.shape[:2]
        raise UserError(
            f"picture of {width}x{height} px is smaller than swd's patches of {SWD_PATCH_PX} px; leave swd out"
        )
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((SWD_PATCH_PX**2 * image.shape[2], _DIRECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    distances = []
    for _ in range(_SCALES):
        rows, columns = (side - SWD_PATCH_PX + 1 for side in image.shape[:2])
        if min(rows, columns) < 1:
            break
        places = np.sort(rng.permutation(rows * columns)[:_MOST_PATCHES])
        one, other = (np.sort(_patches(picture, places) @ directions, axis=0) for picture in (image, target))
        distances.append(np.abs(one - other).mean())
        image, target = _halve(image), _halve(target)
    return float(np.mean(distances))


def _patches(picture: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Patches with their top left corner at `places`, row by row: `(n, 49 C)`."""
    windows = np.lib.stride_tricks.sliding_window_view(picture, (SWD_PATCH_PX, SWD_PATCH_PX), axis=(0, 1))
    rows, columns = np.divmod(places, windows.shape[1])
    return windows[rows, columns].reshape(len(places), -1)


def _halve(x: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels; an odd last row or column is left out: `(H, W, C)` -> `(H // 2, W // 2, C)`."""
    height, width = (side // 2 * 2 for side in x.shape[:2])
    x = x[:height, :width]
    return (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4.0
