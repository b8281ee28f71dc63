"""One picture per domain as an endless, random-access stream of crops (SinCUT)."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cut.config import SingleDataConfig
from cut.config.sides import MULTIPLE_PX
from cut.data.images import read_image
from cut.data.picture_list import PictureList, entry_of_content
from cut.data.resize import resize
from cut.data.stream import SampleStream
from cut.data.transforms import to_float, to_tensor
from cut.datasets.catalogue import fetch_command
from cut.errors import UserError

_SMALLEST_CROP_PX = 8  # that the config allows
SHEET_PX = 1024  # longer side of what sample sheets show, at most


class SingleStream(SampleStream):
    """Sample n of a run, for any n: which crops, at which size and mirrored or not, depend on (seed, n) alone.

    As in the authors' code all crops of a step share a random zoom, width and height each divided by 1 to `zoom_max`,
    and stand on a grid of `crop_px` cells with a random offset. Here they share the offset too and take their cells
    without repetition, so that no two of them overlap, unless there are more crops than cells: then a second grid is
    laid, with another offset. (The authors' cell numbers, taken modulo the number of cells, can meet.)

    Args:
        config: the pictures and the crops.
        seed: of the run.
        batches_per_step: that a step of training takes.

    Raises:
        UserError: a picture is missing, broken or smaller than a crop.
    """

    config: SingleDataConfig

    def __init__(self, config: SingleDataConfig, seed: int, batches_per_step: int = 1):
        super().__init__(config, seed, batches_per_step)
        self.num_pictures = config.crops_per_epoch
        self.pictures = {domain: _read(config, domain) for domain in ("a", "b")}
        self._step: tuple[int, dict[str, Tensor]] = (-1, {})  # the last step's crops: its samples follow each other

    def __getitem__(self, n: int) -> dict[str, Any]:
        """`real_a` and `real_b` `(C, crop_px, crop_px)` in [-1, 1]."""
        step, place = divmod(n, self.samples_per_step)
        if self._step[0] != step:
            rng = np.random.default_rng((self.seed, 1, step))
            crops = {f"real_{domain}": self._crops(picture, rng) for domain, picture in self.pictures.items()}
            self._step = (step, crops)
        return {name: crops[place] for name, crops in self._step[1].items()}

    def sources(self, split: str) -> list[Path]:
        return [Path(self.config.a), Path(self.config.b)] if split == "train" else []

    def picture_list(self) -> PictureList:
        paths = {"a": self.config.a, "b": self.config.b}
        return {name: entry_of_content(1, Path(path).read_bytes()) for name, path in paths.items()}

    def fixed_samples(self, count: int) -> list[dict[str, Any]]:
        """The whole picture a, with picture b beside it as `real_b`."""
        shown = {f"real_{domain}": to_float(_fit(picture, SHEET_PX)) for domain, picture in self.pictures.items()}
        return [shown | {"name": Path(self.config.a).name}]

    def _crops(self, picture: Tensor, rng: np.random.Generator) -> Tensor:
        """All crops of one step from one picture, `(samples_per_step, C, crop_px, crop_px)` in [-1, 1]."""
        crop_px = self.config.crop_px
        factors = rng.uniform(1 / self.config.zoom_max, 1.0, size=2)
        height, width = (max(crop_px, round(side * f)) for side, f in zip(picture.shape[1:], factors, strict=True))
        zoomed = resize(picture, height, width, "bilinear")
        crops = [
            zoomed[:, top : top + crop_px, left : left + crop_px]
            for top, left in random_places(height, width, crop_px, self.samples_per_step, rng)
        ]
        if self.config.flip:
            crops = [crop.flip(2) if rng.random() < 0.5 else crop for crop in crops]
        return to_float(torch.stack(crops))


def random_places(height: int, width: int, crop_px: int, count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Top left corners of `count` crops that do not overlap, or as few times as possible."""
    rows, columns = height // crop_px, width // crop_px
    places: list[tuple[int, int]] = []
    while len(places) < count:  # a grid at a time
        top, left = rng.integers(height - rows * crop_px + 1), rng.integers(width - columns * crop_px + 1)
        cells = rng.permutation(rows * columns)[: count - len(places)]
        places += [(int(top + c // columns * crop_px), int(left + c % columns * crop_px)) for c in cells]
    return places


def require_picture(config: SingleDataConfig, domain: str) -> Path:
    """The path of a domain's picture.

    Raises:
        UserError: there is none; the line says how to get it.
    """
    path = Path(getattr(config, domain))
    if not path.is_file():
        command = fetch_command(str(path.parent.parent))  # <data set>/trainA/<picture>
        how = f"fetch it with: {command}" if command else f"put a picture there, or set data.{domain} to yours"
        raise UserError(f"data.{domain}: {path}: {'is a folder' if path.is_dir() else 'no such picture'}; {how}")
    return path


def _read(config: SingleDataConfig, domain: str) -> Tensor:
    """The picture of a domain, `(C, H, W)`, uint8, or float in [-1, 1] where the file holds 16 bits."""
    path = require_picture(config, domain)
    array = read_image(path, config.channels[domain])
    picture = torch.from_numpy(array).permute(2, 0, 1) if array.dtype == np.uint8 else to_tensor(array)
    fitted = _fit(picture, config.load_px, multiple=1) if config.load_px else picture.contiguous()
    height, width = fitted.shape[1:]
    if min(height, width) < config.crop_px:
        how = _how_to_fit(picture, fitted, config)
        raise UserError(
            f"data.{domain}: {path}: {width}x{height} px, smaller than data.crop_px {config.crop_px}; {how}"
        )
    return fitted


def _how_to_fit(picture: Tensor, fitted: Tensor, config: SingleDataConfig) -> str:
    """What makes a picture large enough for the crops; it is scaled down only, so `load_px` may be no cure."""
    short_px, long_px, fitted_px = min(picture.shape[1:]), max(picture.shape[1:]), min(fitted.shape[1:])
    ways = []
    if config.load_px and short_px >= config.crop_px:
        ways.append(f"raise data.load_px to {-(-config.crop_px * long_px // short_px)} or more")
    if fitted_px >= _SMALLEST_CROP_PX:
        ways.append(f"lower data.crop_px to {fitted_px // MULTIPLE_PX * MULTIPLE_PX} or less")
    return ", ".join([*ways, "or take a larger picture"] if ways else ["take a larger picture"])


def _fit(picture: Tensor, longest_px: int, multiple: int = MULTIPLE_PX) -> Tensor:
    """Scaled down so that the longer side is at most `longest_px`; the sides become multiples of `multiple`."""
    scale = min(1.0, longest_px / max(picture.shape[1:]))
    height, width = (max(multiple, round(side * scale / multiple) * multiple) for side in picture.shape[1:])
    return resize(picture, height, width, "bilinear")
