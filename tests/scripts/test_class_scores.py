"""scripts/class_scores.py: what is asked for and what is kept of a source show in its scores."""

import importlib.util
import json

import numpy as np
import pytest
import torch
from conftest import REPOSITORY
from PIL import Image

from cut.errors import UserError

spec = importlib.util.spec_from_file_location("class_scores", REPOSITORY / "scripts" / "class_scores.py")
class_scores = importlib.util.module_from_spec(spec)
spec.loader.exec_module(class_scores)


def picture(shape, ground, glyph):
    """A bar, upright or lying, of one colour on another."""
    pixels = np.empty((32, 32, 3), dtype=np.uint8)
    pixels[:] = ground
    pixels[(slice(4, 28), slice(13, 19)) if shape == "upright" else (slice(13, 19), slice(4, 28))] = glyph
    return Image.fromarray(pixels)


@pytest.fixture
def real(tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for shape in ("lying", "upright"):
            folder = tmp_path / "real" / split / shape
            folder.mkdir(parents=True)
            for index in range(12):
                picture(shape, rng.integers(0, 90, 3), rng.integers(170, 256, 3)).save(folder / f"{index}.png")
    return tmp_path / "real"


def translate(real, folder, shape_of, keeps_colours):
    """Each test picture translated to each class, with its own colours, or those of the picture before it."""
    before = np.zeros((32, 32, 3), dtype=np.uint8)
    for path in sorted((real / "test").rglob("*.png")):
        pixels = np.asarray(Image.open(path))
        colours = pixels if keeps_colours else before
        for asked in ("lying", "upright"):
            target = folder / path.parent.name / f"{path.stem}_{asked}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            picture(shape_of(asked), colours[0, 0], colours[16, 16]).save(target)
        before = pixels


def test_scores_tell_class_and_colours(real, tmp_path):
    found = {}
    for name, shape_of, keeps in (("right", lambda asked: asked, True), ("wrong", lambda asked: "lying", False)):
        translate(real, tmp_path / name, shape_of, keeps)
        output = tmp_path / f"{name}.json"
        words = ["--real", real, "--sources", real / "test", "--translations", tmp_path / name, "--output", output]
        class_scores.main([str(word) for word in (*words, "--steps", 15)])
        found[name] = json.loads(output.read_text())
    right, wrong = found["right"], found["wrong"]
    assert right["judge"] == right["rc"] == right["fc"] == 1.0 and right["num_translations"] == 48
    assert wrong["rc"] == 0.5 and wrong["fc"] < 0.8
    assert right["ground_kept"] > 0.99 and right["glyph_kept"] > 0.99
    assert abs(wrong["ground_kept"]) < 0.5 and abs(wrong["glyph_kept"]) < 0.5
    assert {"tilt_judge", "tilt_kept"} <= right.keys()
    assert right["frechet"] < 0.3 * wrong["frechet"]


def test_tilt_is_seen_whatever_the_colours():
    bars = torch.stack([torch.from_numpy(np.array(picture("upright", ground, 255))) for ground in (0, 40, 80)])
    bars = bars.permute(0, 3, 1, 2) / 127.5 - 1.0
    network = class_scores.train_tilt(bars, 60, 0)
    turns = torch.linspace(-1, 1, 21)
    sources, others = (class_scores.turned(bars[i].expand(21, -1, -1, -1), turns) for i in (0, 2))
    scores = class_scores.tilt_scores(network, bars.repeat(7, 1, 1, 1), sources, others)
    assert scores["tilt_judge"] > 0.9 and scores["tilt_kept"] > 0.9
    assert class_scores.tilt_scores(network, bars, sources, others.flip(0))["tilt_kept"] < -0.9
    turned = class_scores.turned(bars[:1], torch.tensor([1.0]))[0, 0]  # by 20 degrees: 12 px from the centre about 4
    assert abs(turned[5].argmax() - turned[26].argmax()) in range(6, 12)


def test_mistakes_are_one_line_and_nothing_of_the_users_is_lost(real, tmp_path, capsys):
    translate(real, tmp_path / "right", lambda asked: asked, True)
    words = ["--real", real, "--sources", real / "test", "--translations", tmp_path / "right", "--steps", 1, "--output"]
    (tmp_path / "mine.json").write_text("mine")
    with pytest.raises(UserError, match="mine.json: cannot be written .it is there already"):
        class_scores.main([str(word) for word in (*words, tmp_path / "mine.json")])
    assert (tmp_path / "mine.json").read_text() == "mine"
    (real / "train" / "beside.png").write_bytes(b"")
    (tmp_path / "right" / "lying" / "0_lying_1.png").write_bytes(b"")
    with pytest.raises(UserError, match="0_lying_1.png: is named after no picture of .* one output each"):
        class_scores.main([str(word) for word in (*words, tmp_path / "out.json")])
    assert "train: left out: 1 picture beside the folders of classes (beside.png)" in capsys.readouterr().err


def test_classes_with_an_underscore_in_their_names_are_told_apart(tmp_path):
    for name in ("x", "x_cat"):
        for folder, ends in (("sources", [""]), ("made", ["_cat", "_big_cat"])):
            for end in ends:
                (tmp_path / folder).mkdir(exist_ok=True)
                picture("lying", 0, 255).save(tmp_path / folder / f"{name}{end}.png")
    labels = class_scores.read_translations(tmp_path / "made", tmp_path / "sources", ("big_cat", "cat"))[1]
    assert labels.tolist() == [0, 1, 0, 1]  # x_big_cat, x_cat, x_cat_big_cat, x_cat_cat
