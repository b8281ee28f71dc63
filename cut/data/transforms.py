"""From a decoded picture to the tensor that the networks see, and back."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cut.config import TransformConfig
from cut.config.sides import MULTIPLE_PX, both_sides
from cut.data.bounds import max_megapixels
from cut.data.resize import center_crop, resize
from cut.errors import UserError, about


def to_tensor(picture: np.ndarray) -> Tensor:
    """`(H, W, C)` uint8, uint16, or float32 in [-1, 1] -> `(C, H, W)` float in [-1, 1]."""
    if picture.dtype == np.float32:
        return torch.from_numpy(picture).permute(2, 0, 1).contiguous()
    full = 65535.0 if picture.dtype == np.uint16 else 255.0
    return torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1).contiguous() * (2.0 / full) - 1.0


def as_floats(picture: np.ndarray) -> np.ndarray:
    """`(H, W, C)` of any type -> float32 in [-1, 1]."""
    return to_tensor(picture).permute(1, 2, 0).numpy()


def to_float(pixels: Tensor) -> Tensor:
    """uint8 -> float in [-1, 1]; floats are there already."""
    return pixels.float().mul_(2.0 / 255.0).sub_(1.0) if pixels.dtype == torch.uint8 else pixels


def to_written_picture(image: Tensor, dtype: type, name: str) -> np.ndarray:
    """`to_picture` of what a network gives, for a file that somebody will rely on.

    Raises:
        UserError: it holds numbers that are not finite, of which a picture would show nothing.
    """
    if not image.isfinite().all():
        raise UserError(
            f"{name}: the network gives numbers that are not finite; take --precision 32-true, or an earlier checkpoint"
        )
    return to_picture(image, dtype)


def to_picture(image: Tensor, dtype: type = np.uint8) -> np.ndarray:
    """`(C, H, W)` float in [-1, 1], clamped -> `(H, W, C)`, uint8 and uint16 rounded, float32 in [-1, 1] not."""
    if dtype == np.float32:
        return image.detach().float().cpu().clamp(-1.0, 1.0).permute(1, 2, 0).numpy()
    full = 65535.0 if dtype == np.uint16 else 255.0
    unit = image.detach().float().cpu().clamp(-1.0, 1.0).add(1.0).mul(0.5 * full).round()
    return unit.permute(1, 2, 0).numpy().astype(dtype)


def scaled(picture: np.ndarray, config: TransformConfig, whole: bool) -> Tensor:
    """The part of the training transform in which nothing is random, and so worth keeping (`data/cache.py`).

    Args:
        picture: `(H, W, C)`, uint8, uint16, or float32 in [-1, 1].
        config: how to scale, and to what size.
        whole: scale to the crop's size instead of cropping later (the authors' code, while the rate decays).

    Returns:
        `(C, H, W)` uint8, or float in [-1, 1] of all others.
    """
    load = config.crop_sides if whole else both_sides(config.load_px)
    return _scale(picture, config.preprocess, load, config.crop_sides)


def scaled_pair(pictures: Sequence[np.ndarray], config: TransformConfig, whole: bool, path: str) -> Tensor:
    """`scaled` of pictures of one thing, laid upon each other as channels.

    Raises:
        UserError: scaling leaves them of different sizes.
    """
    with about(path):
        images = [scaled(picture, config, whole) for picture in pictures]
    return stacked(images, path)


def random_view(pixels: Tensor, config: TransformConfig, rng: np.random.Generator, path: str) -> Tensor:
    """The rest of the training transform: crops and mirrors as `config.preprocess` and `config.flip` say.

    Args:
        pixels: what `scaled` or `scaled_pair` returns.
        config: whether and how large to crop, and whether to mirror.
        rng: decides the crop's place and the mirroring.
        path: of the picture, for errors.

    Returns:
        `(C, H, W)` in [-1, 1].

    Raises:
        UserError: the picture is smaller than the crop.
    """
    if "crop" in config.preprocess:
        pixels = _random_crop(pixels, config.crop_sides, rng, path)
    if config.flip and rng.random() < 0.5:
        pixels = pixels.flip(2)  # before the conversion, for bytes are four times as quick to turn round
    return to_float(pixels)


def fixed_transform(picture: np.ndarray, config: TransformConfig, path: str) -> Tensor:
    """What sample sheets show: scaled as in training, the middle of it, never mirrored. `(C, H, W)` in [-1, 1]."""
    return to_float(_middle(_scale_for_show(picture, config), config, path))


def fixed_pair_transform(pictures: Sequence[np.ndarray], config: TransformConfig, path: str) -> tuple[Tensor, ...]:
    """`fixed_transform` of pictures of one thing.

    Raises:
        UserError: scaling leaves them of different sizes, or smaller than the crop.
    """
    images = [_scale_for_show(picture, config) for picture in pictures]
    shown = to_float(_middle(stacked(images, path), config, path))
    return shown.split([len(image) for image in images])


def _scale_for_show(picture: np.ndarray, config: TransformConfig) -> Tensor:
    load = both_sides(config.load_px) if config.preprocess == "scale_width" else config.crop_sides
    return _scale(picture, config.preprocess, load, config.crop_sides)


def _middle(image: Tensor, config: TransformConfig, path: str) -> Tensor:
    if "crop" in config.preprocess:
        _check_size(image, config.crop_sides, path)
        image = center_crop(image, config.crop_sides)
    return image


def stacked(images: Sequence[Tensor], path: str) -> Tensor:
    """Images laid upon each other as channels, in 8 bits if all are."""
    sizes = [f"{image.shape[2]}x{image.shape[1]}" for image in images]
    if len(set(sizes)) > 1:
        raise UserError(
            f"{path}: a pair of different sizes ({' and '.join(sizes)} px after data.preprocess); scale one picture, "
            "or set data.preprocess to resize_and_crop"
        )
    if len(images) == 1:
        return images[0]
    same_kind = len({image.dtype for image in images}) == 1
    return torch.cat(list(images) if same_kind else [to_float(image) for image in images])


def _scale(picture: np.ndarray, preprocess: str, load: tuple[int, int], crop: tuple[int, int]) -> Tensor:
    """The geometry of the authors' preprocessing, with an anti-aliased bicubic filter.

    It differs in one place: the short side is scaled to `data.load_px` always, not only where it is shorter. Of a
    rectangle `load` (height, width) it means the side that makes the picture cover it.
    """
    height, width = picture.shape[:2]
    if preprocess == "resize_and_crop":
        size = load
    elif preprocess.startswith("scale_width"):
        size = (max(round(load[1] * height / width), crop[0]), load[1])
    elif preprocess == "scale_shortside_and_crop":
        by_height = load[0] * width >= load[1] * height
        size = (load[0], round(width * load[0] / height)) if by_height else (round(height * load[1] / width), load[1])
    else:
        size = (height, width)
    if "crop" not in preprocess:
        height, width = (max(MULTIPLE_PX * 2, round(side / MULTIPLE_PX) * MULTIPLE_PX) for side in size)
        size = (height, width)
    return resized(picture, size)


def resized(picture: np.ndarray, size: tuple[int, int]) -> Tensor:
    """Scaled by an anti-aliased bicubic filter where sizes differ: 8 bits in 8 bits, the fast path, others in floats.

    Args:
        picture: `(H, W, C)` uint8, uint16, or float32 in [-1, 1].
        size: height and width to scale to.

    Returns:
        `(C, *size)`, contiguous, uint8, or float in [-1, 1] of all others.

    Raises:
        UserError: It would be larger than any picture that is read; the line lacks the file's name.
    """
    if size[0] * size[1] > max_megapixels() * 1e6:
        raise UserError(
            f"{picture.shape[1]}x{picture.shape[0]} px would be scaled to {size[1]}x{size[0]} px, more than "
            f"{max_megapixels():g} megapixels, the bound of --max-megapixels and data.max_megapixels"
        )
    if picture.dtype == np.uint8:
        image = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)
    else:
        image = to_tensor(picture)
    if size != picture.shape[:2]:
        image = resize(image, *size, "bicubic")
    return image.contiguous() if image.dtype == torch.uint8 else image.clamp(-1.0, 1.0)


def _random_crop(image: Tensor, crop: tuple[int, int], rng: np.random.Generator, path: str) -> Tensor:
    _check_size(image, crop, path)
    top = int(rng.integers(image.shape[1] - crop[0] + 1))
    left = int(rng.integers(image.shape[2] - crop[1] + 1))
    return image[:, top : top + crop[0], left : left + crop[1]]


def _check_size(image: Tensor, crop: tuple[int, int], path: str) -> None:
    height, width = image.shape[1:]
    if height < crop[0] or width < crop[1]:
        size = crop[0] if crop[0] == crop[1] else f"{crop[1]}x{crop[0]}"
        raise UserError(
            f"{path}: {width}x{height} px is smaller than the crop of {size} px; "
            "lower data.crop_px or set data.preprocess to one that scales, e.g. resize_and_crop"
        )
