"""Draws new images with a generator that makes them from noise."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor
from tqdm import tqdm

from cut.data.images import SUFFIXES, write_image
from cut.data.transforms import to_written_picture
from cut.errors import UserError
from cut.inference.output_folder import OutputFolder
from cut.inference.request import stream_seed
from cut.inference.sheet import write_sheet
from cut.methods.base import Method

_SHEET_IMAGES = 64  # on the contact sheet, at most
_SHEET_COLUMNS = 8


def sample(
    method: Method, count: int, seed: int, fabric: Fabric, batch_size: int, output: OutputFolder, suffix: str
) -> str:
    """Writes `count` images as `00000.png` and so on, and a contact sheet of the first ones.

    Latent i depends on `seed` and i alone, so that neither the batch size nor how many are drawn changes an image.

    Args:
        method: in eval mode, that takes a latent.
        count: of the images.
        seed: of the latents.
        fabric: device and precision.
        batch_size: images that go through together.
        output: Where the images go, and the contact sheet.
        suffix: the format to write, such as `.png`.

    Returns:
        One line that says what was done.

    Raises:
        UserError: an unknown format, or a file cannot be written.
    """
    shown: list[np.ndarray] = []
    with tqdm(total=count, unit="image", dynamic_ncols=True, disable=None) as bar:
        for picture in draw_images(method, count, seed, fabric, batch_size, output.path, suffix):
            if len(shown) < _SHEET_IMAGES:
                shown.append(picture)
            bar.update()
    output.written.update(image_paths(output.path, count, suffix))
    if output.sheet:
        _write_contact_sheet(output.sheet, shown)
    return output.summary(f"{count} images drawn")


def image_paths(folder: Path, count: int, suffix: str) -> list[Path]:
    """The files that `count` images go into.

    Raises:
        UserError: an unknown format.
    """
    if suffix not in SUFFIXES:
        raise UserError(f"--format {suffix[1:]}: not a known picture format (known: {', '.join(SUFFIXES)})")
    digits = max(5, len(str(count - 1)))
    return [folder / f"{number:0{digits}}{suffix}" for number in range(count)]


def draw_images(
    method: Method, count: int, seed: int, fabric: Fabric, batch_size: int, output: Path, suffix: str = ".png"
) -> Iterator[np.ndarray]:
    """Draws and writes, as `sample`; gives each picture."""
    fabric.to_device(method)
    paths = image_paths(output, count, suffix)
    for first in range(0, count, batch_size):
        numbers = range(first, min(first + batch_size, count))
        latents = torch.cat([_latent(method, seed, number) for number in numbers])  # (N, ...)
        with torch.inference_mode(), fabric.autocast():
            images = method(fabric.to_device(latents))
        for number, image in zip(numbers, images, strict=True):
            picture = to_written_picture(image, np.uint8, str(number))
            write_image(paths[number], picture, checked=True)
            yield picture


def _latent(method: Method, seed: int, number: int) -> Tensor:
    """Latent `(1, ...)`, from a stream of its own."""
    return method.latents(1, torch.Generator().manual_seed(stream_seed(seed, number)))


def _write_contact_sheet(path: Path, pictures: list[np.ndarray]) -> None:
    columns = min(_SHEET_COLUMNS, len(pictures))
    rows = [pictures[first : first + columns] for first in range(0, len(pictures), columns)]
    names = [f"{row * columns:05} to {row * columns + len(images) - 1:05}" for row, images in enumerate(rows)]
    write_sheet(path, [""] * columns, rows, names)
