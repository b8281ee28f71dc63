"""Options that no YAML sets: each changes what it says, by as much as it says."""

import pytest
import torch
from conftest import make_idx, make_paired, make_single, make_unpaired
from programs import told

from cut.build import build_method, build_stream, build_trainer, read_config
from cut.data import bounds
from cut.errors import UserError
from cut.methods import find_method
from cut.networks import ConfiguredNetworks, shapes_alone
from cut.train.run_dir import open_run

SMALL = ("generator.base_channels=4", "generator.num_blocks=4", "discriminator.base_channels=4", "data.crop_px=32")


@pytest.fixture
def config_of(tmp_path):
    """Reads a tiny config of a method, with overrides."""

    def read(method, *overrides):
        path = tmp_path / "config.yaml"
        data = "{a: a.png, b: b.png}" if method == "sincut" else "{root: x}"
        path.write_text(f"method: {{name: {method}}}\ndata: {data}\n")
        return read_config(path, [*SMALL, *overrides])

    return read


def terms_of(config):
    """Every player's terms of one step on fixed images, with fixed random numbers."""
    torch.manual_seed(0)
    method = build_method(config)
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    translated = method.translate({"real_a": images[:2], "real_b": images[2:]})
    torch.manual_seed(2)
    return {key: value.item() for player in method.players() for key, value in player.terms(translated).items()}


@pytest.mark.parametrize(
    "method, override, factor, scaled",
    [
        ("cyclegan", "method.lambda_cycle_a=5.0", 0.5, {"cycle_a", "idt_a"}),
        ("cyclegan", "method.lambda_cycle_b=30.0", 3.0, {"cycle_b", "idt_b"}),
        ("cyclegan", "method.lambda_identity=2.0", 4.0, {"idt_a", "idt_b"}),
        ("cut", "method.lambda_gp=5.0", 0.5, {"gradient_penalty"}),
        ("cut", "method.lambda_r1=3.0", 1.5, {"r1"}),
        ("sincut", "method.lambda_gan=2.0", 2.0, {"gan"}),
        ("sincut", "method.lambda_nce=1.0", 0.25, {"nce", "nce_idt"}),
        ("sincut", "method.lambda_identity=3.0", 3.0, {"identity"}),
    ],
)
def test_a_weight_scales_its_own_terms_alone(config_of, method, override, factor, scaled):
    base = {
        "cut": ("method.gan_loss=wgangp", "method.lambda_r1=2.0", "method.nce_layers=[0, 4]"),
        "sincut": ("data.batch_size=2",),
        "cyclegan": (),
    }[method]
    before, after = (terms_of(config_of(method, *base, *more)) for more in ((), (override,)))
    assert scaled <= before.keys() == after.keys()
    for key, value in before.items():
        assert value and after[key] == pytest.approx(value * (factor if key in scaled else 1.0), rel=1e-5), key


@pytest.mark.parametrize("method, base", [("cut", "method.nce_layers=[0, 4]"), ("sincut", "data.batch_size=2")])
def test_at_a_high_temperature_a_positive_is_as_likely_as_each_negative(config_of, method, base):
    settings = (base, "method.num_patches=4", "method.temperature=1e6", "method.lambda_nce=2.0")
    candidates = 4 if method == "cut" else 8  # places of the image, or of all images of the batch
    terms = terms_of(config_of(method, *settings))
    assert terms["nce"] == terms["nce_idt"] == pytest.approx(torch.tensor(float(candidates)).log().item(), rel=1e-4)
    assert terms_of(config_of(method, *settings[:2]))["nce"] != pytest.approx(terms["nce"], rel=1e-2)


@pytest.mark.parametrize(
    "section, name, more",
    [
        ("generator", "resnet", ()),
        ("generator", "unet", ("generator.image_px=32", "data.crop_px=32")),
        ("discriminator", "patch", ()),
        ("discriminator", "pixel", ()),
    ],
)
def test_the_gain_scales_the_initial_weights(tmp_path, section, name, more):
    path = tmp_path / "config.yaml"
    path.write_text(
        "method: {name: cyclegan}\ndata: {root: x}\n"
        f"{section}: {{name: {name}, norm: none, init: normal, base_channels: 4}}\n"
    )
    weights = []
    for gain in ("0.02", "0.06"):
        torch.manual_seed(0)
        method = build_method(read_config(path, [f"{section}.init_gain={gain}", *more]))
        weights.append(dict(getattr(method, f"{section}_{'ab' if section == 'generator' else 'a'}").named_parameters()))
    for key, weight in weights[0].items():
        torch.testing.assert_close(weights[1][key], weight * 3.0, msg=key)


def test_init_last_scales_the_last_convolution_of_the_generator_alone(config_of):
    weights = []
    for factor in (1.0, 0.2):
        torch.manual_seed(0)
        settings = (f"generator.init_last={factor}", "generator.init=kaiming", "method.nce_layers=[0]")
        weights.append(build_method(config_of("cut", *settings)).state_dict())
    *_, last = (key for key in weights[0] if key.startswith("generator.") and key.endswith(".weight"))
    for key, weight in weights[0].items():
        torch.testing.assert_close(weights[1][key], weight * (0.2 if key == last else 1.0), msg=key)


def test_nce_norm_reaches_the_patch_head(config_of):
    settings = ("method.nce_layers=[0, 4]", "method.head=none", "method.nce_idt=false")
    plain, normed = (terms_of(config_of("cut", *settings, f"method.nce_norm={norm}")) for norm in ("none", "instance"))
    assert plain["gan"] == normed["gan"] and normed["nce"] != pytest.approx(plain["nce"], rel=1e-2)


