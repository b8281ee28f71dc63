"""Paths in a YAML and in --set, where no shell replaces `~` and environment variables."""

import copy
import pickle
import re
from pathlib import Path

import pytest
from conftest import make_unpaired
from programs import inside

import cut
from cut.build import read_config
from cut.cli.test import _parse
from cut.config import (
    EvalConfig,
    IDXDataConfig,
    ImagesDataConfig,
    PairedDataConfig,
    SingleDataConfig,
    UnpairedDataConfig,
)
from cut.config.load import changes_of_run
from cut.errors import UserError

MINIMAL = "method: {name: cut}\ndata: {root: somewhere}\n"


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("HOME", "USERPROFILE", "PICTURES"):
        monkeypatch.setenv(name, str(tmp_path))
    return tmp_path


def write(path, text):
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", ["~/x", "$HOME/x", "${HOME}/x", "$PICTURES/x"])
def test_home_and_environment_variables_are_replaced_in_every_path(home, path):
    kinds = (UnpairedDataConfig, PairedDataConfig, ImagesDataConfig, IDXDataConfig)
    single = SingleDataConfig(a=path, b=path)
    score = EvalConfig(every_steps=1, features=path, palette=path, segmenter=path)
    weights = EvalConfig(every_steps=1, inception_weights=path).inception_weights
    found = [kind(root=path).root for kind in kinds]
    found += [single.a, single.b, score.features, score.palette, score.segmenter, weights]
    assert found == [f"{home}/x"] * 10


def test_in_a_yaml_its_base_and_an_override(home):
    write(home / "base.yaml", MINIMAL)
    child = write(home / "child.yaml", "base: ~/base.yaml\ndata: {root: $PICTURES/a}\n")
    assert read_config(child).data.root == f"{home}/a"
    assert read_config(child, ["data.root=~/b"]).data.root == f"{home}/b"


@pytest.mark.parametrize("path", ["a~/b", "$NOT_SET/x", "50$", "earth2map"])
def test_other_text_stays_as_it_is(home, path):
    assert UnpairedDataConfig(root=path).root == path


def test_a_leading_tilde_is_home_on_command_lines_and_in_python(home, monkeypatch):
    """Shells leave it in `--output=~/x`, which made a folder of the name `~`."""
    monkeypatch.chdir(home)
    args = _parse(["--run", "~/run", "--input=~", "--output=~/x~", "--guide", "./~", "--label", "~x"])
    assert (args.run, args.input, args.output) == (home / "run", home, home / "x~")
    assert (args.guide, args.label) == (Path("~"), "~x")
    with pytest.raises(UserError, match=re.escape(f"{home / 'none'}: ")):
        cut.load("~/none")
    assert not list(home.iterdir())


def test_a_path_is_stored_as_it_was_written(home):
    config = read_config(write(home / "a.yaml", MINIMAL), ["data.root=~/x"])
    assert config.to_dict()["data"]["root"] == "~/x" and type(config.to_dict()["data"]["root"]) is str
    again = read_config(write(home / "b.yaml", config.to_yaml()))
    for other in (again, copy.deepcopy(again), pickle.loads(pickle.dumps(again))):
        assert other == config and other.data.root == f"{home}/x" and other.to_dict() == config.to_dict()


def test_resuming_compares_the_folders_that_are_meant(home):
    plain = write(home / "a.yaml", MINIMAL)
    before, absolute, other = (read_config(plain, [f"data.root={p}"]) for p in ("~/x", f"{home}/x", "~/y"))
    assert changes_of_run(before, absolute) == []
    assert changes_of_run(before, other) == [f"data.root: {home}/x -> {home}/y"]


def test_a_run_goes_on_where_its_variable_means_another_folder(home, tiny_yaml, tmp_path, monkeypatch, capsys):
    train = ["--config", tiny_yaml, "--set", "data.root=$PICTURES/set", "--run-dir", tmp_path / "run"]
    for job, steps in (("one", 2), ("two", 6)):
        make_unpaired(home / job / "set")
        monkeypatch.setenv("PICTURES", str(home / job))
        inside("train", *train, "--set", f"schedule.total_steps={steps}", "--resume")
    said = capsys.readouterr().err
    assert "going on from step 2 of 6; with schedule.total_steps: 2 -> 6\n" in said
    assert "$PICTURES/set" in (tmp_path / "run/config.yaml").read_text()
