"""Instance norm against its formula in float64."""

import pytest
import torch

from cut.kernels.instance_norm import InstanceNorm

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
