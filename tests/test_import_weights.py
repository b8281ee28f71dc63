"""Public generators: the authors' keys and outputs (golden/public_generators.pt), and files that are none."""

import argparse
import re
from collections import OrderedDict

import pytest
import torch
import torch.nn.functional as F
from fixed import fill_by_formula, formula_image
from public_weights import formula_state_dict

from cut.build import load_translator
from cut.errors import UserError
from cut.import_weights import import_generator
from cut.import_weights.key_names import public_names
from cut.models.resnet import ResnetGenerator
from cut.storage.checkpoint import save_inference_file

RESNET = {"name": "resnet", "base_channels": 4, "norm": "instance", "dropout": 0.0}
UNET = {"name": "unet", "base_channels": 4, "image_px": 128}
STYLEGAN2 = {"name": "stylegan2", "base_channels": 8}
BOTH, NEITHER = {"antialias_down": True, "antialias_up": True}, {"antialias_down": False, "antialias_up": False}
# What must be read off each: the method, and the generator's settings.
ROUNDING = 3e-5  # of float32 outputs in [-1, 1], where other sums come first; four-pixel instance norms add most
VARIANTS = {
    "resnet9_antialias": ("cut", RESNET | BOTH | {"num_blocks": 9}),
    "resnet6_strided": ("cyclegan", RESNET | NEITHER | {"num_blocks": 6}),
    "resnet6_antialias_down": ("cut", RESNET | BOTH | {"num_blocks": 6, "antialias_up": False}),
    "resnet6_antialias_up": ("cut", RESNET | BOTH | {"num_blocks": 6, "antialias_down": False}),
    "resnet4_dropout": ("cut", RESNET | BOTH | {"num_blocks": 4, "dropout": 0.5}),
    "resnet4_batch": ("cut", RESNET | BOTH | {"num_blocks": 4, "norm": "batch"}),
    "resnet4_batch_dropout_strided": (
        "pix2pix",
        RESNET | NEITHER | {"num_blocks": 4, "norm": "batch", "dropout": 0.5},
    ),
    "resnet4_none": ("cut", RESNET | BOTH | {"num_blocks": 4, "norm": "none"}),
    "resnet4_gray_to_colour": ("cyclegan", RESNET | NEITHER | {"num_blocks": 4}),
    "unet128_batch": ("pix2pix", UNET | {"norm": "batch"}),
    "unet128_instance": ("pix2pix", UNET | {"norm": "instance"}),
    "unet128_none": ("pix2pix", UNET | {"norm": "none"}),
    "unet256_batch": ("pix2pix", UNET | {"norm": "batch", "image_px": 256, "base_channels": 2}),
    "stylegan2": ("sincut", STYLEGAN2 | {"num_downsamplings": 1, "num_blocks": 6}),
    "stylegan2_halving_twice": ("sincut", STYLEGAN2 | {"num_downsamplings": 2, "num_blocks": 6}),
    "smallstylegan2": ("sincut", STYLEGAN2 | {"num_downsamplings": 1, "num_blocks": 2}),
}


@pytest.fixture
def public(golden, tmp_path):
    """Name of a variant -> its state dict as the authors' programs save it."""
    variants = golden("public_generators")

    def state_dict(name):
        state = OrderedDict(formula_state_dict(variants[name]["keys"]))
        if name == "smallstylegan2":  # stores a weight for noise that it does not use, and so does not learn
            state["decoder.convs.1.noise.weight"] = torch.zeros(1)
        return state

    return state_dict


@pytest.fixture
def saved(tmp_path):
    """Writes anything as a `.pth`."""

    def save(content, name="latest_net_G.pth", **options):
        torch.save(content, tmp_path / name, **options)
        return tmp_path / name

    return save


def output_of(path, config=None):
    method, resolved, _ = import_generator(path, config)
    size, channels = resolved.generator.model_dump().get("image_px", 32), resolved.data.channels["a"]
    with torch.no_grad():
        output = method.prepare_inference(deterministic=True)(formula_image(1, channels, size))
    step = 5 if size == 32 else 17
    return output[:, :, ::step, ::step]


