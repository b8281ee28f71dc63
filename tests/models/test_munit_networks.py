"""MUNIT's networks, whose outputs whole steps compare with the authors' (methods/test_munit_golden.py)."""

import pytest
import torch

from cut.methods.munit import MUNITConfig, _build_domain
from cut.models.multiscale_discriminator import MultiscaleDiscriminator
from cut.models.munit import AdaINDecoder, AdaINResidualBlock, ContentEncoder, LayerNorm, StyleEncoder

ROUNDING = 3e-7  # of the stored outputs, which are float32


def wide():
    """MUNIT's networks of one domain at the authors' widths."""
    torch.manual_seed(0)
    return _build_domain(MUNITConfig(), 3)._asdict()


@pytest.mark.parametrize("case", [0, 1], ids=["two images", "one image"])
def test_layer_norm_equals_the_authors(golden, case):
    expected = golden("munit_drit_layers")["layernorm"][case]
    norm = LayerNorm(4).double()
    norm.load_state_dict({"weight": expected["gamma"], "bias": expected["beta"]})
    output = norm(expected["image"].double())
    torch.testing.assert_close(output.float(), expected["output"], rtol=0, atol=ROUNDING)
    output.square().mean().backward()
    norms = torch.stack([norm.weight.grad.norm(), norm.bias.grad.norm()])
    torch.testing.assert_close(norms.float(), expected["grad_norms"], rtol=1e-6, atol=0)
    # torch's own norm, which DRIT has, is another one
    theirs = torch.nn.functional.group_norm(expected["image"].double(), 1, norm.weight, norm.bias)
    assert (output - theirs).abs().max() > 1e-3


def test_layer_norm_keeps_bfloat16_and_computes_in_float32():
    image = torch.randn(2, 4, 6, 5).bfloat16() + 100  # of which bfloat16 has but steps of 0.5
    norm = LayerNorm(4)
    output = norm(image)
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output, norm(image.float()).bfloat16())


def test_initial_spread_and_sizes_equal_the_authors(golden):
    expected, networks = golden("munit_drit_layers"), wide()
    counts = {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}
    assert counts["discriminator"] == expected["munit_parameters"]["discriminator"]
    assert sum(counts.values()) - counts["discriminator"] == expected["munit_parameters"]["generator"]
    for name, network in networks.items():
        ours, theirs = dict(network.named_parameters()), expected["munit"][name]
        for key, parameter in ours.items():
            if key not in theirs:
                assert not parameter.any(), key  # biases
                continue
            # The spread of n draws is itself uncertain by 1 / sqrt(2 n); five of that, on either side.
            tolerance = 10 / (2 * parameter.numel()) ** 0.5
            assert float(parameter.detach().std()) == pytest.approx(theirs[key], rel=tolerance), key
    assert ours.keys() == networks["discriminator"].state_dict().keys()


def test_layer_norm_starts_with_scales_between_0_and_1():
    weight = LayerNorm(1000).weight.detach()
    assert weight.min() >= 0 and weight.max() < 1 and float(weight.mean()) == pytest.approx(0.5, abs=0.05)


def test_an_image_is_content_and_style_and_back():
    image = torch.rand(2, 3, 32, 24) * 2 - 1
    content, style = ContentEncoder(3, 4, 1)(image), StyleEncoder(3, 4, 5)(image)
    assert content.shape == (2, 16, 8, 6) and style.shape == (2, 5)
    output = AdaINDecoder(1, 4, 2, 5, 8)(content, style)
    assert output.shape == (2, 1, 32, 24) and output.abs().max() <= 1


def test_a_style_sets_mean_and_deviation_of_each_channel():
    """Without convolutions' sum with x: the second norm's bias and scale are what the style says."""
    block, x = AdaINResidualBlock(3), torch.randn(2, 3, 16, 16)
    affine = torch.randn(2, 12)
    change = block(x, affine) - x
    bias, scale = affine[:, 6:9], affine[:, 9:]
    torch.testing.assert_close(change.mean((2, 3)), bias, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(change.std((2, 3), correction=0), scale.abs(), rtol=1e-2, atol=1e-3)


def test_discriminator_judges_three_sizes():
    scores = MultiscaleDiscriminator(3, 2)(torch.rand(2, 3, 256, 256))
    assert [score.shape for score in scores] == [(2, 1, side, side) for side in (16, 8, 4)]


@pytest.mark.parametrize(("num_layers", "num_scales", "smallest"), [(4, 3, 61), (4, 2, 31), (3, 3, 29)])
def test_discriminator_knows_the_smallest_image(num_layers, num_scales, smallest):
    network = MultiscaleDiscriminator(3, 2, num_layers, num_scales)
    assert network.min_size_px == smallest
    assert network(torch.rand(1, 3, smallest, smallest))[-1].numel() == 1
    with pytest.raises(RuntimeError):
        network(torch.rand(1, 3, smallest - 1, smallest - 1))


def test_borders_do_not_count_when_the_image_is_halved():
    """A constant image stays one at every scale, so that equal weights give equal scores."""
    network = MultiscaleDiscriminator(3, 2, num_scales=2)
    network.scales[1].load_state_dict(network.scales[0].state_dict())
    one, other = network(torch.full((1, 3, 64, 64), 0.5))
    torch.testing.assert_close(one.mean(), other.mean())
    torch.testing.assert_close(one.std(), torch.zeros(()), atol=1e-6, rtol=0)


def test_smallest_images_of_the_encoders():
    for network in (ContentEncoder(3, 2, 1), StyleEncoder(3, 2, 2)):
        network(torch.rand(1, 3, network.min_size_px, network.min_size_px))
        side = network.min_size_px - network.stride
        with pytest.raises((RuntimeError, ValueError)):
            network(torch.rand(1, 3, side, side))