def test_stylegan2_without_noise_has_no_weight_of_it(config_of):
    assert any("noise" in key for key in build_method(config_of("sincut")).generator.state_dict())
    silent = build_method(config_of("sincut", "generator.noise=false")).generator
    assert not any("noise" in key for key in silent.state_dict())


def test_adam_gets_its_eps(tiny_yaml):
    trainer = build_trainer(read_config(tiny_yaml, ["optim.eps=1e-3"]))
    assert {group["eps"] for o in trainer.optimizers.values() for group in o.param_groups} == {1e-3}


def test_compiling_is_done_where_it_is_asked_for(tiny_yaml, monkeypatch):
    compiled = []
    monkeypatch.setattr("cut.build.compile_networks", compiled.append)
    build_trainer(read_config(tiny_yaml))
    assert compiled == []
    assert compiled == [build_trainer(read_config(tiny_yaml, ["train.compile=true"])).method]


def test_as_many_checkpoints_are_kept_as_asked_for(tiny_yaml, tmp_path):
    for count in (1, 2):
        trainer = build_trainer(read_config(tiny_yaml, [f"train.keep_checkpoints={count}", "train.tensorboard=false"]))
        open_run(trainer, tmp_path / str(count), resume=False)
        trainer.fit(tmp_path / str(count))
        kept = sorted(path.name for path in (tmp_path / str(count) / "checkpoints").iterdir())
        assert kept == ["step_00000004.pt", "step_00000006.pt"][-count:]


def test_inception_weights_are_read_from_the_file_that_is_named(tiny_yaml, tmp_path):
    override = "eval={every_steps: 2, metrics: [fid], inception_weights: nowhere.pth}"
    assert "nowhere.pth: no such file" in told(
        "train", "--config", tiny_yaml, "--set", override, "--run-dir", tmp_path / "run"
    )


def test_an_idx_set_is_read_from_its_split(tiny_dcgan_yaml, tmp_path):
    make_idx(tmp_path / "digits", "t10k", torch.zeros(5, 28, 28, dtype=torch.uint8).numpy())
    assert build_stream(read_config(tiny_dcgan_yaml)).num_pictures == 16
    stream = build_stream(read_config(tiny_dcgan_yaml, ["data.split=t10k"]))
    assert stream.num_pictures == 5 and (stream[0]["real"] == -1).all()
    with pytest.raises(UserError, match="data.max_megapixels"):
        build_stream(read_config(tiny_dcgan_yaml, ["data.max_megapixels=0.01"]))


@pytest.mark.parametrize(
    "kind, make",
    [("unpaired", make_unpaired), ("paired", make_paired), ("images", make_unpaired), ("single", make_single)],
)
def test_pictures_above_the_bound_are_refused(tmp_path, kind, make, request):
    bound = bounds.max_megapixels()
    request.addfinalizer(lambda: bounds.set_max_megapixels(bound))
    made = make(tmp_path / "data")
    places = made if kind == "single" else {"root": made}
    method = {"unpaired": "cut", "paired": "pix2pix", "images": "dcgan", "single": "sincut"}[kind]
    data = {"name": kind, "max_megapixels": 0.001, "cache_mib": 0, "load_px": 36, "crop_px": 32, "batch_size": 1}
    if kind == "single":
        del data["cache_mib"]
    path = tmp_path / "config.yaml"
    path.write_text(f"method: {{name: {method}}}\n")
    generator = ["generator.image_px=32"] if method == "pix2pix" else []
    overrides = [f"data.{key}={value}" for key, value in {**data, **places}.items()]
    with pytest.raises(UserError, match=r"refused, larger than 0\.001 megapixels, the bound of .*data\.max_megapixels"):
        sample = build_stream(read_config(path, [*overrides, *generator]))[0]
        raise sample


@pytest.mark.parametrize(
    "method, overrides",
    [
        ("cut", ["generator.norm=batch", "generator.base_channels=4", "discriminator.base_channels=4"]),
        ("cut", ["discriminator={name: projected, features: random, mixed_channels: 4, base_channels: 2}"]),
        ("pix2pix", ["generator.image_px=64", "data.crop_px=64", "generator.base_channels=4"]),
        ("munit", ["data.crop_px=64", "method.generator.base_channels=4", "method.discriminator.base_channels=4"]),
    ],
)
def test_shapes_alone_are_those_of_real_networks_and_nothing_is_drawn(tmp_path, method, overrides):
    path = tmp_path / "config.yaml"
    path.write_text(f"method: {{name: {method}}}\ndata: {{root: x}}\n")
    config = read_config(path, overrides)
    state = torch.get_rng_state()
    with shapes_alone():
        shapes = tensors_of(find_method(method).build(config.method, ConfiguredNetworks(config)))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(tensor.is_meta for tensor in shapes.values())
    real = tensors_of(build_method(config))
    assert {n: (t.shape, t.dtype) for n, t in shapes.items()} == {n: (t.shape, t.dtype) for n, t in real.items()}


def tensors_of(method):
    return {**dict(method.named_parameters()), **dict(method.named_buffers())}


def test_networks_larger_than_the_memory_are_refused_before_they_are_built(config_of, monkeypatch):
    monkeypatch.setattr("cut.build.available_bytes", lambda device: 10_000)
    with pytest.raises(UserError, match=r"the networks' weights need 0\.0 GB of memory, 0\.0 GB are free; lower"):
        build_method(config_of("cut"))
