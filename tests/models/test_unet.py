"""The U-Net against the authors' implementation, with weights and images from formulas (tests/fixed.py)."""

import pytest
import torch
from fixed import fill_by_formula, formula_image

from cut.models.unet import UnetGenerator

UNETS = {
    "unet128_batch": lambda: UnetGenerator(base_channels=8, image_px=128, dropout=0.0),
    "unet64_instance": lambda: UnetGenerator(base_channels=8, image_px=64, norm="instance", dropout=0.0),
}


@pytest.mark.parametrize("name", UNETS)
def test_output_and_gradients_equal_the_authors(name, golden):
    expected = golden("unet")[name]
    network = fill_by_formula(UNETS[name]().double())
    output = network(formula_image(2, 3, network.stride).double())
    (output**2).mean().backward()
    torch.testing.assert_close(output[:, :, ::5, ::5].float(), expected["output"], rtol=1e-6, atol=1e-7)
    norms = torch.stack([p.grad.norm() for p in network.parameters()])
    # Absolute tolerance: a bias before an instance norm has no gradient but rounding.
    torch.testing.assert_close(norms.float(), expected["grad_norms"], rtol=1e-5, atol=1e-7 * float(norms.max()))


def test_the_papers_unet_has_the_published_size():
    with torch.device("meta"):
        network = UnetGenerator()
    assert sum(p.numel() for p in network.parameters()) == 54_413_955  # the public checkpoints' 54.414 M
    assert len(network.state_dict()) == 82


@pytest.mark.parametrize("image_px, levels", [(32, 0), (64, 1), (128, 2), (256, 3), (512, 4)])
def test_dropout_sits_in_the_inner_levels_of_full_width(image_px, levels):
    with torch.device("meta"):
        network = UnetGenerator(image_px=image_px)
    behind = [up[-1].p for up in network.up if isinstance(up[-1], torch.nn.Dropout)]
    assert behind == [0.5] * levels
    assert not any(isinstance(layer, torch.nn.Dropout) for layer in network.up[0])  # the innermost


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_one_image_of_the_smallest_size_trains(norm):
    torch.manual_seed(0)
    network = UnetGenerator(1, 2, base_channels=2, image_px=32, norm=norm)
    output = network(formula_image(1, 1, 32))
    output.square().mean().backward()
    assert output.shape == (1, 2, 32, 32)
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


def test_larger_images_pass_where_the_sides_are_multiples():
    network = UnetGenerator(base_channels=2, image_px=32)
    assert network(torch.zeros(1, 3, 64, 96)).shape == (1, 3, 64, 96)


def test_a_size_that_is_no_power_of_two_is_refused():
    with pytest.raises(ValueError, match="power of two from 32, got 100"):
        UnetGenerator(image_px=100)
