"""From a decoded picture to the tensor that the networks see, and back."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from cut.config import TransformConfig
from cut.data.resize import center_crop, resize
from cut.errors import UserError

MULTIPLE_PX = 4  # the generators halve twice, so pictures that are not cropped are scaled to a multiple of it


def to_tensor(picture: np.ndarray) -> Tensor:
    """`(H, W, C)` uint8 or uint16 -> `(C, H, W)` float in [-1, 1]."""
    full = 65535.0 if picture.dtype == np.uint16 else 255.0
    return torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1).contiguous() * (2.0 / full) - 1.0


def to_picture(image: Tensor, dtype: type = np.uint8) -> np.ndarray:
    """`(C, H, W)` float in [-1, 1], clamped and rounded -> `(H, W, C)` uint8 or uint16."""
    full = 65535.0 if dtype == np.uint16 else 255.0
    unit = image.detach().float().cpu().clamp(-1.0, 1.0).add(1.0).mul(0.5 * full).round()
    return unit.permute(1, 2, 0).numpy().astype(dtype)


def random_transform(
    picture: np.ndarray, config: TransformConfig, rng: np.random.Generator, whole: bool, path: str
) -> Tensor:
    """The training transform: scales, crops and mirrors as `config.preprocess` and `config.flip` say.

    Args:
        picture: `(H, W, C)`, uint8 or uint16.
        config: which transform, and its sizes.
        rng: decides the crop's place and the mirroring.
        whole: scale to the crop's size instead of cropping (the authors' code, while the rate decays).
        path: of the picture, for errors.

    Returns:
        `(C, H, W)` in [-1, 1].

    Raises:
        UserError: the picture is smaller than the crop.
    """
    return _random_view(_scale_for_training(picture, config, whole), config, rng, path)


def random_pair_transform(
    pictures: Sequence[np.ndarray], config: TransformConfig, rng: np.random.Generator, whole: bool, path: str
) -> tuple[Tensor, ...]:
    """`random_transform` of pictures of one thing: the crop and the mirroring are drawn once and the same for all.

    Raises:
        UserError: a picture is smaller than the crop, or scaling leaves them of different sizes.
    """
    images = [_scale_for_training(picture, config, whole) for picture in pictures]
    return _together(images, path, lambda stacked: _random_view(stacked, config, rng, path))


def fixed_transform(picture: np.ndarray, config: TransformConfig, path: str) -> Tensor:
    """What sample sheets show: scaled as in training, the middle of it, never mirrored. `(C, H, W)` in [-1, 1]."""
    return _middle(_scale_for_show(picture, config), config, path)


def fixed_pair_transform(pictures: Sequence[np.ndarray], config: TransformConfig, path: str) -> tuple[Tensor, ...]:
    """`fixed_transform` of pictures of one thing.

    Raises:
        UserError: as `random_pair_transform`.
    """
    images = [_scale_for_show(picture, config) for picture in pictures]
    return _together(images, path, lambda stacked: _middle(stacked, config, path))


def _scale_for_training(picture: np.ndarray, config: TransformConfig, whole: bool) -> Tensor:
    return _scale(picture, config.preprocess, config.crop_px if whole else config.load_px, config.crop_px)


def _scale_for_show(picture: np.ndarray, config: TransformConfig) -> Tensor:
    load_px = config.load_px if config.preprocess == "scale_width" else config.crop_px
    return _scale(picture, config.preprocess, load_px, config.crop_px)


def _random_view(image: Tensor, config: TransformConfig, rng: np.random.Generator, path: str) -> Tensor:
    if "crop" in config.preprocess:
        image = _random_crop(image, config.crop_px, rng, path)
    if config.flip and rng.random() < 0.5:
        image = image.flip(2)
    return image


def _middle(image: Tensor, config: TransformConfig, path: str) -> Tensor:
    if "crop" in config.preprocess:
        _check_size(image, config.crop_px, path)
        image = center_crop(image, config.crop_px)
    return image


def _together(images: Sequence[Tensor], path: str, view: Callable[[Tensor], Tensor]) -> tuple[Tensor, ...]:
    """One view of all images, laid upon each other as channels."""
    sizes = [f"{image.shape[2]}x{image.shape[1]}" for image in images]
    if len(set(sizes)) > 1:
        raise UserError(
            f"{path}: a pair of different sizes ({' and '.join(sizes)} px after data.preprocess); scale one picture, "
            "or set data.preprocess to resize_and_crop"
        )
    return view(torch.cat(list(images))).split([len(image) for image in images])


def _scale(picture: np.ndarray, preprocess: str, load_px: int, crop_px: int) -> Tensor:
    """The geometry of the authors' preprocessing, with an anti-aliased bicubic filter.

    It differs in one place: the short side is scaled to `load_px` always, not only where it is shorter.
    """
    height, width = picture.shape[:2]
    if preprocess == "resize_and_crop":
        size = (load_px, load_px)
    elif preprocess.startswith("scale_width"):
        size = (max(round(load_px * height / width), crop_px), load_px)
    elif preprocess == "scale_shortside_and_crop":
        short = min(height, width)
        size = (round(height * load_px / short), round(width * load_px / short))
    else:
        size = (height, width)
    if "crop" not in preprocess:
        height, width = (max(MULTIPLE_PX * 2, round(side / MULTIPLE_PX) * MULTIPLE_PX) for side in size)
        size = (height, width)
    return resized(picture, size)


def resized(picture: np.ndarray, size: tuple[int, int]) -> Tensor:
    """`(H, W, C)` uint8 or uint16 -> `(C, *size)` in [-1, 1], by an anti-aliased bicubic filter where sizes differ."""
    if size == picture.shape[:2]:
        return to_tensor(picture)
    if picture.dtype == np.uint8:  # scaled in 8 bits, the fast path
        pixels = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)
        pixels = resize(pixels, *size, "bicubic")
        return pixels.float() * (2.0 / 255.0) - 1.0
    return resize(to_tensor(picture), *size, "bicubic").clamp(-1.0, 1.0)


def _random_crop(image: Tensor, crop_px: int, rng: np.random.Generator, path: str) -> Tensor:
    _check_size(image, crop_px, path)
    top = int(rng.integers(image.shape[1] - crop_px + 1))
    left = int(rng.integers(image.shape[2] - crop_px + 1))
    return image[:, top : top + crop_px, left : left + crop_px]


def _check_size(image: Tensor, crop_px: int, path: str) -> None:
    height, width = image.shape[1:]
    if min(height, width) < crop_px:
        raise UserError(
            f"{path}: {width}x{height} px is smaller than the crop of {crop_px} px; "
            "lower data.crop_px or set data.preprocess to one that scales, e.g. resize_and_crop"
        )
