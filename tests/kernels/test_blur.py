"""Anti-aliased resampling against plain formulas in float64."""

import pytest
import torch
import torch.nn.functional as F
from fixed import formula_image

from cut.kernels.blur import BlurDownsample, BlurUpsample


@pytest.mark.parametrize("height, width", [(6, 8), (5, 7)])
def test_blur_halves_with_weights_1_2_1_and_mirrored_borders(double, height, width):
    x = formula_image(2, 3, 8)[:, :, :height, :width].double().requires_grad_()
    rows, columns = (torch.zeros((size + 1) // 2, size) for size in (height, width))
    for matrix, size in ((rows, height), (columns, width)):
        for place in range(len(matrix)):
            for offset, weight in ((-1, 0.25), (0, 0.5), (1, 0.25)):
                source = abs(2 * place + offset)
                matrix[place, source if source < size else 2 * (size - 1) - source] += weight
    blur = BlurDownsample(3)
    torch.testing.assert_close(blur(x), rows @ x @ columns.T)
    assert torch.autograd.gradcheck(blur, x) and torch.autograd.gradgradcheck(blur, x)


def test_blur_doubles_as_the_binomial_kernel_1_3_3_1_does(double):
    """Zhang 2019: zeros between the pixels, convolved, the border repeated, as the authors' code has it."""
    x = formula_image(2, 3, 6).double()
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    kernel = (torch.outer(taps, taps) / 16).expand(3, 1, 4, 4)
    spread = F.conv_transpose2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernel, stride=2, padding=3, groups=3)
    torch.testing.assert_close(BlurUpsample(3)(x), spread)