def refused(path, config=None):
    with pytest.raises(UserError) as error:
        import_generator(path, config)
    assert str(error.value).count("\n") == 0 and path.name in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", VARIANTS)
def test_architecture_is_worked_out_and_the_output_equals_the_authors(name, golden, public, saved):
    path = saved(public(name))
    _, config, line = import_generator(path)
    method, generator = VARIANTS[name]
    assert config.method.name == method and f"taken as {method}" in line and ("AtoB" in line) == (method != "sincut")
    assert config.generator.model_dump().items() >= generator.items()
    torch.testing.assert_close(output_of(path), golden("public_generators")[name]["output"], rtol=1e-4, atol=ROUNDING)


def as_the_file(state):
    return state


def wrapped(state):
    return {f"module.{key}": value for key, value in state.items()}


def with_statistics_of_old_instance_norms(state):
    for key in [key for key in state if key.endswith(".bias")][:-1]:
        convolution, width = key.removesuffix(".bias"), len(state[key])
        norm = re.sub(r"\d+$", lambda place: str(int(place[0]) + 1), convolution)
        state |= {f"{norm}.running_mean": torch.rand(width), f"{norm}.running_var": torch.rand(width)}
        state[f"{norm}.num_batches_tracked"] = torch.tensor(3)
    return state


def without_counters(state):
    return {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}


def in_half_precision(state):
    return {key: value.half() if value.is_floating_point() else value for key, value in state.items()}


@pytest.mark.parametrize(
    "name, change, tolerance",
    [
        ("resnet9_antialias", wrapped, ROUNDING),
        ("unet128_batch", wrapped, ROUNDING),
        ("resnet9_antialias", with_statistics_of_old_instance_norms, ROUNDING),
        ("unet128_instance", with_statistics_of_old_instance_norms, ROUNDING),
        ("stylegan2", wrapped, ROUNDING),
        ("resnet4_batch", without_counters, ROUNDING),
        ("unet256_batch", without_counters, ROUNDING),
        ("resnet6_strided", in_half_precision, 0.1),  # weights of three digits, through 16 layers
    ],
)
def test_what_old_or_wrapping_programs_add_changes_nothing(name, change, tolerance, golden, public, saved):
    changed = change(public(name))
    assert changed.keys() != public(name).keys() or change is in_half_precision
    expected = golden("public_generators")[name]["output"]
    torch.testing.assert_close(output_of(saved(changed)), expected, rtol=0, atol=tolerance)


def test_files_from_before_the_zip_format_are_read(golden, public, saved):
    path = saved(public("resnet4_dropout"), _use_new_zipfile_serialization=False)
    expected = golden("public_generators")["resnet4_dropout"]["output"]
    torch.testing.assert_close(output_of(path), expected, rtol=1e-4, atol=ROUNDING)


@pytest.mark.parametrize("name", ["resnet9_antialias", "resnet4_none", "resnet6_strided", "unet128_batch", "stylegan2"])
def test_the_converted_file_translates_as_the_import_does(name, public, saved, tmp_path):
    path = saved(public(name))
    method, config, _ = import_generator(path)
    save_inference_file(tmp_path / "g.safetensors", method.inference_networks(), config.to_dict(), step=0)
    again, stored = load_translator(tmp_path / "g.safetensors", deterministic=True)
    assert stored == config and set(again.directions()) == {"ab"}
    image = formula_image(1, 3, 128)
    with torch.no_grad():
        assert torch.equal(again(image), method.prepare_inference(deterministic=True)(image))


def test_the_files_of_cyclegan_are_one_direction_each(public, saved):
    state = public("resnet4_gray_to_colour")
    for name, direction, channels in (("G_A", "AtoB", (1, 3)), ("G_B", "BtoA", (3, 1)), ("G", "AtoB", (1, 3))):
        method, config, line = import_generator(saved(state, f"latest_net_{name}.pth"))
        assert (config.data.direction, direction in line) == (direction, True)
        assert (config.data.channels_a, config.data.channels_b) == channels
        assert set(method.directions()) == {"ab"} and method.inference_networks().keys() == {"generator_ab"}


