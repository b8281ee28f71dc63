"""Differentiable augmentation of all that a discriminator sees (DiffAugment: Zhao et al., NeurIPS 2020).

D judges real and generated images after the same kinds of random changes, in its own updates and in the generator's,
whose gradient flows through them. So D cannot learn few real images by heart, and G does not learn the changes.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cut.runtime.sharding import draw_rows

_SHIFT = 0.125  # largest shift, as a share of the side
_CUT = 0.5  # side of the hole, as a share of the image's


class Augmentation:
    """Changes each image at random; a hook before a discriminator's forward pass (`register_forward_pre_hook`).

    Args:
        kinds: Names of `AUGMENTATIONS`, in their order.
        channels: Channels of each image where several lie one behind the other, as in a conditional discriminator: all
            change alike, and colours within each.
    """

    def __init__(self, kinds: Sequence[str], channels: Sequence[int]):
        self.kinds, self.channels = kinds, channels

    def __call__(self, discriminator: nn.Module, images: tuple[Any, ...]) -> tuple[Any, ...]:
        image, *others = images
        for kind in self.kinds:
            image = AUGMENTATIONS[kind](image, self.channels)
        return image, *others


def change_colour(image: Tensor, channels: Sequence[int]) -> Tensor:
    """Brightness within +-0.5, then saturation times 0 to 2, then contrast times 0.5 to 1.5."""
    brightness, saturation, contrast = _draw(image, 3).view(-1, 3, 1, 1, 1).unbind(1)  # (N, 1, 1, 1) each
    changed = []
    for part in image.split(list(channels), dim=1):
        part = part + (brightness - 0.5)
        grey = part.mean(1, keepdim=True)
        part = (part - grey) * (2.0 * saturation) + grey
        mean = part.mean((1, 2, 3), keepdim=True)
        changed.append((part - mean) * (contrast + 0.5) + mean)
    return torch.cat(changed, dim=1)


def translate(image: Tensor, channels: Sequence[int]) -> Tensor:
    """A shift by up to an eighth of either side; what comes in from outside is 0."""
    most, places = [int(side * _SHIFT + 0.5) for side in image.shape[2:]], []
    for draw, side, limit in zip(_draw(image, 2).unbind(1), image.shape[2:], most, strict=True):
        first = (draw * (2 * limit + 1)).long().unsqueeze(1)  # (N, 1), 0 to 2 * limit
        places.append(first + torch.arange(side, device=image.device))  # (N, side)
    padded = F.pad(image, (most[1], most[1], most[0], most[0])).permute(0, 2, 3, 1)  # (N, H, W, C)
    images = torch.arange(len(image), device=image.device).view(-1, 1, 1)
    return padded[images, places[0].unsqueeze(2), places[1].unsqueeze(1)].permute(0, 3, 1, 2)


def cut_out(image: Tensor, channels: Sequence[int]) -> Tensor:
    """A hole of 0 with half the image's sides, whose middle is anywhere."""
    inside = []
    for draw, side in zip(_draw(image, 2).unbind(1), image.shape[2:], strict=True):
        size = int(side * _CUT + 0.5)
        first = (draw * (side + 1 - size % 2)).long().unsqueeze(1) - size // 2  # (N, 1)
        place = torch.arange(side, device=image.device)
        inside.append((place >= first) & (place < first + size))  # (N, side)
    hole = inside[0].unsqueeze(2) & inside[1].unsqueeze(1)  # (N, H, W)
    return image * (~hole).unsqueeze(1)


AUGMENTATIONS: dict[str, Callable[[Tensor, Sequence[int]], Tensor]] = {
    "color": change_colour,
    "translation": translate,
    "cutout": cut_out,
}


def _draw(image: Tensor, count: int) -> Tensor:
    """Numbers in [0, 1) for each image, `(N, count)`; drawn on the CPU, the same for every device."""
    return draw_rows(lambda rows: torch.rand(rows, count), len(image)).to(image)
