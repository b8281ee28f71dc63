"""DRIT's networks, whose outputs whole steps compare with the authors' (methods/test_drit_golden.py)."""

import pytest
import torch

from cut.methods.drit import DRIT, DRITConfig
from cut.models.drit import (
    ConcatDecoder,
    ContentDiscriminator,
    ContentEncoder,
    FeatureDecoder,
    GaussianAttributeEncoder,
    with_constant_maps,
)


class Networks:
    channels, image_px = {"a": 3, "b": 3}, 256


def wide(injection):
    """The method with the authors' widths."""
    torch.manual_seed(0)
    return DRIT.build(DRITConfig(generator={"injection": injection}), Networks)


def count(method, *names):
    return sum(p.numel() for name in names for p in method.get_submodule(name).parameters())


@pytest.mark.parametrize("injection", ["concat", "feature"])
def test_initial_spread_and_sizes_equal_the_authors(golden, injection):
    expected, method = golden("munit_drit_layers"), wide(injection)
    numbers, suffix = expected["drit_parameters"], "_concat" if injection == "concat" else ""
    assert count(method, "content_encoder") == numbers["E_content"]
    assert count(method, "attribute_encoder_a", "attribute_encoder_b") == numbers[f"E_attr{suffix}"]
    assert count(method, "decoder") == numbers[f"G{suffix}"]
    for name in ("discriminator_a", "discriminator_random_b"):
        assert count(method, name) == numbers["MultiScaleDis"]
    assert count(method, "content_discriminator") == numbers["Dis_content"]
    for name, theirs in expected[f"drit_{injection}"].items():
        ours = method.get_submodule(name).state_dict()
        for key, deviation in theirs.items():
            # The spread of n draws is itself uncertain by 1 / sqrt(2 n); five of that, on either side.
            tolerance = 10 / (2 * ours[key].numel()) ** 0.5
            assert float(ours[key].std(correction=int(ours[key].std() > 0))) == pytest.approx(
                deviation, rel=tolerance, abs=1e-7
            ), f"{name}.{key}"


def test_an_image_is_content_and_attribute_and_back():
    image = torch.rand(2, 3, 30, 25) * 2 - 1
    encoder = ContentEncoder({"a": 3, "b": 3}, 4)
    content = encoder(image, "a")
    assert (content - encoder(image, "b")).abs().max() > 1e-3  # each domain has layers of its own
    assert content.shape == (2, 16, 8, 7)  # rounded up
    mean, log_variance = GaussianAttributeEncoder(3, 4, 5)(image)
    assert mean.shape == log_variance.shape == (2, 5)
    for kind in (ConcatDecoder, FeatureDecoder):
        decoder = kind({"a": 3, "b": 1}, 4, 5)
        output = decoder(content, mean, "b")
        assert output.shape == (2, 1, 32, 28) and output.abs().max() <= 1
        assert decoder(content, mean, "a").shape == (2, 3, 32, 28)


@pytest.mark.parametrize("kind", [ConcatDecoder, FeatureDecoder])
def test_decoders_look_at_the_attribute(kind):
    decoder, content = kind({"a": 3, "b": 3}, 4, 5), torch.randn(1, 16, 4, 4)
    one, other = decoder(content, torch.zeros(1, 5), "b"), decoder(content, torch.ones(1, 5), "b")
    assert (one - other).abs().mean() > 1e-3


def test_a_vector_becomes_constant_maps_behind_the_others():
    maps = with_constant_maps(torch.zeros(2, 3, 4, 5), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert maps.shape == (2, 5, 4, 5)
    assert torch.equal(maps[:, 3:].amax((2, 3)), torch.tensor([[1.0, 2.0], [3.0, 4.0]])) and not maps[:, :3].any()


@pytest.mark.parametrize(("num_layers", "smallest"), [(3, 209), (2, 97), (1, 41), (0, 13)])
def test_content_discriminator_knows_the_smallest_image(num_layers, smallest):
    network, side = ContentDiscriminator(2, num_layers), -(-smallest // 4)
    assert network.min_size_px == smallest
    assert network(torch.rand(1, 2, side, side)).shape == (1, 1, 1, 1)
    with pytest.raises(RuntimeError):
        network(torch.rand(1, 2, side - 1, side - 1))


def test_content_of_256_px_leaves_four_scores():
    assert ContentDiscriminator(2)(torch.rand(1, 2, 64, 64)).shape == (1, 1, 2, 2)
