"""Networks against the authors' implementation, with weights and images from formulas (tests/fixed.py)."""

import pytest
import torch
from fixed import fill_by_formula, formula_image

from cut.models.blocks import AffineInstanceNorm
from cut.models.initialisation import initialise
from cut.models.patch_discriminator import PatchDiscriminator, PixelDiscriminator
from cut.models.residual_block import ResidualBlock
from cut.models.resnet import ResnetGenerator

NETWORKS = {
    "resnet9_antialias": lambda: ResnetGenerator(base_channels=8),
    "resnet6_strided": lambda: ResnetGenerator(base_channels=8, num_blocks=6, antialias_down=False, antialias_up=False),
    "resnet4_batch": lambda: ResnetGenerator(base_channels=8, num_blocks=4, norm="batch"),
    "patchgan3_antialias": lambda: PatchDiscriminator(base_channels=8),
    "patchgan3_strided": lambda: PatchDiscriminator(base_channels=8, antialias=False),
    "patchgan4_strided_batch_6ch": lambda: PatchDiscriminator(6, 8, num_layers=4, norm="batch", antialias=False),
    "pixelgan": lambda: PixelDiscriminator(base_channels=8),
}
TAPS = (0, 4, 8, 12, 16)


@pytest.mark.parametrize("name", NETWORKS)
def test_output_and_gradients_equal_the_authors(name, golden):
    expected = golden("networks")[name]
    network = fill_by_formula(NETWORKS[name]().double())  # in float32 the formula's weights lose four of seven digits
    image = formula_image(2, 6 if "6ch" in name else 3, 64).double()
    output = network(image)
    (output**2).mean().backward()
    torch.testing.assert_close(output[:, :, ::5, ::5].float(), expected["output"], rtol=1e-6, atol=1e-7)
    norms = torch.stack([p.grad.norm() for p in network.parameters()])
    # Absolute tolerance: a bias before an instance norm has no gradient but rounding.
    torch.testing.assert_close(norms.float(), expected["grad_norms"], rtol=1e-5, atol=1e-7 * float(norms.max()))


@pytest.mark.parametrize("name", ["resnet9_antialias", "resnet6_strided"])
def test_features_equal_the_authors(name, golden):
    expected = golden("networks")[name]["features"]
    network = fill_by_formula(NETWORKS[name]().double())
    image = formula_image(2, 3, 64).double()
    output, features = network.forward_with_features(image, TAPS)
    for tap, feature, encoded in zip(TAPS, features, network.encode(image, TAPS), strict=True):
        torch.testing.assert_close(feature[:, :4, ::7, ::7].float(), expected[str(tap)], rtol=1e-6, atol=1e-6)
        assert torch.equal(feature, encoded)
    assert torch.equal(output, network(image))
    assert network.feature_channels(TAPS) == [f.shape[1] for f in features]


@pytest.mark.parametrize(
    "name, build",
    [
        ("resnet", lambda: ResnetGenerator(3, 3, 4, 2, "instance_affine", 0.0, False, False, "zero")),
        ("patchgan", lambda: PatchDiscriminator(3, 4, 3, "instance_affine", antialias=False)),
    ],
)
def test_affine_instance_norm_and_zero_borders_equal_distancegan(name, build, golden):
    expected = golden("distancegan_networks")[name]
    network = build().double()
    keys = list(network.state_dict())
    network.load_state_dict(dict(zip(keys, expected["weights"], strict=True)))
    output = network(expected["image"].double())
    (output**2).mean().backward()
    shown = output[:, :, ::5, ::5] if name == "resnet" else output
    torch.testing.assert_close(shown.float(), expected["output"], rtol=1e-4, atol=1e-5)  # theirs is float32
    norms = torch.stack([p.grad.norm() for p in network.parameters()]).float()
    torch.testing.assert_close(norms, expected["grad_norms"], rtol=1e-4, atol=1e-5 * float(norms.max()))


@pytest.mark.parametrize("network", [PixelDiscriminator, PatchDiscriminator, ResnetGenerator])
def test_affine_instance_norms_start_around_1(network):
    torch.manual_seed(0)
    norms = [m for m in initialise(network(norm="instance_affine")).modules() if isinstance(m, AffineInstanceNorm)]
    weights = torch.cat([norm.weight for norm in norms]).detach()
    assert abs(float(weights.mean()) - 1) < 5 * 0.02 / len(weights) ** 0.5
    assert float(weights.std()) == pytest.approx(0.02, rel=5 / (2 * len(weights)) ** 0.5)
    assert not any(norm.bias.any() for norm in norms)


def test_initialisation_spread_equals_the_authors(golden):
    expected = golden("init_xavier_resnet9_ngf64")
    torch.manual_seed(0)
    network = initialise(ResnetGenerator(), "xavier", 0.02)
    assert sum(p.numel() for p in network.parameters()) == expected["num_parameters"]
    ours = dict(network.named_parameters())
    for key, deviation in expected["std"].items():
        weight = ours[key.replace("model", "layers").replace("conv_block", "layers")]
        # The spread of n draws is itself uncertain by 1 / sqrt(2 n); five of that, on either side.
        assert float(weight.detach().std() / deviation) == pytest.approx(1.0, abs=10 / (2 * weight.numel()) ** 0.5)
        bias = ours.get(key.replace("model", "layers").replace("conv_block", "layers").replace("weight", "bias"))
        assert bias is None or not bias.any()


@pytest.mark.parametrize("name, deviation", [("normal", 0.02), ("kaiming", (2 / 144) ** 0.5), ("orthogonal", None)])
def test_other_initialisations_have_their_spread(name, deviation):
    torch.manual_seed(0)
    weight = initialise(torch.nn.Conv2d(16, 64, 3), name, 0.02).weight
    if deviation:
        assert float(weight.detach().std()) == pytest.approx(deviation, rel=0.05)
    else:  # orthogonal: columns of length gain at right angles
        flat = weight.detach().flatten(1)
        torch.testing.assert_close(flat @ flat.T, 0.02**2 * torch.eye(64), rtol=0, atol=1e-8)


def test_unknown_initialisation_lists_the_known_ones():
    with pytest.raises(ValueError, match="normal, xavier, kaiming, orthogonal"):
        initialise(torch.nn.Linear(1, 1), "glorot")


def test_a_layer_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match="no layer 99; it has 0 to"):
        ResnetGenerator(base_channels=1).feature_channels([99])


def test_dropout_and_channel_counts_build():
    network = ResnetGenerator(1, 2, base_channels=2, num_blocks=4, norm="none", dropout=0.5)
    assert network(formula_image(1, 1, 16)).shape == (1, 2, 16, 16)
    assert sum(isinstance(m, torch.nn.Dropout) for m in network.modules()) == 4


def test_norm_blocks_normalises_inside_the_residual_blocks_alone():
    torch.manual_seed(0)
    own, plain, normalised = (ResnetGenerator(3, 3, 4, 2, norm).double() for norm in ("blocks", "none", "instance"))
    for place, layer in enumerate(normalised.layers):
        if isinstance(layer, ResidualBlock):
            plain.layers[place] = layer
    plain.load_state_dict(own.state_dict())
    image = formula_image(2, 3, 32).double()
    torch.testing.assert_close(own(image), plain(image), rtol=0, atol=0)
    normalised.load_state_dict(own.state_dict())
    assert (own(image) - normalised(image)).abs().max() > 0.01
