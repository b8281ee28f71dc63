"""Resizing and cropping tensors as torchvision does, bit for bit, without the time that it takes to import."""

import torch.nn.functional as F
from torch import Tensor

from cut.config.sides import both_sides


def resize(image: Tensor, height: int, width: int, mode: str) -> Tensor:
    """`(C, H, W)`, uint8 or float -> `(C, height, width)` of the same type, anti-aliased.

    Args:
        mode: `bilinear` or `bicubic`, which reaches beyond [-1, 1].
    """
    if image.shape[1:] == (height, width):
        return image
    return F.interpolate(image[None], (height, width), mode=mode, antialias=True)[0]


def center_crop(image: Tensor, size_px: int | tuple[int, int]) -> Tensor:
    """The middle of `(C, H, W)`, which is at least as large: a square, or of a height and a width."""
    height, width = both_sides(size_px)
    top, left = round((image.shape[1] - height) / 2), round((image.shape[2] - width) / 2)
    return image[:, top : top + height, left : left + width]
