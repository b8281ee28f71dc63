"""pix2pix and paired data from the command line; own processes only where it counts, for each costs time."""

import importlib

import pytest
from conftest import REPOSITORY, make_paired
from PIL import Image
from test_train_cli import call

SMALL = (
    "generator={image_px: 64, base_channels: 2, dropout: 0.5}",
    "discriminator.base_channels=2",
    "data={load_px: 72, crop_px: 64, num_workers: 0}",
    "train={max_steps: 2, num_samples: 1, tensorboard: false, accelerator: cpu}",
)


def settings(*overrides):
    return [part for override in (*SMALL, *overrides) for part in ("--set", override)]


def here(program, *arguments, status=0):
    """The program's main function in this process."""
    with pytest.raises(SystemExit) as stop:
        importlib.import_module(f"cut.cli.{program}").main([str(word) for word in arguments])
    assert stop.value.code == status


def pixels(folder):
    return {path.name: Image.open(path).convert("RGB").tobytes() for path in sorted(folder.glob("*.*g"))}


def test_train_and_translate_pairs(tmp_path, capsys):
    root, run = make_paired(tmp_path / "data", count=2), tmp_path / "run"
    config = REPOSITORY / "configs/facades_pix2pix.yaml"
    call("train", "--config", config, "--run-dir", run, *settings(f"data.root={root}"))
    here("data", "split", root / "test", tmp_path)
    labels, photos = tmp_path / "testB", tmp_path / "testA"
    test = ("test", "--run", run, "--input", labels, "--target", photos)
    call(*test, "--output", tmp_path / "zero")
    outputs = {"zero": pixels(tmp_path / "zero")}
    for name, extra in {
        "again": ("--batch-size", 1),
        "one": ("--seed", 1),
        "quiet": ("--deterministic",),
        "quiet1": ("--deterministic", "--seed", 1),
    }.items():
        here(*test, "--output", tmp_path / name, *extra)
        outputs[name] = pixels(tmp_path / name)
    assert outputs["zero"] == outputs["again"] != outputs["one"]
    assert outputs["quiet"] == outputs["quiet1"] != outputs["zero"]
    assert "pairs A|B" not in capsys.readouterr().err

    here("test", "--run", run, "--input", root / "test", "--output", tmp_path / "whole")
    assert "look like pairs A|B, and both halves are translated" in capsys.readouterr().err


def test_pair_and_split_are_inverse(tmp_path, capsys):
    root = make_paired(tmp_path / "data")
    done = call("data", "split", root / "train", tmp_path / "halves")
    assert done.stdout == f"{tmp_path}/halves/trainA, {tmp_path}/halves/trainB: 4 pictures each\n"
    sides = tmp_path / "halves/trainA", tmp_path / "halves/trainB"
    assert call("data", "pair", *sides, tmp_path / "again").stdout == f"{tmp_path}/again: 4 pictures A|B\n"
    assert pixels(tmp_path / "again") == pixels(root / "train")
    here("data", "pair", *sides, tmp_path / "again", status=2)
    assert "again: exists already, and nothing is overwritten" in capsys.readouterr().err
    here("data", "check", tmp_path / "halves")
    report = capsys.readouterr().out
    assert "pairs: train 4" in report and "no errors" in report


@pytest.mark.parametrize("command", ["pair", "split"])
def test_help_has_an_example(command, capsys):
    here("data", command, "--help")
    out = capsys.readouterr().out
    assert f"cut-data {command}" in out and "example" in out and "Nothing is lost" in out


def test_mistakes_are_one_line(tmp_path, capsys):
    config = REPOSITORY / "configs/earth2map_pix2pix.yaml"

    def message(*arguments):
        here(*arguments, status=2)
        (line,) = capsys.readouterr().err.splitlines()
        return line

    missing = settings(f"data.root={tmp_path}/earth2map_paired")
    assert "fetch it with: cut-data earth2map --paired --output" in message("train", "--config", config, *missing)
    unpaired = message("train", "--config", config, "--set", "data={name: unpaired, root: x}")
    assert "pix2pix cannot learn from unpaired (allowed: paired)" in unpaired
    paths = ("--run", tmp_path, "--input", tmp_path, "--output", tmp_path / "out")
    assert "--seed -1: must be from 0" in message("test", *paths, "--seed", -1)