def test_the_files_of_dclgan_are_one_direction_each_and_translate_as_theirs(golden, public, saved, tmp_path):
    """CUT's generator in files that are called as CycleGAN's."""
    expected = golden("public_generators")["resnet9_antialias"]["output"]
    config = tmp_path / "dclgan.yaml"
    config.write_text("method: {name: dclgan}\ngenerator: {base_channels: 4}\ndata: {root: nowhere}\n")
    for name, direction in (("G_A", "AtoB"), ("G_B", "BtoA")):
        path = saved(public("resnet9_antialias"), f"latest_net_{name}.pth")
        for given in (None, config):
            method, resolved, _ = import_generator(path, given)
            assert (resolved.method.name, resolved.data.direction) == ("dclgan", direction)
            assert set(method.directions()) == {"ab"}
            torch.testing.assert_close(output_of(path, given), expected, rtol=1e-4, atol=ROUNDING)


CONFIG = """
method: {{name: {method}}}
generator: {{name: {network}, base_channels: 4{more}}}
data: {{name: {data}, root: nowhere{size}}}
"""


def write_config(folder, method, network, more="", data="unpaired", size=""):
    path = folder / f"{method}.yaml"
    path.write_text(CONFIG.format(method=method, network=network, more=more, data=data, size=size))
    return path


def test_a_config_that_fits_decides_the_method_and_what_weights_do_not_tell(golden, public, saved, tmp_path):
    strided, unet = saved(public("resnet6_strided")), saved(public("unet128_batch"), "unet.pth")
    config = write_config(tmp_path, "cut", "resnet", ", num_blocks: 6, antialias_down: false, antialias_up: false")
    assert import_generator(strided, config)[1].method.name == "cut"
    expected = golden("public_generators")["resnet6_strided"]["output"]
    torch.testing.assert_close(output_of(strided, config), expected, rtol=1e-4, atol=ROUNDING)
    config = write_config(tmp_path, "pix2pix", "unet", ", image_px: 128, dropout: 0.0", "paired", ", crop_px: 128")
    method, resolved, line = import_generator(unet, config)
    assert resolved.generator.dropout == 0.0 and "dropout 0.0" in line
    assert not any(isinstance(module, torch.nn.Dropout) for module in method.generator.modules())


def test_a_config_of_cyclegan_takes_either_direction(public, saved, tmp_path):
    config = write_config(tmp_path, "cyclegan", "resnet", ", num_blocks: 6")
    for name, direction in (("G_A", "AtoB"), ("G_B", "BtoA")):
        resolved = import_generator(saved(public("resnet6_strided"), f"latest_net_{name}.pth"), config)[1]
        assert (resolved.method.name, resolved.data.direction) == ("cyclegan", direction)


@pytest.mark.parametrize(
    "name, network, more, words",
    [
        ("resnet6_strided", "resnet", "", "num_blocks is 6 in the file, but 9 in .*antialias_down is False .*but True"),
        ("resnet4_batch", "resnet", ", num_blocks: 4", "generator.norm is batch in the file, but instance in the conf"),
        ("resnet4_dropout", "resnet", ", num_blocks: 4", "generator.dropout is above 0 in the file, but 0.0 in the co"),
        ("unet128_batch", "resnet", "", "generator.name is unet in the file, but resnet in the config"),
        ("resnet9_antialias", "unet", "", "generator.name is resnet in the file, but unet in the config"),
        (
            "resnet4_gray_to_colour",
            "resnet",
            ", num_blocks: 4, antialias_down: false, antialias_up: false",
            "cut.yaml: data.channels_a is 1 in the file, but 3 in the config; change",
        ),
    ],
)
def test_a_mismatch_names_the_key_and_both_values(name, network, more, words, public, saved, tmp_path):
    assert re.search(words, refused(saved(public(name)), write_config(tmp_path, "cut", network, more)))


