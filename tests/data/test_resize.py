"""cut/data/resize.py against torchvision."""

import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from cut.data.resize import center_crop, resize


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["rows of pixels", "uint8", "float32"])
def test_resizing_is_torchvisions_bit_for_bit(kind, channels, mode):
    image = torch.randint(256, (40, 50, channels), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    image = image.permute(2, 0, 1)  # as pictures are read, channels last in memory
    image = image if kind == "rows of pixels" else image.contiguous()
    image = image.float() / 255.0 if kind == "float32" else image
    for size in ((40, 50), (64, 71), (17, 90), (13, 20)):
        expected = tv.resize(image, list(size), InterpolationMode(mode), antialias=True)
        assert torch.equal(resize(image, *size, mode), expected)


def test_the_middle_is_torchvisions():
    image = torch.arange(33.0 * 36).view(1, 33, 36)
    for size in (33, 32, 31, 8):
        assert torch.equal(center_crop(image, size), tv.center_crop(image, [size, size]))
