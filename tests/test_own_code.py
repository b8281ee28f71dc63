"""A network and a kind of data of a user's own, run from outside the package as docs/own_networks_and_data.md says."""

import re
import sys

import numpy as np
import pytest
import torch
from conftest import REPOSITORY
from PIL import Image
from programs import call

from cut.build import build_method, build_trainer, load_translator, read_config
from cut.config.own_code import own_code
from cut.data.images import read_image
from cut.errors import UserError
from cut.storage.checkpoint import load_checkpoint, write_checkpoint
from cut.train.run_dir import open_run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Holds the files of the page, and is the current folder."""
    page = (REPOSITORY / "docs/own_networks_and_data.md").read_text()
    (code,), (settings,) = (re.findall(rf"```{kind}\n(.*?)```", page, re.S) for kind in ("python", "yaml"))
    (tmp_path / "my_parts.py").write_text(code)
    (tmp_path / "discs.yaml").write_text(settings)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("my_parts", None)


def test_they_train_resume_and_translate(folder):
    train = ["--config", "discs.yaml", "--set", "train.accelerator=cpu", "--resume", "--set"]
    call("train", *train, "train.max_steps=2", folder=folder)
    assert "going on from step 2 of 4" in call("train", *train, "train.max_steps=4", folder=folder).stderr
    (folder / "in").mkdir()
    Image.fromarray(np.full((24, 20, 3), 200, np.uint8)).save(folder / "in/a.png")
    test = ["--run", "runs/discs", "--input", "in", "--output", "out", "--accelerator", "cpu"]
    refused = call("test", *test, folder=folder, status=2).stderr
    assert "its generator.name 'my_parts:PlainGenerator' is code outside this program" in refused
    assert "--allow-import" in refused and not (folder / "out").exists()
    call("test", *test, "--allow-import", folder=folder)
    assert read_image(folder / "out/a.png", 3).shape == (24, 20, 3)


def test_each_class_gets_what_its_section_says(folder):
    method = build_method(read_config("discs.yaml", ["generator.width=5"]))
    assert method.generator_ab[0].out_channels == 5 and (method.generator_ab.in_channels, 3) == (3, 3)
    assert method.discriminator_a[1].in_features == 3 * 16 * 16
    assert (method.discriminator_a[1].bias == 0).all()  # initialised, as its section has `init`
    assert not (method.generator_ab[0].bias == 0).any()  # not initialised
    stream = build_trainer(read_config("discs.yaml", ["data.count=7", "train.accelerator=cpu"])).stream
    assert stream.steps_per_epoch == 7 and stream[3]["real_a"].shape == (3, 16, 16)
    assert torch.equal(stream[3]["real_b"], stream[3]["real_b"])


def test_their_settings_are_written_and_explained(folder):
    from cut.config.explain import to_explained_yaml

    config = read_config("discs.yaml")
    (folder / "again.yaml").write_text(to_explained_yaml(config))
    assert read_config("again.yaml") == config
    assert "#   width: Channels of the two convolutions between" in (folder / "again.yaml").read_text()


@pytest.mark.parametrize(
    "override, line",
    [
        ("generator.widht=3", "discs.yaml: generator.widht: unknown key; did you mean 'width'?"),
        ("generator.width=0", "discs.yaml: generator.width: input should be greater than or equal to 1, got 0"),
        ("generator.name=my_parts:None_", "discs.yaml: generator.name: cannot import 'my_parts:None_'"),
        ("generator.name=my_parts:nn", "generator.name: 'my_parts:nn' needs a class attribute Config, a subclass of"),
        ("generator.name=my_parts:Discs", "needs a class attribute Config, a subclass of cut.config.NetworkConfig"),
        ("data.name=my_parts:PlainGenerator", "needs a class attribute Config, a subclass of cut.config.LoaderConfig"),
        (
            "generator={name: resnett}",
            "no such name 'resnett'; did you mean 'resnet'? (known here: resnet, stylegan2, unet, or your own",
        ),
        ("method.name=pix2pix", "data.name: pix2pix cannot learn from my_parts:Discs (allowed: paired)"),
        ("train.checkpoint_activations=true", "train.checkpoint_activations needs a generator"),
    ],
)
def test_a_mistake_is_one_line(folder, override, line):
    with pytest.raises(UserError) as caught:
        read_config("discs.yaml", [override])
    assert line in str(caught.value) and "\n" not in str(caught.value)


def test_what_a_class_cannot_be_is_told_when_it_is_built(folder):
    (folder / "odd_parts.py").write_text(
        "from torch import nn\nfrom cut.config import NetworkConfig, ResnetGeneratorConfig, UnpairedDataConfig\n"
        "class Config(NetworkConfig):\n    depth: int = 2\n"
        "class NoModule:\n    Config = Config\n"
        "class OtherArguments(nn.Module):\n    Config = Config\n    def __init__(self, a, b):\n        pass\n"
        "class Named:\n    Config = ResnetGeneratorConfig\n"
        "class DataConfig(UnpairedDataConfig):\n    name: str\n"
        "class NoStream:\n    Config = DataConfig\n"
    )
    for name, line in (
        ("NoModule", "generator.name: 'odd_parts:NoModule' is not a subclass of torch.nn.Module"),
        ("OtherArguments", "generator.name: 'odd_parts:OtherArguments' cannot be built from its Config .*depth"),
        ("Named", "the Config of 'odd_parts:Named' needs a field of its own `name: str`"),
    ):
        with pytest.raises(UserError, match=line):
            build_method(read_config("discs.yaml", [f"generator={{name: 'odd_parts:{name}'}}"]))
    config = read_config("discs.yaml", ["data={name: 'odd_parts:NoStream', root: x, crop_px: 16}"])
    with pytest.raises(UserError, match=r"'odd_parts:NoStream' is not a subclass of cut.data.stream.SampleStream"):
        build_trainer(config)


@pytest.mark.parametrize("section", ["generator", "discriminator", "data"])
def test_a_checkpoint_may_not_name_other_code_than_the_yaml(folder, section):
    """And what it names is not imported for it."""
    trainer = build_trainer(read_config("discs.yaml", ["train.accelerator=cpu"]))
    open_run(trainer, folder / "run", resume=False)
    path = trainer.save(folder / "run")
    state = load_checkpoint(path)
    state["config"][section]["name"] = "evil:Class"
    write_checkpoint(folder / "evil.pt", 0, state)
    (folder / "evil.pt").replace(path)
    (folder / "evil.py").write_text("open('ran', 'w')")
    again = build_trainer(read_config("discs.yaml", ["train.accelerator=cpu"]))
    with pytest.raises(UserError, match=f"{section}.name 'evil:Class' is code outside this program, and not that of"):
        open_run(again, folder / "run", resume=True)
    with pytest.raises(UserError, match="--allow-import"):
        load_translator(path)
    assert not (folder / "ran").exists()


def test_own_code_is_found_in_every_section():
    values = {key: {"name": f"m:{key}"} for key in ("method", "generator", "discriminator", "data", "schedule")}
    assert own_code(values) == {f"{key}.name": f"m:{key}" for key in list(values)[:4]}
    assert own_code({"method": {"name": "cut"}, "generator": None, "data": {"name": 3}}) == {}
