"""Methods that are not trained, from the command line: Gatys and STROTSS with random features."""

import json

import numpy as np
import pytest
import torch
from conftest import make_single
from PIL import Image
from programs import inside, told

from cut.build import build_stylizer, read_config

SMALL = {
    "gatys": "{name: gatys, vgg: random, base_channels: 2, stages: [[16, 25]]}",
    "strotss": "{name: strotss, vgg: random, base_channels: 2, scales: 1, iterations: 5}",
}


@pytest.fixture
def yaml_of(tmp_path):
    """Writes the YAML of a method on a dark photograph and a bright painting."""

    def write(name, method=None):
        folder = tmp_path / "pictures"
        paths = {key: folder / f"{word}.png" for key, word in (("a", "photo"), ("b", "painting"))}
        if not folder.exists():
            make_single(folder)
        path = tmp_path / f"{name}.yaml"
        path.write_text(
            f"method: {method or SMALL[name]}\ndata: {{name: single, a: {paths['a']}, b: {paths['b']}}}\n"
            "train: {accelerator: cpu}\n"
        )
        return path

    return write


def picture(path):
    return np.asarray(Image.open(path)).astype(int)


@pytest.mark.parametrize("name", SMALL)
def test_a_photograph_takes_on_a_painting_and_the_seed_decides(name, yaml_of, tmp_path, capsys):
    config = yaml_of(name)
    inside("test", "--config", config, "--output", tmp_path / "one", "--json", tmp_path / "costs.json")
    said = capsys.readouterr()
    assert "1 picture made with random VGG" in said.out and f"{tmp_path / 'one'}_sheet.png" in said.out
    assert "photo.png: 60x48 px, made at" in said.err and "--load-px" in said.err
    made = picture(tmp_path / "one" / "photo.png")
    assert made.shape == (48, 60, 3)
    costs = json.loads((tmp_path / "costs.json").read_text())
    assert costs["seconds_per_picture"] > 0 and costs["peak_mib"] > 50 and costs["pictures"] == 1
    inside("test", "--config", config, "--set", "seed=5", "--output", tmp_path / "other")
    inside("test", "--config", config, "--set", "seed=5", "--seed", 0, "--output", tmp_path / "option")
    assert (picture(tmp_path / "option" / "photo.png") == made).all()
    assert (picture(tmp_path / "other" / "photo.png") != made).any() == (
        name == "strotss"
    )  # Gatys draws nothing when it starts from the photograph


def test_the_sheet_shows_the_way_and_is_written_on_it(yaml_of, tmp_path, monkeypatch):
    from cut.inference import stylize

    sheets = []
    write = stylize.write_sheet
    monkeypatch.setattr(stylize, "write_sheet", lambda *given: sheets.append(given) or write(*given))
    inside("test", "--config", yaml_of("strotss"), "--output", tmp_path / "out", "--target", tmp_path / "pictures")
    assert [len(columns) for _, columns, _, _ in sheets] == [5, 6, 7, 8, 8]
    _, columns, rows, names = sheets[-1]
    assert columns == ["input", "style", "20 %", "40 %", "60 %", "80 %", "translation (random VGG)", "target"]
    assert names == ["photo.png"] and all(cell.shape == (48, 60, 3) for cell in rows[0])
    assert (rows[0][2] != rows[0][5]).any() and sheets[0][2][0][3] is None  # not made yet
    assert (tmp_path / "out_sheet.png").is_file()


