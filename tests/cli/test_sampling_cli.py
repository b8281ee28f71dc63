"""DCGAN on the command line: training, sheets, losses, sampling, and its mistakes."""

import json
from pathlib import Path

import pytest
from PIL import Image
from programs import call, inside, saved_run, told

from cut.build import build_trainer, read_config
from cut.errors import UserError

COLUMNS, ROWS = 8, 3  # two rows of samples and the interpolation


def files(folder: Path):
    return {path.name: path.read_bytes() for path in folder.glob("*.png")}


def test_train_look_and_sample(tiny_dcgan_yaml, tmp_path):
    run = tmp_path / "run"
    out = call("train", "--config", tiny_dcgan_yaml, "--run-dir", run)
    assert f"draw images with: cut-test --run {run} --num-images 64" in out.stdout
    # 16 pictures, 2 per batch: the first epoch ends after 8 steps, whatever a step draws; half of the run after 5.
    assert sorted(files(run / "samples")) == [f"step_{step:08d}.png" for step in (5, 8, 10)]
    with Image.open(run / "samples" / "step_00000010.png") as sheet:
        assert sheet.width > COLUMNS * 56 and sheet.height > ROWS * 56
    assert (run / "losses.png").is_file()
    arguments = ["--run", run, "--num-images", 3, "--seed", 7]
    call("test", *arguments, "--output", tmp_path / "a")
    inside("test", *arguments, "--output", tmp_path / "b", "--json", tmp_path / "costs.json")
    costs = json.loads((tmp_path / "costs.json").read_text())
    assert costs["pictures"] == 3 and costs["seconds_per_picture"] > 0 and costs["peak_mib"] > 50
    assert sorted(files(tmp_path / "a")) == ["00000.png", "00001.png", "00002.png"]
    assert files(tmp_path / "a") == files(tmp_path / "b") and (tmp_path / "a_sheet.png").is_file()


def test_mistakes_of_sampling_are_one_line(tiny_dcgan_yaml, tmp_path, unpaired):
    noise = ["--run", saved_run(tiny_dcgan_yaml, tmp_path / "run"), "--output", tmp_path / "out"]
    assert "--input: this method makes images from noise" in told("test", *noise, "--input", unpaired / "testA")
    assert "--target: this method makes images from noise" in told("test", *noise, "--target", unpaired / "testB")
    assert "--num-images 0: must be at least 1" in told("test", *noise, "--num-images", 0)
    assert "--seed -1: must be from 0" in told("test", *noise, "--seed", -1)
    assert not (tmp_path / "out").exists()


def test_mistakes_of_translating_without_input_are_one_line(tiny_yaml, tmp_path, unpaired):
    pictures = ["--run", saved_run(tiny_yaml, tmp_path / "run"), "--output", tmp_path / "out"]
    assert "--input: missing" in told("test", *pictures)
    assert "--num-images: this method translates" in told("test", *pictures, "--num-images", 1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "settings, message",
    [
        (["generator.name=resnet"], "dcgan has its own networks, in its own section; remove this one"),
        (["data.crop_px=36"], "method: data.crop_px: 36 does not suit the networks named dcgan"),
        (["method.generator={name: resnet}", "data.crop_px=32"], "latent_size: 784 is no map of 32 x 32 px"),
        (["data={name: unpaired, root: x}"], r"dcgan cannot learn from unpaired \(allowed: images, idx\)"),
        (["method.discriminator.name=vgg"], r"no such name 'vgg'; did you mean 'vgg16'\?"),
        (["data.batch_size=20", "method.discriminator_steps=1"], "20 is more than the 16 pictures"),
    ],
)
def test_mistakes_in_the_config_are_one_line(tiny_dcgan_yaml, settings, message):
    with pytest.raises(UserError, match=message):
        build_trainer(read_config(tiny_dcgan_yaml, settings))
