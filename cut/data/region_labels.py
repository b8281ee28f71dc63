"""Pictures whose colours say which regions of two other pictures belong together."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cut.data.images import read_image, to_8_bit

# Nine colours far apart: black, white, gray, red, green, blue, yellow, cyan, magenta.
_BASIC = ((0, 0, 0), (255, 255, 255), (128, 128, 128), (255, 0, 0), (0, 255, 0), (0, 0, 255))
_COLOURS = (*_BASIC, (255, 255, 0), (0, 255, 255), (255, 0, 255))


def read_region_labels(path: Path) -> Tensor:
    """Label 0 to 8 of each pixel, that of the nearest of nine colours: `(H, W)`.

    Raises:
        UserError: The picture is missing or broken.
    """
    pixels = to_8_bit(read_image(path, 3)).astype(np.int32)
    distances = [np.square(pixels - np.array(colour)).sum(axis=2) for colour in _COLOURS]
    return torch.from_numpy(np.argmin(distances, axis=0))