def test_inputs_guides_and_sizes_are_those_of_the_command_line(yaml_of, tmp_path):
    config, photos, guides = yaml_of("gatys"), tmp_path / "photos", tmp_path / "guides"
    for folder, names in ((photos, ("x", "y")), (guides, ("dawn", "dusk"))):
        folder.mkdir()
        for number, name in enumerate(names):
            pixels = np.random.default_rng(number).integers(0, 256, (40, 40 + 8 * number, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{name}.png")
    inside("test", "--config", config, "--input", photos, "--guide", guides, "--output", tmp_path / "out")
    found = {path.name: picture(path) for path in (tmp_path / "out").glob("*.png")}
    assert found.keys() == {"x_dawn.png", "x_dusk.png", "y_dawn.png", "y_dusk.png"}
    assert found["y_dawn.png"].shape == (40, 48, 3) and (found["x_dawn.png"] != found["x_dusk.png"]).any()
    inside("test", "--config", config, "--load-px", 24, "--format", "jpg", "--output", tmp_path / "small")
    assert picture(tmp_path / "small" / "photo.jpg").shape == (19, 24, 3)
    inside("test", "--config", config, "--set", "data.load_px=30", "--output", tmp_path / "limited")
    assert picture(tmp_path / "limited" / "photo.png").shape == (24, 30, 3)


def test_nothing_of_the_users_is_overwritten(yaml_of, tmp_path):
    config = yaml_of("gatys")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "photo.png").write_bytes(b"mine")
    assert "is there already" in told("test", "--config", config, "--output", tmp_path / "out")
    assert "would be overwritten" in told("test", "--config", config, "--output", tmp_path / "pictures", "--overwrite")
    assert (tmp_path / "out" / "photo.png").read_bytes() == b"mine"
    inside("test", "--config", config, "--output", tmp_path / "out", "--overwrite")
    inside("test", "--config", config, "--output", tmp_path / "out")  # its own


def test_labels_of_regions_are_not_overwritten_either(yaml_of, tmp_path):
    yaml_of("gatys")
    labels = tmp_path / "labels" / "photo.png"
    labels.parent.mkdir()
    labels.write_bytes((tmp_path / "pictures" / "photo.png").read_bytes())
    regions = f"[{labels}, {tmp_path / 'pictures' / 'painting.png'}]"
    config = yaml_of("wct2", f"{{name: wct2, vgg: random, base_channels: 2, image_px: 32, regions: {regions}}}")
    assert "would be overwritten" in told("test", "--config", config, "--output", labels.parent, "--overwrite")


def test_a_picture_that_cannot_be_written_does_not_keep_the_others(yaml_of, tmp_path):
    config, photos, guides = yaml_of("gatys"), tmp_path / "photos", tmp_path / "guides"
    for path in (photos / f"{'k' * 249}.png", photos / "x.png", guides / "g1.png", guides / "g2.png"):
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (32, 32), "red").save(path)
    said = told("test", "--config", config, "--input", photos, "--guide", guides, "--output", tmp_path / "out")
    assert said.startswith("2 of 4 pictures were left out: ") and "_g1.png: cannot be written (File name too" in said
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["x_g1.png", "x_g2.png"]


def test_options_that_would_do_nothing_are_refused(yaml_of, tmp_path):
    run = ("test", "--config", yaml_of("gatys"), "--output", tmp_path / "out")
    assert told(*run, "--load-px", 0).startswith("--load-px 0: must be from 8 to")
    film = told(*run, "--input", "film.mp4")
    assert film == "--input film.mp4: this method takes pictures, not films; give frames of it"
    assert told(*run, "--deterministic") == (
        "--deterministic: this method draws nothing that --seed does not decide; leave it out"
    )


def test_training_refuses_in_one_line_that_says_what_to_do(yaml_of, tmp_path):
    config = yaml_of("strotss")
    line = told("train", "--config", config)
    assert "strotss is not trained" in line and line.endswith(f"run: cut-test --config {config} --output DIR")
    trained = tmp_path / "trained.yaml"
    trained.write_text("method: {name: sincut}\ndata: {a: x.png, b: y.png}\n")
    line = told("test", "--config", trained, "--output", tmp_path / "out")
    assert f"sincut is trained first: cut-train --config {trained}; then give its run with --run" in line


def test_the_config_is_printed_with_what_each_setting_means(yaml_of, capsys):
    config = yaml_of("strotss")
    inside("test", "--config", config, "--set", "method.alpha=0.5", "--print-config")
    printed = capsys.readouterr().out
    assert "alpha: 0.5" in printed and "Weight of the content" in printed
    assert "schedule:" not in printed and printed.startswith("# Seed of all random numbers")
    (config.parent / "printed.yaml").write_text(printed)
    assert read_config(config.parent / "printed.yaml").method.alpha == 0.5
    inside("train", "--config", config, "--print-config")
    assert "alpha: 1.0" in capsys.readouterr().out


