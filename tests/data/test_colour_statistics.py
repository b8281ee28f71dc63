"""Mean and deviation over all pixels of several pictures, weighed by their pixels, in whatever bit depth."""

import numpy as np
import pytest
import torch

from cut.data.colour_statistics import colour_statistics


def test_all_pixels_count_alike_whatever_the_sizes_and_the_order():
    one = torch.tensor([[[0, 255]], [[100, 100]]], dtype=torch.uint8)  # two channels, two pixels
    two = torch.tensor([[[255, 255, 255, 255]], [[100, 100, 100, 160]]], dtype=torch.uint8)
    found = colour_statistics([one, two])
    assert found == colour_statistics([two, one])
    assert found.mean == pytest.approx([2 * 5 / 6 - 1, 110 / 127.5 - 1], abs=1e-15)
    assert found.deviation == pytest.approx([2 * np.sqrt(5) / 6, np.sqrt(500) / 127.5], abs=1e-15)


def test_floats_and_bytes_of_one_picture_have_the_same_statistics():
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 5, 7), dtype=np.uint8))
    floats = pixels.double() / 127.5 - 1
    for own, other in zip(colour_statistics([pixels]), colour_statistics([floats.float()]), strict=True):
        assert own == pytest.approx(other, abs=1e-7)
    assert colour_statistics([pixels]).mean == pytest.approx(floats.mean((1, 2)).tolist(), abs=1e-14)
    assert colour_statistics([pixels]).deviation == pytest.approx(floats.std((1, 2), correction=0).tolist(), abs=1e-14)