def without(*patterns):
    return lambda state: {k: v for k, v in state.items() if not any(re.fullmatch(p, k) for p in patterns)}


@pytest.mark.parametrize(
    "name, change, words",
    [
        ("resnet9_antialias", without("model.14.*"), "9 blocks.*missing: model.14.conv_block.1.weight, .* and 1 more"),
        ("resnet9_antialias", without("model.1.weight"), "a resnet generator without model.1.weight"),
        ("resnet9_antialias", without("model.7.filt"), "missing: model.7.filt"),
        ("resnet9_antialias", without(r"model\.4\.bias"), "missing: model.4.bias"),
        ("unet128_batch", without(".*running_var"), "missing: model.model.1.model.2.running_var"),
        ("unet128_batch", without("model.model.3.weight"), "without model.model.3.weight"),
        ("resnet9_antialias", lambda s: s | {"model.40.conv_block.1.weight": torch.ones(1)}, "29 blocks.*missing"),
        ("resnet9_antialias", lambda s: s | {"model.1e9.conv_block.1": torch.ones(1)}, "damaged"),
        ("resnet9_antialias", lambda s: s | {f"model.{'9' * 40}.conv_block.1": torch.ones(1)}, "damaged"),
        ("stylegan2", without("encoder.convs.4.*"), "missing: encoder.convs.4.conv1.0.weight, .* and 1 more"),
        ("stylegan2", without("decoder.convs.4.*"), "a stylegan2 generator without decoder.convs.4.0.weight"),
        ("stylegan2", without("decoder.*"), "damaged"),
        ("stylegan2", lambda s: s | {"encoder.convs.2.skip.0.kernel": torch.ones(4, 4)}, "be: encoder.convs.2.skip.0"),
        ("resnet9_antialias", lambda s: s | {"attention.weight": torch.ones(1)}, "unknown: attention.weight"),
        ("resnet9_antialias", lambda s: s | {"model.1.weight": torch.ones(())}, "damaged"),
        ("resnet9_antialias", lambda s: s | {"model.8.bias": torch.ones(3)}, r"model.8.bias \(3,\) instead of \(16,\)"),
        (
            "resnet9_antialias",
            lambda s: s | {"model.7.filt": s["model.7.filt"] * 1.01},
            "not the constant that it must be: model.7.filt",
        ),
        (
            "resnet9_antialias",
            lambda s: s | {"model.8.bias": s["model.8.bias"] / 0},
            "model.8.bias holds .* not finite",
        ),
        ("resnet9_antialias", lambda s: s | {"model.8.bias": s["model.8.bias"].long()}, "no plain array"),
        ("resnet9_antialias", lambda s: s | {"model.8.bias": s["model.8.bias"].to_sparse()}, "no plain array"),
        ("resnet9_antialias", lambda s: s | {"model.1.weight": torch.ones(10**12, 0, 7, 7)}, "no plain array"),
        (
            "resnet9_antialias",
            lambda s: s | {"model.8.bias": torch.ones(1).expand(10**12)},
            "claim .* bytes, but the f",
        ),
        (
            "resnet9_antialias",
            lambda s: s | {"model.1.weight": torch.ones(3000, 3, 7, 7)},
            "3000 channels.*other shape",
        ),
        ("unet128_batch", lambda s: s | {"model." * 30 + "weight": torch.ones(1)}, "image_px: input should be 32"),
        ("resnet9_antialias", lambda s: s | {"\x1b[31m\n": torch.ones(1)}, r"holds '\\x1b\[31m\\n'"),
        ("resnet9_antialias", lambda s: s | {"epoch": 5}, "holds 'epoch'; needed is a generator's state_dict alone"),
        ("resnet9_antialias", lambda s: {"state_dict": s, "opt": {"lr": 1}}, "holds 'state_dict', 'opt'; needed is"),
        ("resnet9_antialias", lambda s: {"schema_version": 1, "method": s}, "give it with --checkpoint"),
        ("resnet9_antialias", lambda s: list(s.values()), "holds a list; needed"),
        ("resnet9_antialias", lambda s: {}, "holds nothing; needed"),
        (
            "resnet9_antialias",
            lambda s: {"opt": argparse.Namespace(lr=1)},
            r"\(argparse.Namespace\), which are not read",
        ),
    ],
)
def test_a_file_that_fits_nothing_is_named_on_one_line(name, change, words, public, saved):
    assert re.search(words, refused(saved(change(public(name)))))


