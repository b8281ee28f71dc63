"""Pictures as programs have them: paths, Pillow images, arrays and tensors, alone, in batches and in lists."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cut.data.decode import pixels_of
from cut.data.images import read_image, to_8_bit, with_channels
from cut.data.numbers import COLOURS, Bands, number_type, to_inside, to_stored
from cut.data.transforms import to_float, to_picture
from cut.errors import UserError
from cut.storage.files import given_path

Picture: TypeAlias = str | os.PathLike[str] | Image.Image | np.ndarray | Tensor
Pack: TypeAlias = Callable[[list[Any]], Any]  # the translations of what was unpacked -> what the caller gets


@dataclass(frozen=True)
class Pixels:
    """One picture.

    Args:
        pixels: `(H, W, C)` uint8 or uint16, or `(C, H, W)` floats in [-1, 1].
        name: Name of its file; empty where it has none.
    """

    pixels: np.ndarray | Tensor
    name: str = ""


def unpacked(
    given: Picture | list[Any] | tuple[Any, ...], bands: Bands, made: Bands = COLOURS
) -> tuple[list[Pixels], Pack]:
    """The pictures that were given, and the function that makes their translations what was given.

    Args:
        given: One picture, a batch, or a list of them.
        bands: What the networks take: gray and colours of files and Pillow images are converted to it.
        made: What translations hold. Those of files and Pillow images are arrays where Pillow cannot hold them.

    Raises:
        UserError: A picture cannot be read, or is of no known kind.
    """
    if isinstance(given, list | tuple):
        parts = [unpacked(item, bands, made) for item in given]
        counts = [len(items) for items, _ in parts]
        if 0 in counts or not parts:
            raise UserError("no pictures were given")

        def pack(outputs: list[Any]) -> list[Any]:
            rest = iter(outputs)
            return [own([next(rest) for _ in range(count)]) for count, (_, own) in zip(counts, parts, strict=True)]

        return [item for items, _ in parts for item in items], pack
    if isinstance(given, str | os.PathLike):
        path = given_path(given, "picture")
        like = np.dtype(np.uint16) if made.limits is None else number_type(path)
        return [Pixels(read_image(path, bands), path.name)], lambda outputs: _looked_at(outputs[0], made, like)
    if isinstance(given, Image.Image):
        try:
            pixels = with_channels(to_inside(pixels_of(given), bands), bands)
        except UserError as error:
            raise UserError(f"a Pillow image {error}; other numbers of bands are given as an array") from None
        return [Pixels(pixels)], lambda outputs: _looked_at(outputs[0], made, np.dtype(np.uint16))
    if isinstance(given, np.ndarray):
        return _of_array(given, bands, made)
    if isinstance(given, Tensor):
        return _of_tensor(given, bands.count)
    raise UserError(f"a picture must be a path, a Pillow image, an array or a tensor, got a {type(given).__name__}")


def _looked_at(array: np.ndarray, made: Bands, like: np.dtype[Any]) -> Image.Image | np.ndarray:
    """A translation as a Pillow image, whose colours have 8 bits; as an array where it has other bands, or a range."""
    if not made.are_plain:
        return to_stored(array, made, like)
    return to_pillow(to_8_bit(array) if array.shape[2] == 3 else array)


def to_pillow(array: np.ndarray) -> Image.Image:
    """`(H, W, 1 or 3)` uint8, or of one channel uint16, as a Pillow image."""
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


def _of_array(array: np.ndarray, bands: Bands, made: Bands) -> tuple[list[Pixels], Pack]:
    channels = bands.count
    if array.dtype not in (np.uint8, np.uint16) and bands.limits is None:
        raise UserError(
            f"an array must be uint8 or uint16, got {array.dtype}; floats in [-1, 1] go in as a tensor (C, H, W), and "
            "others need a model that was trained with data.range_a"
        )
    is_batch, is_flat = array.ndim == 4, array.ndim == 2
    pictures = array[None, :, :, None] if is_flat else array if is_batch else array[None]
    if pictures.ndim != 4 or pictures.shape[3] != channels or not pictures.size:
        needed = "(H, W)" if channels == 1 else f"(H, W, {channels})"
        raise UserError(f"an array must be {needed} or (N, H, W, {channels}), got {array.shape}")

    def pack(outputs: list[Any]) -> np.ndarray:
        outputs = [to_stored(output, made, array.dtype) for output in outputs]
        if is_batch:
            return np.stack(outputs)
        return outputs[0][:, :, 0] if is_flat and outputs[0].shape[2] == 1 else outputs[0]

    try:
        return [Pixels(np.ascontiguousarray(to_inside(picture, bands))) for picture in pictures], pack
    except UserError as error:
        raise UserError(f"an array {error}") from None


def _of_tensor(tensor: Tensor, channels: int) -> tuple[list[Pixels], Pack]:
    is_bytes = tensor.dtype == torch.uint8
    if not (is_bytes or tensor.is_floating_point()):
        raise UserError(f"a tensor must be uint8, or floats in [-1, 1], got {tensor.dtype}")
    images = tensor if tensor.dim() == 4 else tensor[None]
    if images.dim() != 4 or images.shape[1] != channels or not images.numel():
        raise UserError(f"a tensor must be ({channels}, H, W) or (N, {channels}, H, W), got {tuple(tensor.shape)}")
    floats = to_float(images.detach()).float()
    if floats.amin() < -1.001 or floats.amax() > 1.001:
        raise UserError(
            f"a tensor of floats must be in [-1, 1], got {floats.amin():.3g} to {floats.amax():.3g}; "
            "from [0, 1] it gets there by x * 2 - 1"
        )

    def pack(outputs: list[Any]) -> Tensor:
        made = torch.stack(outputs)
        if is_bytes:
            rows = [torch.from_numpy(to_picture(image)).permute(2, 0, 1) for image in made]
            made = torch.stack(rows).to(tensor.device)
        else:
            made = made.to(tensor.dtype)
        return made if tensor.dim() == 4 else made[0]

    return [Pixels(image) for image in floats], pack
