"""Exported graphs translate as cut-test does, at any size, and say beside them what must be known of them."""

import json
import sys

import pytest
import torch
from fixed import fill_with_unit_normals
from programs import inside, saved_run, told

from cut.api.export import export_model
from cut.api.model import Model
from cut.build import build_method
from cut.config.load import parse_config
from cut.errors import UserError
from cut.methods import method_config
from cut.models.unsb import PixelNorm

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit")  # frozen, but many deploy with it
SMALL = {"base_channels": 4, "num_blocks": 2}
METHODS = {
    "cut": {
        "method": {"nce_layers": [0, 4]},
        "generator": SMALL,
        "discriminator": {"base_channels": 2},
        "data": {"root": "x", "load_px": 286},
    },
    "sincut": {"generator": SMALL, "method": {"nce_layers": [0, 2]}, "data": {"a": "x", "b": "x"}},
    "pix2pix": {
        "generator": {"base_channels": 2, "image_px": 64},
        "data": {"root": "x", "crop_px": 64, "load_px": 64, "channels_b": 1},
    },
    "munit": {
        "method": {
            "generator": {"base_channels": 2, "num_blocks": 1, "mlp_channels": 8, "style_dim": 3},
            "discriminator": {"base_channels": 2, "num_scales": 1},
        },
        "data": {"root": "x", "direction": "BtoA"},
    },
    "unsb": {
        "method": {
            "generator": {"base_channels": 2, "num_blocks": 1, "norm": "blocks", "init": "kaiming"},
            "discriminator": {"base_channels": 2, "num_layers": 1},
            "nce_layers": [0, 4],
            "num_timesteps": 2,
        },
        "data": {"root": "x"},
    },
    "dcgan": {"method": {"generator": {"name": "dcgan", "base_channels": 2}}, "data": {"name": "idx", "root": "x"}},
}


def built(name, **more):
    """A method, set for inference, whose weights make different pictures."""
    torch.manual_seed(0)
    values = METHODS[name] | more
    config = parse_config(values | {"method": {"name": name} | values.get("method", {})}, method_config, "test")
    method = build_method(config)
    if name not in ("cut", "unsb"):  # whose layers would saturate
        fill_with_unit_normals(method)
    method.prepare_inference()
    return method, config


def exported(name, folder, suffix, **options):
    """What the JSON says, the file, and the method."""
    method, config = built(name)
    described = export_model(method, config, folder / f"model{suffix}", **options)
    assert json.loads((folder / f"model{suffix}.json").read_text()) == described
    return described, folder / f"model{suffix}", method, config


def check_onnx(name, folder):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    described, file, _, _ = exported(name, folder, ".onnx")
    found = described["difference"]
    assert found["largest"] < 1e-4 and len(found["sizes"]) == 2 and found["program"].startswith("onnxruntime")
    session = runtime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    assert [entry.name for entry in session.get_inputs()] == [entry["name"] for entry in described["inputs"]]
    assert [entry.name for entry in session.get_outputs()] == ["translation"]


def test_a_traced_graph_pads_pictures_as_cut_test_does(tmp_path):
    described, file, method, config = exported("cut", tmp_path, ".ts")
    assert described["difference"]["largest"] < 1e-4
    assert described["inputs"] == [
        {"name": "image", "type": "float32", "shape": ["batch", 3, "height", "width"], "range": [-1, 1]}
        | {"channels": "RGB"}
    ]
    assert described["trained_at_px"] == 286 and described["smallest_px"] == 5 and described["direction"] == "AtoB"
    graph, model = torch.jit.load(file), Model(method, config, "cpu")
    for size in ((5, 6), (41, 70)):
        image = torch.rand(3, 3, *size) * 2 - 1
        torch.testing.assert_close(graph(image), model(image), rtol=0, atol=1e-5)
    assert file.stat().st_size < 300_000  # without the discriminator


def test_pix2pix_keeps_its_statistics_and_leaves_its_noise_out(tmp_path):
    described, file, method, _ = exported("pix2pix", tmp_path, ".ts")
    assert described["difference"]["largest"] < 1e-4 and "dropout" in described["noise"]
    assert described["inputs"][0]["shape"][0] == 1 and described["output"]["channels"] == "gray"
    graph = torch.jit.load(file)
    image = torch.rand(1, 3, 50, 70) * 2 - 1
    assert torch.equal(graph(image), graph(image)) and graph(image).shape == (1, 1, 50, 70)
    statistics = [norm for norm in method.modules() if isinstance(norm, torch.nn.BatchNorm2d)]
    for norm in statistics:
        norm.running_mean += 100.0  # which the graph must not read
    again = export_model(method, built("pix2pix")[1], tmp_path / "again.ts")
    assert again["difference"]["largest"] < 1e-4
    torch.testing.assert_close(torch.jit.load(tmp_path / "again.ts")(image), graph(image), rtol=0, atol=1e-5)


def test_styles_are_an_input_and_each_direction_is_a_graph(tmp_path):
    described, file, method, config = exported("munit", tmp_path, ".ts", direction="AtoB")
    assert [entry["name"] for entry in described["inputs"]] == ["image", "style"]
    assert described["inputs"][1]["shape"] == ["batch", 3] and described["direction"] == "AtoB"
    image, style = torch.rand(2, 3, 32, 48) * 2 - 1, torch.randn(2, 3)
    want = Model(method, config, "cpu")(image, style=style, direction="AtoB")
    torch.testing.assert_close(torch.jit.load(file)(image, style), want, rtol=0, atol=1e-5)
    assert file.stat().st_size < 300_000  # without the networks of the other direction