@pytest.mark.parametrize(
    "key, shape, words",
    [
        (
            "model.0.weight",
            (64, 3, 4, 4),
            "holds a PatchGAN discriminator, which only training uses; needed is a generator",
        ),
        ("net.0.weight", (64, 3, 1, 1), "holds a pixel discriminator"),
        ("mlp_0.0.weight", (256, 3), r"holds a patch head \(netF\)"),
        ("final_conv.0.weight", (8, 8, 3, 3), "holds SinCUT's discriminator"),
        ("conv1.weight", (8, 8, 3, 3), r"no network of CUT.* \(it has conv1.weight, ...\)"),
    ],
)
def test_another_network_is_called_by_its_name(key, shape, words, saved):
    assert re.search(words, refused(saved({key: torch.ones(shape)}, "latest_net_D.pth")))


class _Runs:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return open, (str(self.file), "w")


def test_code_in_a_file_is_not_run(saved, tmp_path):
    assert "not read because they may run code" in refused(saved({"model.1.weight": _Runs(tmp_path / "ran")}))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"\x80", b"PK\x03\x04", bytes(range(256)) * 20, b"<html>not found</html>"])
def test_bytes_that_are_no_weights_are_refused(content, tmp_path):
    (tmp_path / "latest_net_G.pth").write_bytes(content)
    assert "damaged or no .pth" in refused(tmp_path / "latest_net_G.pth")


def test_a_download_that_broke_off_is_refused(public, saved):
    path = saved(public("resnet4_batch"))
    path.write_bytes(path.read_bytes()[:-2000])
    assert "damaged or no .pth" in refused(path)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_torchscript_and_our_own_file_are_refused(saved, tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), tmp_path / "script.pth")
    assert "is a network in TorchScript" in refused(tmp_path / "script.pth")
    assert "no such file" in refused(tmp_path / "missing.pth")
    (tmp_path / "generator.safetensors").write_bytes(b"")
    assert "goes with --checkpoint" in refused(tmp_path / "generator.safetensors")


def test_the_published_sizes_are_52_and_48_keys():
    for antialias, count in ((True, 52), (False, 48)):
        with torch.device("meta"):
            network = ResnetGenerator(antialias_down=antialias, antialias_up=antialias)
        names = public_names(network)
        assert len(names.ours) + len(names.constants) == count
        assert sum(torch.Size(shape).numel() for shape in names.shapes.values()) == 11_378_179


def test_formulas_of_the_tests_are_those_of_the_other_golden_files():
    network = fill_by_formula(torch.nn.Linear(3, 2))
    state = formula_state_dict({"0.weight": [2, 3], "0.bias": [2]})
    assert torch.equal(state["0.weight"], network.weight) and torch.equal(state["0.bias"], network.bias)


def distancegan_state(dropout=False):
    """Random weights as DistanceGAN's programs save them."""
    shapes = {"0": (4, 3, 7, 7), "3": (8, 4, 3, 3), "6": (16, 8, 3, 3)}
    shapes |= {f"{block}.conv_block.{place}": (16, 16, 3, 3) for block in (9, 10) for place in (0, 3 + dropout)}
    shapes |= {"11": (16, 8, 3, 3), "14": (8, 4, 3, 3), "17": (3, 4, 7, 7)}
    state = OrderedDict()
    for place, shape in shapes.items():
        width = shape[1] if place in ("11", "14") else shape[0]  # transposed convolutions
        state |= {f"model.{place}.weight": torch.randn(shape) / 8, f"model.{place}.bias": torch.randn(width)}
        if place != "17":
            start, _, last = f"model.{place}".rpartition(".")
            norm = f"{start}.{int(last) + 1}"
            state |= {f"{norm}.weight": 1 + torch.rand(width), f"{norm}.bias": torch.randn(width)}
    return state


