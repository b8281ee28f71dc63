"""Every command that reads a folder says once what of it is left out."""

import re
import shutil

import numpy as np
import pytest
from conftest import make_labelled
from PIL import Image
from programs import inside, saved_run, told

from cut.cli import data, eval
from cut.config import LabelledDataConfig
from cut.data.images import read_image, write_image
from cut.data.kinds import open_stream
from cut.data.left_out import describe_left_out
from cut.data.transforms import resized
from cut.errors import UserError


@pytest.fixture
def phone(unpaired):
    """Each folder holds 30 pictures of a telephone beside those that are read, and an animation."""
    frames = [Image.fromarray(np.full((40, 40, 3), value, np.uint8)) for value in (10, 200)]
    for folder in ("trainA", "trainB", "testA", "testB"):
        for number in range(30):
            (unpaired / folder / f"{number}.PSD").touch()
        frames[0].save(unpaired / folder / "9.gif", save_all=True, append_images=frames[1:])
    return unpaired


def _said(capsys, program, *folders):
    lines = [line for line in capsys.readouterr().err.splitlines() if "note: " in line]
    assert lines == [
        f"cut-{program}: note: {folder}: left out: 30 .psd files, which are not read as pictures; 1 of 5 pictures: "
        "only the first page or frame is used"
        for folder in folders
    ]


def test_training_says_it_of_what_it_learns_from_and_is_scored_by(phone, tiny_yaml, tmp_path, capsys):
    run = ("--config", tiny_yaml, "--set", "train.max_steps=1")
    inside("train", *run, "--dry-run")
    _said(capsys, "train", phone / "trainA", phone / "trainB")
    inside("train", *run, "--run-dir", tmp_path / "run", "--set", "eval={every_steps: 1, metrics: [l1]}")
    _said(capsys, "train", phone / "trainA", phone / "trainB", phone / "testA", phone / "testB")


def test_translating_says_it_of_its_input(phone, tiny_yaml, tmp_path, capsys):
    run = saved_run(tiny_yaml, tmp_path / "run")
    inside("test", "--run", run, "--input", phone / "testA", "--output", tmp_path / "out")
    _said(capsys, "test", phone / "testA")
    inside("test", "--run", run, "--input", phone / "testA" / "9.gif", "--output", tmp_path / "out")
    said = capsys.readouterr().err
    assert f"cut-test: note: {phone / 'testA' / '9.gif'}: only the first page or frame is used" in said


def test_scoring_says_it_of_both_folders(phone, capsys):
    words = ["--generated", phone / "testA", "--target", phone / "testB", "--metrics", "l1", "--no-intervals"]
    eval._evaluate(eval._parse([str(word) for word in words]))
    _said(capsys, "eval", phone / "testA", phone / "testB")


def test_pairing_and_splitting_say_it(phone, tmp_path, capsys):
    data._main(["pair", str(phone / "trainA"), str(phone / "trainB"), str(tmp_path / "pairs")])
    _said(capsys, "data", phone / "trainA", phone / "trainB")
    data._main(["split", str(phone / "trainA"), str(tmp_path / "halves")])
    _said(capsys, "data", phone / "trainA")
    data._main(["check", str(phone)])
    text = capsys.readouterr().out
    assert text.count("120 .psd files") == 1 and text.count("4 pictures: only the first page or frame is used") == 1


def test_a_picture_of_another_scale_is_said_and_the_advice_scales_it(tiny_yaml, tmp_path, capsys):
    run = saved_run(tiny_yaml, tmp_path / "run")
    (tmp_path / "in").mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (100, 120, 3), np.uint8)).save(tmp_path / "in" / "x.png")
    words = ("--run", run, "--input", tmp_path / "in", "--output")
    inside("test", *words, tmp_path / "own")
    said = capsys.readouterr().err
    assert "note: 1 of 1 pictures are 3 times as large as those of the training" in said
    advice = re.search(r"--load-px (\d+) scales these so too", said)
    inside("test", *words, tmp_path / "scaled", "--load-px", advice[1])
    assert "times as large" not in capsys.readouterr().err
    assert read_image(tmp_path / "own" / "x.png", 3).shape == (100, 120, 3)
    translated = read_image(tmp_path / "scaled" / "x.png", 3)
    small = resized(read_image(tmp_path / "in" / "x.png", 3), (36, 36)).permute(1, 2, 0).numpy()
    write_image(tmp_path / "small" / "x.png", small)
    inside("test", "--run", run, "--input", tmp_path / "small", "--output", tmp_path / "by_hand")
    assert (translated == read_image(tmp_path / "by_hand" / "x.png", 3)).all()
    assert "--load-px 4: must be from 8 to" in told("test", *words, tmp_path / "bad", "--load-px", 4)


