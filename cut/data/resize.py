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


def center_crop(image: Tensor, size_px: int) -> Tensor:
    """The middle `(C, size_px, size_px)` of `(C, H, W)`, which is at least as large."""
    top, left = (round((side - size_px) / 2) for side in image.shape[1:])
    return image[:, top : top + size_px, left : left + size_px]
