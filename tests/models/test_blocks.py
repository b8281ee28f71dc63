"""Layers that several networks share, against plain formulas in float64."""

import pytest
import torch
import torch.nn.functional as F
from fixed import formula_image

from cut.kernels.instance_norm import InstanceNorm
from cut.models.blocks import BlurDownsample, BlurUpsample, ReflectionPad
from cut.models.patch_discriminator import PatchDiscriminator
from cut.models.resnet import ResnetGenerator

LAYOUTS = (torch.contiguous_format, torch.channels_last)


def normalised(x):
    """Ulyanov et al. 2016, equation 4."""
    variance, mean = torch.var_mean(x, dim=(2, 3), correction=0, keepdim=True)
    return (x - mean) / (variance + 1e-5).sqrt()


@pytest.mark.parametrize("kind, tolerance", [(torch.float64, 1e-12), (torch.float32, 1e-6), (torch.bfloat16, 6e-3)])
@pytest.mark.parametrize("count", [1, 2])
def test_instance_norm_equals_its_formula_for_every_layout_of_its_gradient(count, kind, tolerance):
    random = torch.Generator().manual_seed(0)
    image, slope = (torch.randn(count, 3, 9, 7, generator=random).to(kind) for _ in range(2))
    exact = image.double().requires_grad_()
    expected = normalised(exact)
    (expected_gradient,) = torch.autograd.grad(expected, exact, slope.double())
    for layout in LAYOUTS:
        x = image.clone().requires_grad_()
        output = InstanceNorm(3)(x)
        (gradient,) = torch.autograd.grad(output, x, slope.contiguous(memory_format=layout))
        for ours, theirs in ((output.detach(), expected.detach()), (gradient, expected_gradient)):
            assert ours.dtype == kind
            assert float((ours.double() - theirs).norm() / theirs.norm()) < tolerance


def test_instance_norm_keeps_float32_at_the_papers_size():
    """A sum pixel after pixel loses two of the digits."""
    x = torch.randn(1, 2, 256, 256, generator=torch.Generator().manual_seed(0)) + 1.0
    expected = normalised(x.double())
    assert float((InstanceNorm(2)(x) - expected).norm() / expected.norm()) < 3e-7


def test_instance_norm_has_second_derivatives(double):
    x = torch.randn(2, 2, 3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradgradcheck(InstanceNorm(2), x)


def test_instance_norm_of_one_pixel_is_refused():
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        InstanceNorm(2)(torch.zeros(1, 2, 1, 1))


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


def test_networks_stay_in_bfloat16_and_in_one_layout_under_autocast():
    seen = {}

    def look(module, inputs, output):
        seen.setdefault(type(module).__name__, set()).add(
            (output.dtype, output.is_contiguous(memory_format=torch.channels_last))
        )

    generator, discriminator = ResnetGenerator(base_channels=4, num_blocks=2), PatchDiscriminator(base_channels=4)
    for layer in [*generator.layers[1:-1], *generator.layers[12].layers, *discriminator.layers[:-1]]:
        layer.register_forward_hook(look)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        discriminator(generator(formula_image(2, 3, 32)))
    assert {"Conv2d", "InstanceNorm", "ReLU", "LeakyReLU", "BlurDownsample", "BlurUpsample", "ReflectionPad"} <= {*seen}
    assert all(states == {(torch.bfloat16, True)} for states in seen.values()), seen


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
