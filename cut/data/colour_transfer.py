"""Colour transfer alone, without any training: what a translation has to be better than."""

from collections.abc import Iterable
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from cut.config import DataConfig, PairedDataConfig, SingleDataConfig, UnpairedDataConfig
from cut.data.colour_statistics import ColourStatistics, colour_statistics
from cut.data.images import list_images, read_image, to_8_bit, write_image
from cut.data.paired import find_pairs, read_pair
from cut.data.unpaired import UnpairedStream
from cut.errors import UserError

_CHANNELS = 3  # in which scores see every picture
_LEAST_DEVIATION = 1e-3  # in [-1, 1]; a channel that is the same everywhere would be divided by 0


def colours_of(pictures: Iterable[Path | np.ndarray]) -> ColourStatistics:
    """Statistics of all pixels of pictures, which are files or arrays `(H, W, C)`, in RGB.

    Raises:
        UserError: A picture cannot be read.
    """
    return colour_statistics(_tensor(picture) for picture in pictures)


def training_colours(config: DataConfig) -> tuple[ColourStatistics, ColourStatistics] | None:
    """Statistics of the training pictures of the source and of the target domain; None for data without the two.

    Raises:
        UserError: Pictures are missing, or one cannot be read.
    """
    if isinstance(config, UnpairedDataConfig):
        return UnpairedStream(config, 0).colours()  # as `data.match_colours` has them
    if isinstance(config, PairedDataConfig):
        pairs = find_pairs(config, "train")
        if pairs[0].path_b:
            return colours_of(pair.path_a for pair in pairs), colours_of(cast(Path, pair.path_b) for pair in pairs)
        a_of, b_of = (colours_of(read_pair(pair, config)[place] for pair in pairs) for place in (0, 1))
        return a_of, b_of
    if isinstance(config, SingleDataConfig):
        return colours_of([Path(config.a)]), colours_of([Path(config.b)])
    return None


def transfer_colours(folder: Path, output: Path, source: ColourStatistics, target: ColourStatistics) -> None:
    """Writes all pictures of a folder with the mean and the deviation per channel of another domain, as 8-bit PNG.

        x' = clip((x - mean_source) deviation_target / deviation_source + mean_target)

    Reinhard et al., "Color Transfer between Images", IEEE CG&A 2001, equations 10 and 11; here in RGB, and with the
    statistics of whole domains.

    Args:
        folder: Pictures.
        output: Where they go, under their own names.
        source: Statistics of the pictures' domain, of three channels or of one.
        target: Statistics of the other domain, likewise.

    Raises:
        UserError: A picture cannot be read or written.
    """
    factor = np.array(target.deviation) / np.maximum(source.deviation, _LEAST_DEVIATION)
    shift = np.array(target.mean) - np.array(source.mean) * factor
    for path in list_images(folder):
        values = read_image(path, _CHANNELS)
        scaled = values / (np.iinfo(values.dtype).max / 2.0) - 1.0
        moved = np.clip(scaled * factor + shift, -1.0, 1.0)
        picture = np.rint((moved + 1.0) * 127.5).astype(np.uint8)
        copy = (output / path.relative_to(folder)).with_suffix(".png")
        if copy.exists():  # a.jpg beside a.png, or A.png on some disks
            copy = copy.with_name(f"{path.name}.png")
        write_image(copy, picture, checked=True)


def _tensor(picture: Path | np.ndarray) -> Tensor:
    array = read_image(picture, _CHANNELS) if isinstance(picture, Path) else picture
    if array.shape[2] not in (1, _CHANNELS):
        raise UserError(f"colour transfer: is for pictures of 1 or 3 channels, these have {array.shape[2]}")
    return torch.from_numpy(np.broadcast_to(to_8_bit(array), (*array.shape[:2], _CHANNELS)).copy()).permute(2, 0, 1)
