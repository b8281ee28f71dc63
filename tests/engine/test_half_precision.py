import pytest
import torch
import torch.nn.functional as F
from fixed import fill_by_formula, formula_image

from cut.engine.half_precision import half_precision
from cut.models.resnet_generator import ResnetGenerator

CPU = torch.device("cpu")


def _in_half(function, x):
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16), half_precision(CPU):
        return function(x)


def _normalised(x):
    """Instance norm in float64 (Ulyanov et al., arXiv:1607.08022, equation 2)."""
    x = x.double()
    return (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), keepdim=True, correction=0) + 1e-5).sqrt()


@pytest.mark.parametrize("count", [1, 3])
def test_instance_norms_statistics_are_float32(count):
    torch.manual_seed(0)
    x = (torch.randn(count, 4, 64, 64) + torch.arange(5.0, 5.0 + count)[:, None, None, None]).bfloat16()
    out = _in_half(F.instance_norm, x)
    assert out.dtype == torch.bfloat16
    assert out.double().mean((2, 3)).abs().max() < 2e-3 < F.instance_norm(x).double().mean((2, 3)).abs().max()
    assert (out.double() - _normalised(x)).abs().max() < 2**-6  # half a step of 8 bits below 4


def test_affine_instance_norm_is_kept():
    x, weight, bias = formula_image(2, 3, 16).bfloat16(), torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.5, 0.0, -1.0])
    out = _in_half(lambda x: F.instance_norm(x, None, None, weight, bias), x)
    want = _normalised(x) * weight[:, None, None] + bias[:, None, None]
    assert (out.double() - want).abs().max() < 2**-5


def test_generator_in_half_precision_is_about_as_close_to_float32_as_torchs():
    network, image = fill_by_formula(ResnetGenerator(base_channels=8, num_blocks=1)).eval(), formula_image(2, 3, 64)
    with torch.inference_mode():
        exact = network(image)
        with torch.autocast("cpu", torch.bfloat16):
            torchs = network(image)
    ours = _in_half(network, image)
    errors = [(x.float() - exact).square().mean().sqrt().item() for x in (ours, torchs)]
    assert 0 < errors[0] < 1.5 * errors[1] and errors[0] < 0.1 * exact.std().item()


def test_nothing_changes_in_float32():
    network, image = fill_by_formula(ResnetGenerator(base_channels=4, num_blocks=1)).eval(), formula_image(1, 3, 32)
    with torch.inference_mode():
        before = network(image)
        with half_precision(CPU):
            assert torch.equal(network(image), before)
