"""The method of docs/methods.md, run from outside the package as its section says."""

import re

import pytest
from conftest import REPOSITORY, make_unpaired
from programs import call

TINY = ("generator.base_channels=2", "generator.num_blocks=4", "discriminator.base_channels=2", "data.load_px=36")
TINY += ("data.crop_px=32", "data.num_workers=0", "train.accelerator=cpu", "train.tensorboard=false")


@pytest.fixture
def folder(tmp_path):
    """Holds the files of the section, and tiny pictures."""
    section = (REPOSITORY / "docs/methods.md").read_text().split("## A complete method")[1].split("\n## ")[0]
    (code,), (settings,) = (re.findall(rf"```{kind}\n(.*?)```", section, re.S) for kind in ("python", "yaml"))
    (tmp_path / "my_methods.py").write_text(code)
    (tmp_path / "my_simgan.yaml").write_text(settings)
    make_unpaired(tmp_path / "datasets" / "earth2map")
    return tmp_path


def test_it_trains_resumes_and_translates(folder):
    train = ["--config", "my_simgan.yaml", *(part for key in TINY for part in ("--set", key))]
    for steps in (2, 4):
        done = call("train", *train, "--set", f"train.max_steps={steps}", "--resume", folder=folder)
    assert "going on from step 2 of 4" in done.stderr and "generator/reg" in done.stderr
    output = ["--run", "runs/my_simgan", "--input", "datasets/earth2map/testA", "--output", "results"]
    assert "--allow-import" in call("test", *output, folder=folder, status=2).stderr
    call("test", *output, "--allow-import", folder=folder)
    assert len(list((folder / "results").glob("*.png"))) == 4


def test_a_mistake_in_its_settings_is_told_with_the_right_word(folder):
    done = call("train", "--config", "my_simgan.yaml", "--set", "method.lambda_rge=1", folder=folder, status=2)
    assert "did you mean 'lambda_reg'?" in done.stderr
