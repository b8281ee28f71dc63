"""The scale of a picture when it is translated, beside the scale of the pictures that the network has learnt from."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from cut.config import DataConfig, SingleDataConfig, TransformConfig
from cut.config.sides import as_text, both_sides
from cut.data.images import stored_size_px
from cut.data.transforms import resized, scaled, to_picture

_FACTOR = 2.0  # of a size; networks bear less than that well enough


def scale_as_in_training(picture: np.ndarray, config: DataConfig, load_px: int | tuple[int, int]) -> np.ndarray:
    """Scales a picture as `data.preprocess` does with `data.load_px`, without crop; pictures that it leaves alone
    (crop, none) get a shorter side of `load_px`, or cover a rectangle.

    Args:
        picture: `(H, W, C)`, uint8, uint16, or float32 in [-1, 1].
        config: Data that the network has learnt from.
        load_px: In place of its own; of a rectangle height and width.

    Returns:
        `(H', W', C)` of the same type.
    """
    height, width = picture.shape[:2]
    if isinstance(config, TransformConfig) and config.preprocess not in ("crop", "none"):
        pixels = scaled(picture, config.model_copy(update={"load_px": load_px}), whole=False)
    else:
        longest = isinstance(config, SingleDataConfig)  # which is scaled by its longer side
        factors = [side / own for side, own in zip(both_sides(load_px), (height, width), strict=True)]
        factor = min(factors) if longest else max(factors)
        pixels = resized(picture, (max(1, round(height * factor)), max(1, round(width * factor))))
    return _to_array(pixels, picture.dtype.type)


def _to_array(pixels: Tensor, dtype: type) -> np.ndarray:
    return pixels.permute(1, 2, 0).numpy() if dtype == np.uint8 else to_picture(pixels, dtype)


def describe_scale(paths: Sequence[Path], config: DataConfig) -> str | None:
    """How many pictures are larger or smaller by more than two than training has scaled its own; None if none is.

    Args:
        paths: Pictures to translate; those that cannot be read count for nothing.
        config: Data that the network has learnt from.
    """
    sizes = [size for path in paths if (size := stored_size_px(path))]
    ratios = [ratio for size in sizes if (ratio := _ratio(*size, config))]
    far = sorted(ratio for ratio in ratios if not 1 / _FACTOR <= ratio <= _FACTOR)
    if not far:
        return None
    times = " to ".join(dict.fromkeys(f"{ratio:.2g}" for ratio in (far[0], far[-1])))
    return (
        f"{len(far)} of {len(paths)} pictures are {times} times as large as those of the training, which "
        f"were scaled to data.load_px {as_text(getattr(config, 'load_px', 0))}"
    )


def _ratio(width: int, height: int, config: DataConfig) -> float | None:
    """A picture's size over that to which training scaled; None where it scaled nothing."""
    load_px = getattr(config, "load_px", None)
    if load_px is None:
        return None
    load_height, load_width = both_sides(load_px)
    if isinstance(config, SingleDataConfig):
        return max(width, height) / load_width
    preprocess = getattr(config, "preprocess", "none")
    if preprocess == "resize_and_crop":
        return math.sqrt(width * height) / math.sqrt(load_width * load_height)
    if preprocess.startswith("scale_width"):
        return width / load_width
    return min(width / load_width, height / load_height) if preprocess == "scale_shortside_and_crop" else None