@pytest.fixture
def labelled(tmp_path):
    """Folders of classes with pictures beside them, another file, and a class that the test split lacks."""
    make_labelled(tmp_path / "set", "abc")
    for name in ("x.png", "y.jpg", "notes.txt"):
        (tmp_path / "set" / "train" / name).write_bytes((tmp_path / "set" / "train" / "a" / "0.png").read_bytes())
    shutil.copytree(tmp_path / "set" / "train" / "a", tmp_path / "set" / "test" / "a")
    return tmp_path / "set"


def test_what_lies_beside_folders_of_classes_is_said(labelled, tmp_path, capsys):
    path = tmp_path / "biggan.yaml"
    path.write_text(
        f"""
method:
  name: biggan
  generator: {{base_channels: 2, latent_part: 2, shared_dim: 3}}
  discriminator: {{base_channels: 2}}
data: {{name: labelled, root: "{labelled}", classes: [a, b], load_px: 32, crop_px: 32, batch_size: 2, num_workers: 0}}
schedule: {{name: constant, total_steps: 1}}
train: {{accelerator: cpu}}
"""
    )
    inside("train", "--config", path, "--dry-run")
    notes = [line for line in capsys.readouterr().err.splitlines() if "note: " in line]
    assert notes == [
        f"cut-train: note: {labelled / 'train'}: left out: 2 pictures beside the folders of classes (x.png; y.jpg); "
        "1 folder that data.classes does not name (c); 1 .txt file, which are not read as pictures",
        f"cut-train: note: {labelled / 'test'}: has no folder b, so sample sheets show training pictures",
    ]
    said = told("train", "--config", path, "--run-dir", labelled / "train" / "run")
    assert said.startswith(f"{labelled / 'train' / 'run'}: lies in {labelled / 'train'}")


def test_a_note_is_one_line_whatever_the_names(tmp_path):
    make_labelled(tmp_path / "set", ["a", "b\nc"], count=1)
    (tmp_path / "set" / "train" / "a" / "x\n.psd").touch()
    (tmp_path / "set" / "train" / "y\n.png").touch()
    stream = open_stream(LabelledDataConfig(root=str(tmp_path / "set"), classes=["a"]), 0)
    (line,) = stream.passed_over("train")
    assert r"(y\n.png); 1 folder that data.classes does not name (b\nc)" in line and line.isprintable()
    sub = tmp_path / "line\nbreak"
    (tmp_path / "set" / "train").rename(sub)
    assert [line.count("\n") for line in describe_left_out([sub])] == [0]


@pytest.mark.parametrize(
    "names", [["a", "a"], ["caf\u00e9", "cafe\u0301"], ["a/b"], ["."], [" "], ["x\0"], ["all"], ["k" * 101]]
)
def test_names_that_are_no_folders_are_no_classes(names):
    """A class named '' was the folder of all classes, and names with a slash made folders among the results."""
    with pytest.raises(ValueError, match=r"is not the name of a class|stands there twice"):
        LabelledDataConfig(root="x", classes=names)


def test_folders_whose_names_no_class_can_have_are_named(tmp_path):
    make_labelled(tmp_path, ["a", r"b\c"], count=1)
    with pytest.raises(UserError, match=r"data.root: .*train: 'b\\\\c' is not the name of a class.*; rename it"):
        open_stream(LabelledDataConfig(root=str(tmp_path)), 0)


def test_check_says_it_too(labelled, capsys):
    (labelled / "train" / "d").mkdir()
    data._main(["check", str(labelled)])
    text = capsys.readouterr().out
    assert "  train: 2 pictures beside folders, left out where these are classes (data.name: labelled)" in text
    assert "  train: no picture in d, so none can be a class (data.name: labelled)" in text
    assert "1 .txt file, which are not read as pictures" in text and "  test: " not in text
