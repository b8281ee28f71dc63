"""One batch through a method's networks, with what is padded and drawn for it: for files, arrays and tensors alike."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from cut.data.transforms import as_floats, to_picture, to_tensor, to_written_picture
from cut.inference.request import Given, Request, stream_seed
from cut.inference.tiling.memory_check import check_memory
from cut.inference.tiling.tiled import translate_in_tiles
from cut.methods.translator import Translator, first_output
from cut.runtime.seeding import seed_all

Key = tuple[str, Given]  # the name of a picture, by which numbers are drawn, and what its output is made from


def translate_pictures(
    method: Translator,
    pictures: Sequence[np.ndarray],
    fabric: Fabric,
    request: Request,
    keys: Sequence[Key],
    tile_px: int | None,
    folder: Path,
) -> list[np.ndarray]:
    """Translations of pictures of one size: of that size, of the type that the request says for each.

    Args:
        method: Set for inference and on the device.
        pictures: `(H, W, C)`, uint8, uint16, or float32 in [-1, 1].
        fabric: Device and precision.
        request: Direction and seed.
        keys: Name of each picture, and what its output is made from.
        tile_px: Side of the tiles that larger pictures are cut into, or None.
        folder: On whose disk intermediate maps of tiles lie meanwhile.
    """
    if tile_px is None or max(padded_size(method, *pictures[0].shape[:2])) <= tile_px:
        outputs = translate_images(method, torch.stack([to_tensor(p) for p in pictures]), fabric, request, keys)
        return [
            to_written_picture(output, request.type_of(picture), name)
            for output, picture, (name, _) in zip(outputs, pictures, keys, strict=True)
        ]
    translated = []
    for picture, (name, given) in zip(pictures, keys, strict=True):
        height, width = picture.shape[:2]
        (top, bottom), (left, right) = _borders(method, height, width)
        padded = np.pad(picture, ((top, bottom), (left, right), (0, 0)), mode="symmetric")
        forward = _forward(method, fabric, request, [(name, given)])
        with torch.inference_mode(not method.needs_grad), fabric.autocast():
            dtype = request.type_of(picture)
            own = as_floats(padded) if dtype == np.float32 else padded
            array = translate_in_tiles(forward, own, tile_px, fabric.device, folder, name, request.progress)
            array = array if array.dtype == dtype else to_picture(to_tensor(array), dtype)
        translated.append(array[top : top + height, left : left + width])
    return translated


def translate_images(
    method: Translator, images: Tensor, fabric: Fabric, request: Request, keys: Sequence[Key]
) -> Tensor:
    """Translations `(N, C', H, W)` of images `(N, C, H, W)` in [-1, 1], on the device; see `translate_pictures`."""
    height, width = images.shape[2:]
    (top, bottom), (left, right) = _borders(method, height, width)
    if top or bottom or left or right:
        borders = ((0, 0), (0, 0), (top, bottom), (left, right))
        images = torch.from_numpy(np.pad(images.numpy(force=True), borders, mode="symmetric"))
    forward = _forward(method, fabric, request, keys)
    with torch.inference_mode(not method.needs_grad), fabric.autocast():
        shape = (*images.shape[2:], images.shape[1])
        check_memory(forward, np.broadcast_to(np.uint8(0), shape), len(images), fabric.device, keys[0][0])
        return forward(fabric.to_device(images))[:, :, top : top + height, left : left + width]


def padded_size(method: Translator, height: int, width: int) -> tuple[int, int]:
    """Height and width of the images that the networks are given, for images of this size."""
    (top, bottom), (left, right) = _borders(method, height, width)
    return height + top + bottom, width + left + right


def stride_and_smallest(method: Translator) -> tuple[int, int]:
    """What the sides of images must be multiples of, and how large they must be at least."""
    networks = method.inference_networks().values()
    multiple = max(getattr(network, "stride", 1) for network in networks)
    return multiple, max(getattr(network, "min_size_px", 1) for network in networks)


def _forward(method: Translator, fabric: Fabric, request: Request, keys: Sequence[Key]) -> Callable[[Tensor], Tensor]:
    """The function from images to what is written; where the method draws from the global streams, these are seeded."""
    names, given = [name for name, _ in keys], [given for _, given in keys]
    if method.goes_one_by_one:
        seed_all(stream_seed(request.seed, names[0], given[0].number))
    inputs: dict[str, Any] = fabric.to_device(request.tensors(method, names, given))
    if request.num_passes is not None:
        inputs |= {"num_passes": request.num_passes}
    return partial(_scored, method.translations()[request.direction], inputs)


def _scored(forward: Callable[..., Any], given: dict[str, Any], images: Tensor) -> Tensor:
    """The output that is written, of several the first."""
    return first_output(forward(images, **given))


def _borders(method: Translator, height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
    multiple, smallest = stride_and_smallest(method)
    return _padding(height, multiple, smallest), _padding(width, multiple, smallest)


def _padding(side: int, multiple: int, smallest: int) -> tuple[int, int]:
    """Pixels to add before and after, so that the side is a multiple and at least `smallest`."""
    missing = max(-(-side // multiple) * multiple, -(-smallest // multiple) * multiple) - side
    return missing // 2, missing - missing // 2
