"""Borders of feature maps."""

import pytest
import torch

from cut.kernels.padding import ReflectionPad


def test_mirrored_borders_are_those_of_the_picture():
    row = torch.arange(4.0).view(1, 1, 1, 4).expand(1, 1, 4, 4)
    assert ReflectionPad(2)(row)[0, 0, 0].tolist() == [2, 1, 0, 1, 2, 3, 2, 1]


@pytest.mark.parametrize("pixels", [1, 3])
def test_borders_made_of_parts_are_those_of_torch(pixels):
    x, pad = torch.randn(2, 3, 6, 7, dtype=torch.float64, requires_grad=True), ReflectionPad(pixels)
    weights = torch.randn(2, 3, 6 + 2 * pixels, 7 + 2 * pixels, dtype=torch.float64)
    assert torch.equal(pad.by_parts(x), pad(x))
    ours, torchs = (torch.autograd.grad((f(x) * weights).sum(), x)[0] for f in (pad.by_parts, pad))
    torch.testing.assert_close(ours, torchs)
