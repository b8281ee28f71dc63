"""Resizing and cropping tensors as torchvision does, bit for bit, without the time that it takes to import."""

import torch.nn.functional as F
from torch import Tensor


def resize(image: Tensor, height: int, width: int, mode: str) -> Tensor:
    """`(C, H, W)`, uint8 or float -> `(C, height, width)` of the same type, anti-aliased.

    Args:
        mode: `bilinear` or `bicubic`, which reaches beyond [-1, 1].
    """
    if image.shape[1:] == (height, width):
        return image
    return F.interpolate(image[None], (height, width), mode=mode, antialias=True)[0]


def center_crop(image: Tensor, size: tuple[int, int]) -> Tensor:
    """The middle `(C, *size)` of `(C, H, W)`, which is at least as large."""
    top, left = (round((side - part) / 2) for side, part in zip(image.shape[1:], size, strict=True))
    return image[:, top : top + size[0], left : left + size[1]]