def test_mistakes_are_told_in_one_line(yaml_of, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    config, output = yaml_of("gatys"), ("--output", tmp_path / "out")
    run = ("test", "--config", config, *output)
    line = told("test", "--config", config, "--set", "method={vgg: null, base_channels: 64}", *output)
    assert line.startswith(f"method.vgg: {tmp_path}/hub/hub/checkpoints/vgg_conv.pth: no such file; put https://")
    assert "vgg19-dcbb9e9d.pth there (nothing is downloaded by itself)" in line
    (tmp_path / "text.pth").write_text("no weights")
    line = told(*run, "--set", "method.base_channels=64", "--set", f"method.vgg={tmp_path / 'text.pth'}")
    assert "text.pth: cannot be read" in line and "replace it by https://bethgelab.org" in line
    torch.save({"conv1_1.weight": torch.zeros(3)}, tmp_path / "few.pth")
    line = told(*run, "--set", "method.base_channels=64", "--set", f"method.vgg={tmp_path / 'few.pth'}")
    assert "method: no weights of VGG-19: conv1_1.weight has the shape (3,)" in line
    assert "base_channels: must be 64" in told(*run, "--set", "method.vgg=x.pth")
    assert "data.channels_a: must be 3" in told(*run, "--set", "data.channels_a=1")
    assert "--tile-px: this method sees the whole picture" in told(*run, "--tile-px", 64)
    assert "--num-images: this method makes pictures from photographs" in told(*run, "--num-images", 3)
    assert "--direction: what --input names" in told(*run, "--direction", "BtoA")
    assert "--num-outputs: gatys has no styles" in told(*run, "--num-outputs", 3)
    assert "data.a: absent.png: no such picture" in told(*run, "--set", "data.a=absent.png")
    assert "--run: missing; name a run" in told("test", *output)
    assert "--output: missing" in told("test", "--config", config)
    assert "goes with --import, or alone" in told("test", "--config", config, "--run", tmp_path, *output)
    assert "--set: goes with --config alone" in told("test", "--run", tmp_path, *output, "--set", "seed=1")
    assert not (tmp_path / "out").exists()


def test_an_objective_that_is_not_finite_is_reported_at_once(yaml_of, tmp_path):
    run = ("test", "--config", yaml_of("gatys"), "--output", tmp_path / "out")
    assert "the objective is not finite at evaluation 1 (style" in told(*run, "--set", "method.lambda_style=1e38")


def test_a_long_and_narrow_photograph_is_refused_before_it_takes_all_memory(yaml_of, tmp_path):
    Image.new("RGB", (3000, 1)).save(tmp_path / "line.png")
    run = ("test", "--config", yaml_of("gatys"), "--output", tmp_path / "out", "--input", tmp_path / "line.png")
    line = told(*run, "--set", "method.stages=[[512, 20]]")
    assert "line.png: would be made at 1536000x512 px; lower method.stages, or cut a part out of it; 0 pic" in line


def test_weights_of_torchvision_and_of_caffe_are_read_from_torch_hubs_folder(yaml_of, tmp_path, monkeypatch):
    from cut.models.vgg import VGG, layer_names, torchvision_numbers

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    network, numbers = VGG(16, layer_names(16)), torchvision_numbers(16)
    weights = {f"features.{numbers[key[:7]]}{key[7:]}": value for key, value in network.state_dict().items()}
    torch.save(weights | {"classifier.0.weight": torch.zeros(2, 2)}, folder / "vgg16-397923af.pth")
    config = read_config(yaml_of("strotss", "{name: strotss}"))
    assert config.method.remark is None
    assert torch.equal(build_stylizer(config).vgg.conv5_3.weight, network.conv5_3.weight)


OWN = """
from cut.methods.stylizer import Stylizer, StylizerConfig, Progress


class OwnConfig(StylizerConfig):
    name: str = "own"


class Own(Stylizer):
    Config = OwnConfig
    needs_grad = False

    @classmethod
    def build(cls, config, networks):
        own = cls()
        own.config = config
        return own

    def inference_networks(self):
        return {}

    def stylize(self, photo, painting, generator, report):
        report(Progress(1, 1, {}, lambda: photo))
        return photo * 0 + painting.mean(dim=(2, 3), keepdim=True)
"""


def test_a_stylizer_of_ones_own(yaml_of, tmp_path, monkeypatch):
    (tmp_path / "own_stylizer.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    config = yaml_of("own", '{name: "own_stylizer:Own", vgg: random}')
    inside("test", "--config", config, "--output", tmp_path / "out")
    made, painting = picture(tmp_path / "out" / "photo.png"), picture(tmp_path / "pictures" / "painting.png")
    assert abs(made - painting.mean(axis=(0, 1))).max() <= 1
