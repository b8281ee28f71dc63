"""Styles, guides and several outputs from the command line."""

import shutil

import numpy as np
import pytest
from PIL import Image
from programs import inside, told

MUNIT = """
method:
  name: munit
  generator: {{base_channels: 2, num_blocks: 1, style_dim: 4, mlp_channels: 8}}
  discriminator: {{base_channels: 2, num_layers: 2, num_scales: 1}}
data: {{root: "{root}", load_px: 36, crop_px: 32, num_workers: 0}}
schedule: {{name: constant, total_steps: 2}}
train: {{num_samples: 1, accelerator: cpu, tensorboard: false}}
eval: {{every_steps: 2, metrics: [l1]}}
"""


def pictures(folder):
    return {path.name: np.asarray(Image.open(path)).astype(int) for path in sorted(folder.iterdir()) if path.suffix}


@pytest.fixture
def munit(tmp_path, unpaired):
    (tmp_path / "munit.yaml").write_text(MUNIT.format(root=unpaired))
    inside("train", "--config", tmp_path / "munit.yaml", "--run-dir", tmp_path / "run")
    return tmp_path / "run"


def test_styles_depend_on_seed_name_and_number_alone(munit, unpaired, tmp_path):
    inputs = unpaired / "testA"

    def translated(name, *options, source=inputs):
        inside("test", "--run", munit, "--input", source, "--output", tmp_path / name, *options)
        return pictures(tmp_path / name)

    three = translated("three", "--num-outputs", 3, "--batch-size", 5)
    first = sorted(path.stem for path in inputs.iterdir())[0]
    assert {f"{first}_0.png", f"{first}_1.png", f"{first}_2.png"} <= three.keys()
    assert len(three) == 3 * len(list(inputs.iterdir()))
    assert (three[f"{first}_0.png"] != three[f"{first}_1.png"]).any()
    alone = translated("alone", "--num-outputs", 3, source=inputs / f"{first}.png")
    for name, picture in alone.items():  # batches round otherwise
        assert abs(picture - three[name]).max() <= 1
    one, other = translated("one"), translated("other", "--seed", 1)
    assert abs(one[f"{first}.png"] - three[f"{first}_0.png"]).max() <= 1
    assert (one[f"{first}.png"] != other[f"{first}.png"]).any()
    mean = translated("mean", "--deterministic", "--seed", 1)
    assert all((mean[name] == picture).all() for name, picture in translated("mean2", "--deterministic").items())


def test_translations_take_the_style_of_a_guide(munit, unpaired, tmp_path):
    guides = tmp_path / "guides"
    guides.mkdir()
    first = sorted((unpaired / "testB").iterdir())[0]
    shutil.copy(first, guides / "dawn.png")
    Image.new("RGB", (48, 40), "red").save(guides / "dusk.png")
    run = ["--run", munit, "--input", unpaired / "testA"]
    inside("test", *run, "--guide", guides / "dawn.png", "--output", tmp_path / "one")
    inside("test", *run, "--guide", guides, "--seed", 9, "--output", tmp_path / "both")
    one, both = pictures(tmp_path / "one"), pictures(tmp_path / "both")
    stem = sorted(one)[0].removesuffix(".png")
    assert abs(one[f"{stem}.png"] - both[f"{stem}_dawn.png"]).max() <= 1  # whatever the seed
    assert (both[f"{stem}_dawn.png"] != both[f"{stem}_dusk.png"]).any()
    inside(
        "test",
        *run[:2],
        "--input",
        unpaired / "testB",
        "--direction",
        "BtoA",
        "--guide",
        first,
        "--output",
        tmp_path / "ba",
    )
    assert len(pictures(tmp_path / "ba")) == len(list((unpaired / "testB").iterdir()))


def test_what_a_method_has_not_is_refused_in_one_line(munit, tiny_yaml, unpaired, tmp_path):
    inside("train", "--config", tiny_yaml, "--set", "train.max_steps=1", "--run-dir", tmp_path / "cut")
    run = ["--run", tmp_path / "cut", "--input", unpaired / "testA", "--output", tmp_path / "out"]
    assert "--num-outputs: cut has no styles" in told("test", *run, "--num-outputs", 3)
    assert "--guide: cut takes no style from another picture" in told("test", *run, "--guide", unpaired / "testB")
    assert "--label: cut knows no classes" in told("test", *run, "--label", "cat")
    run[1] = munit
    assert "--num-outputs 0: must be at least 1" in told("test", *run, "--num-outputs", 0)
    assert "a guide gives one style" in told("test", *run, "--num-outputs", 2, "--guide", unpaired / "testB")
    assert "no such file" in told("test", *run, "--guide", tmp_path / "nothing.png")