def test_a_generator_from_noise_takes_latents(tmp_path):
    described, file, method, _ = exported("dcgan", tmp_path, ".ts")
    latents = method.latents(3, torch.Generator().manual_seed(1))
    assert described["inputs"][0]["name"] == "latent" and described["output"]["shape"] == ["batch", 1, 28, 28]
    torch.testing.assert_close(torch.jit.load(file)(latents), method(latents))


def test_onnx_gives_the_same_in_onnxruntime(tmp_path):
    check_onnx("pix2pix", tmp_path)


@pytest.mark.filterwarnings("ignore")  # of the exporter's own code
def test_onnx_keeps_noise_that_was_left_out_a_number():
    """Its exporter leaves an added 1e-8 out, and zeros would be divided by zero."""
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    program = torch.onnx.export(PixelNorm().eval(), (torch.zeros(1, 8),), dynamo=True, verbose=False)
    session = runtime.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    zeros, ones = torch.zeros(1, 8), torch.ones(1, 8)
    assert all(
        (session.run(None, {session.get_inputs()[0].name: x.numpy()})[0] == x.numpy()).all() for x in (zeros, ones)
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cut", "sincut", "munit", "unsb"])
def test_onnx_of_other_generators_gives_the_same_in_onnxruntime(name, tmp_path):
    check_onnx(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".onnx", ".pt2", ".ts"])
def test_a_unet_of_a_larger_stride_serves_every_size(suffix, tmp_path):
    """One step of its bottleneck is one pixel at 128 px, which an example of that size would make a constant."""
    own = METHODS["pix2pix"]
    larger = {"generator": own["generator"] | {"image_px": 128}, "data": own["data"] | {"crop_px": 128, "load_px": 128}}
    method, config = built("pix2pix", **larger)
    described = export_model(method, config, tmp_path / f"unet{suffix}")
    assert described["difference"]["largest"] < 1e-4
    assert described["smallest_px"] == (129 if suffix == ".pt2" else 1)
    assert [side > 128 for side in described["difference"]["sizes"][1]] == [True, suffix == ".pt2"]


def test_a_file_that_its_program_cannot_run_is_not_written(tmp_path, monkeypatch):
    def broken(*inputs):
        raise RuntimeError("Guard failed")

    monkeypatch.setattr("cut.api.export.runs_of", lambda content, suffix: ("torch 9", broken))
    with pytest.raises(UserError, match=r"not written, because torch 9 fails at 64x64 px \(Guard failed\)"):
        export_model(*built("cut"), tmp_path / "model.ts")
    assert not (tmp_path / "model.ts").exists()


@pytest.mark.parametrize(
    "name", ["pix2pix", *(pytest.param(name, marks=pytest.mark.slow) for name in ("cut", "sincut", "munit", "unsb"))]
)
def test_exported_programs_translate_as_cut_test_does(name, tmp_path):
    described = exported(name, tmp_path, ".pt2")[0]
    assert described["difference"]["largest"] < 1e-4 and described["format"] == "torch.export"


def test_the_command_exports_a_run_and_says_what_it_found(tiny_yaml, tmp_path, capsys):
    run = saved_run(tiny_yaml, tmp_path / "run")
    inside("export", run, tmp_path / "out" / "model.ts")
    assert "differs from cut-test by up to" in capsys.readouterr().out
    inside("export", run / "generator.safetensors", tmp_path / "out" / "model.ts")  # its own, which it may replace
    (tmp_path / "mine.ts").write_text("mine")
    assert "did not write it" in told("export", run, tmp_path / "mine.ts")
    (tmp_path / "b.ts.json").write_text("mine")
    assert "b.ts.json: " in told("export", run, tmp_path / "b.ts") and not (tmp_path / "b.ts").exists()
    assert "must end in one of .onnx" in told("export", run, tmp_path / "model.mlmodel")
    assert "has learnt AtoB only" in told("export", run, tmp_path / "c.ts", "--direction", "BtoA")


def test_what_cannot_be_exported_is_refused_in_one_line(tmp_path, monkeypatch):
    method, config = built("cut")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match=r"pip install 'cut\[export\]'"):
        export_model(method, config, tmp_path / "model.onnx")
    method.generator.forward = lambda image: image * float(image.mean())
    with pytest.raises(UserError, match="not written, because torch .* differ by up to"):
        export_model(method, config, tmp_path / "model.ts")
    method.generator.forward = lambda image: image * torch.tensor(float("nan"))  # which compares with nothing
    with pytest.raises(UserError, match="not written, because torch .* differ by up to nan"):
        export_model(method, config, tmp_path / "model.ts")
    method.generator.forward = lambda image: image.view(7)
    with pytest.raises(UserError, match="cannot be exported: they do not run alone .*invalid for input"):
        export_model(method, config, tmp_path / "model.pt2")
    method.needs_grad = True
    with pytest.raises(UserError, match="optimises each picture"):
        export_model(method, config, tmp_path / "model.ts")
    assert not list(tmp_path.iterdir())
