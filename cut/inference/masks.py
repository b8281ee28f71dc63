"""Masks at test time: what lies outside is the input, pixel by pixel."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cut.data.beside import read_mask
from cut.data.images import pair_name, with_channels
from cut.data.numbers import COLOURS, Bands
from cut.data.pair_files import by_name
from cut.data.transforms import to_picture, to_tensor
from cut.errors import UserError, listed

if TYPE_CHECKING:
    from cut.inference.translate import Job


def with_masks(jobs: Sequence["Job"], masks: Path, source: Bands = COLOURS, target: Bands = COLOURS) -> list["Job"]:
    """The jobs with the mask of each picture.

    Args:
        jobs: Jobs.
        masks: Folder of masks under the pictures' names, or one mask for all.
        source: What the pictures hold.
        target: What the translations hold.

    Raises:
        UserError: A mask is missing, the one for all cannot be read, or numbers of a picture mean something else in its
            translation.
    """
    are_alike = source.count == target.count or (source.are_of_pictures and target.are_of_pictures)
    if not are_alike or source.limits != target.limits:
        raise UserError(
            f"--mask {masks}: keeps a part of the input, but this model turns {source} into {target}; leave it out"
        )
    if not masks.exists():
        raise UserError(f"--mask {masks}: no such file or folder")
    if not masks.is_dir():
        read_mask(masks)  # a mistake in it would be one of every picture
        return [replace(job, mask=masks) for job in jobs]
    named = by_name(masks)
    found = [replace(job, mask=named.get(pair_name(Path(job.name)))) for job in jobs]
    if missing := dict.fromkeys(str(job.source) for job in found if job.mask is None):
        raise UserError(
            f"--mask {masks}: no mask of the same name for {listed(missing, 3)}; add it (white: translate, black: keep)"
        )
    return found


def weights_for(
    picture: np.ndarray, mask: Path, prepare: Callable[[np.ndarray], np.ndarray] | None = None
) -> np.ndarray:
    """The mask `(H, W, 1)` of a picture `(H, W, C)`, in 8 bits; arguments and errors are those of `keep_outside`."""
    weights = prepare(read_mask(mask)) if prepare else read_mask(mask)
    if weights.shape[:2] != picture.shape[:2]:
        sizes = [f"{array.shape[1]}x{array.shape[0]}" for array in (weights, picture)]
        raise UserError(f"{mask}: a mask of {sizes[0]} px for a picture of {sizes[1]} px; scale one of the two")
    return weights


def keep_outside(
    picture: np.ndarray,
    translation: np.ndarray,
    mask: Path,
    prepare: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """m G(x) + (1 - m) x, where m is 1 in white places of the mask; where it is 0, the input is kept exactly.

    Args:
        picture: Input x `(H, W, C)`, uint8, uint16, or float32 in [-1, 1].
        translation: G(x) `(H, W, C')`, of which type the result is.
        mask: File of the mask.
        prepare: What was done to the picture before it was translated, such as scaling.

    Raises:
        UserError: The mask cannot be read, or is not of the picture's size.
    """
    weights, own = weights_for(picture, mask, prepare), with_channels(picture, translation.shape[2])
    own = own if own.dtype == translation.dtype else to_picture(to_tensor(own), translation.dtype.type)
    found, gray = np.where(weights == 255, translation, own), ((weights > 0) & (weights < 255))[:, :, 0]
    share = weights[gray] / 255.0  # (K, 1), of the edges alone, because the picture may be large
    mixed = share * translation[gray] + (1.0 - share) * own[gray]
    found[gray] = np.rint(mixed) if translation.dtype != np.float32 else mixed
    return found
