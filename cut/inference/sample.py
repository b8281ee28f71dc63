"""Draws new images with a generator that makes them from noise."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor
from tqdm import tqdm

from cut.data.images import WRITTEN_SUFFIXES, write_image
from cut.data.transforms import to_written_picture
from cut.errors import UserError
from cut.inference.output_folder import OutputFolder
from cut.inference.request import stream_seed
from cut.inference.sheet import write_sheet
from cut.methods.base import Method

_SHEET_IMAGES = 64  # on the contact sheet, at most
_SHEET_COLUMNS = 8


@dataclass(frozen=True)
class Draw:
    """One image to draw: where it goes, the number of its latent, and its class, where the method knows classes."""

    path: Path
    number: int
    label: int | None = None


def plan_draws(folder: Path, count: int, suffix: str, labels: Sequence[tuple[int, str]] = ()) -> list[Draw]:
    """The images to draw: `00000.png` and so on, or of each of several classes as `00000_CLASS.png`.

    Args:
        folder: Where they go.
        count: Number of images, of each class.
        suffix: Format to write, such as `.png`.
        labels: Number and name of each class; none where the method knows no classes.

    Raises:
        UserError: An unknown format.
    """
    if suffix not in WRITTEN_SUFFIXES:
        raise UserError(f"--format {suffix[1:]}: not a known picture format (known: {', '.join(WRITTEN_SUFFIXES)})")
    digits = max(5, len(str(count - 1)))
    ends: list[tuple[int | None, str]] = [(label, f"_{name}" if len(labels) > 1 else "") for label, name in labels]
    return [
        Draw(folder / f"{number:0{digits}}{end}{suffix}", number, label)
        for number in range(count)
        for label, end in ends or [(None, "")]
    ]


def sample(
    method: Method, draws: Sequence[Draw], seed: int, fabric: Fabric, batch_size: int, output: OutputFolder
) -> str:
    """Draws and writes images, and a contact sheet of the first ones.

    Latent i depends on `seed` and i alone, so that neither the batch size nor how many are drawn changes an image.

    Args:
        method: Method in eval mode that takes a latent.
        draws: From `plan_draws`.
        seed: Seed of the latents.
        fabric: Device and precision.
        batch_size: Images that go through together.
        output: Where the images go, and the contact sheet.

    Returns:
        One line that says what was done.

    Raises:
        UserError: A file cannot be written.
    """
    shown: list[np.ndarray] = []
    with tqdm(total=len(draws), unit="image", dynamic_ncols=True, disable=None) as bar:
        for picture in draw_images(method, draws, seed, fabric, batch_size):
            if len(shown) < _SHEET_IMAGES:
                shown.append(picture)
            bar.update()
    output.written.update(draw.path for draw in draws)
    if output.sheet:
        _write_contact_sheet(output.sheet, draws, shown, method)
    return output.summary(f"{len(draws)} images drawn")


def draw_images(
    method: Method, draws: Sequence[Draw], seed: int, fabric: Fabric, batch_size: int
) -> Iterator[np.ndarray]:
    """Draws and writes, as `sample`; gives each picture. Images without a class take the classes in turn."""
    fabric.to_device(method)
    for first in range(0, len(draws), batch_size):
        group = draws[first : first + batch_size]
        latents = torch.cat([_latent(method, seed, draw.number) for draw in group])  # (N, ...)
        given = {}
        if "label" in method.inputs:
            turn = len(method.label_names)
            labels = [draw.number % turn if draw.label is None else draw.label for draw in group]
            given["label"] = fabric.to_device(torch.tensor(labels))
        with torch.inference_mode(), fabric.autocast():
            images = method(fabric.to_device(latents), **given)
        for draw, image in zip(group, images, strict=True):
            picture = to_written_picture(image, np.uint8, str(draw.number))
            write_image(draw.path, picture, checked=True)
            yield picture


def _latent(method: Method, seed: int, number: int) -> Tensor:
    """Latent `(1, ...)`, from a stream of its own."""
    return method.latents(1, torch.Generator().manual_seed(stream_seed(seed, number)))


def _write_contact_sheet(path: Path, draws: Sequence[Draw], pictures: list[np.ndarray], method: Method) -> None:
    """Images in their order; of several classes one row per latent, as many whole ones as there is room for."""
    drawn = dict.fromkeys(draw.label for draw in draws)
    titles = [method.label_names[label] for label in drawn if label is not None] if len(drawn) > 1 else []
    titles = titles[:_SHEET_IMAGES]
    columns = len(titles) or min(_SHEET_COLUMNS, len(pictures))
    rows: list[list[np.ndarray | None]] = [
        [*pictures[first : first + columns]] for first in range(0, len(pictures), columns)
    ]
    rows = rows[: max(1, len(pictures) // columns)] if titles else rows
    rows[-1] += [None] * (columns - len(rows[-1])) if titles else []
    stems = [draw.path.stem.partition("_")[0] for draw in draws]
    names = [
        stems[row * columns] if titles else f"{stems[row * columns]} to {stems[row * columns + len(images) - 1]}"
        for row, images in enumerate(rows)
    ]
    write_sheet(path, titles or [""] * columns, rows, names)