def distancegan_output(state, image):
    """By torch's functions alone."""

    def layer(x, place, norm_place, function=F.conv2d, **settings):
        x = function(x, state[f"model.{place}.weight"], state[f"model.{place}.bias"], **settings)
        return F.instance_norm(x, None, None, state[f"model.{norm_place}.weight"], state[f"model.{norm_place}.bias"])

    x = F.relu(layer(image, 0, 1, padding=3))
    for place in (3, 6):
        x = F.relu(layer(x, place, place + 1, stride=2, padding=1))
    for block in (9, 10):
        y = F.relu(layer(x, f"{block}.conv_block.0", f"{block}.conv_block.1", padding=1))
        x = x + layer(y, f"{block}.conv_block.3", f"{block}.conv_block.4", padding=1)
    for place in (11, 14):
        x = F.relu(layer(x, place, place + 1, F.conv_transpose2d, stride=2, padding=1, output_padding=1))
    return torch.tanh(F.conv2d(x, state["model.17.weight"], state["model.17.bias"], padding=3))


def test_a_generator_of_distancegan_is_read_with_its_zero_borders_and_affine_norms(saved):
    torch.manual_seed(0)
    state, image = distancegan_state(), formula_image(1, 3, 32)
    for name, direction in (("latest_net_G_A.pth", "AtoB"), ("latest_net_G_B.pth", "BtoA")):
        method, config, line = import_generator(saved(state, name))
        assert (config.method.name, config.data.direction) == ("distancegan", direction)
        assert "a ResNet of 2 blocks, 4 channels, affine instance norm, not anti-aliased, zero padding" in line
        assert (config.generator.norm, config.generator.padding, config.generator.dropout) == (
            "instance_affine",
            "zero",
            0.0,
        )
        with torch.no_grad():
            output = method.prepare_inference()(image)
        torch.testing.assert_close(output, distancegan_output(state, image), rtol=1e-4, atol=ROUNDING)
    assert import_generator(saved(distancegan_state(dropout=True)))[1].generator.dropout == 0.5


def test_running_statistics_in_a_file_of_distancegan_are_not_used(saved):
    torch.manual_seed(0)
    state, image = distancegan_state(), formula_image(1, 3, 32)
    norms = [key.removesuffix(".weight") for key, value in state.items() if key.endswith("weight") and value.dim() == 1]
    old = {
        f"{norm}.running_{leaf}": torch.rand(len(state[f"{norm}.weight"])) for norm in norms for leaf in ("mean", "var")
    }
    method = import_generator(saved(OrderedDict(state | old)))[0]
    with torch.no_grad():
        output = method.prepare_inference()(image)
    torch.testing.assert_close(output, distancegan_output(state, image), rtol=1e-4, atol=ROUNDING)


def test_a_generator_of_gcgan_is_read_as_that_of_cyclegan_or_with_its_config(golden, public, saved, tmp_path):
    path = saved(public("resnet6_strided"), "200_net_G_AB.pth")
    assert import_generator(path)[1].method.name == "cyclegan"
    config = write_config(tmp_path, "gcgan", "resnet", ", num_blocks: 6")
    method, resolved, _ = import_generator(path, config)
    assert (resolved.method.name, set(method.inference_networks())) == ("gcgan", {"generator"})
    expected = golden("public_generators")["resnet6_strided"]["output"]
    torch.testing.assert_close(output_of(path, config), expected, rtol=1e-4, atol=ROUNDING)
