"""The user's own files: none is overwritten, deleted or written through, whatever lies where ours would go."""

import os
import random
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

_KINDS = ("file", "file", "file", "link", "link to nowhere", "loop", "pipe", "folder")
_TRAIN = ("config.yaml", "report.html", "losses.png", "environment.json", "evaluation.json", "generator.safetensors")
_TRAIN += ("best.pt", ".lock", "metrics.jsonl", "checkpoints/step_00000002.pt", "samples/step_00000003.png")
_TRAIN += ("evaluation/last/0.png", "evaluation/mine.png", "checkpoints/notes.txt", "samples/mine.png")
_TEST = ("out/0.png", "out/3.png", "out/mine.png", "out_sheet.png", ".cut-written-out")
_COMPARE = ("table.md", "table.csv", "input.json", ".lock", "tiny/seed_0.json", "tiny/seed_0.log", "input.log")
_COMPARE += ("tiny/seed_0_pictures/0.png", "tiny/seed_0_pictures/mine.png", "tiny/seed_0/config.yaml")
_ADDED_TO = (".log", "metrics.jsonl", ".lock", ".cut-written-out")  # by whose own format they grow, if they are regular


def snapshot(folder):
    """All that is in a folder: content, kind and the text of links."""
    found = {}
    for root, folders, names in os.walk(folder):
        for path in (Path(root) / name for name in (*folders, *names)):
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                found[path] = os.readlink(path)
            elif stat.S_ISREG(mode):
                found[path] = path.read_bytes()
            else:
                found[path] = stat.S_IFMT(mode)
    return found


def _place(path, kind, elsewhere, rng):
    """Puts something of the user's own at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mine = elsewhere / f"{rng.randrange(10**9)}{path.suffix}"
    elsewhere.mkdir(exist_ok=True)
    if path.suffix == ".png":
        Image.fromarray(np.random.default_rng(rng.randrange(999)).integers(0, 255, (20, 20, 3), np.uint8)).save(mine)
    else:
        mine.write_text("mine: 1\n")
    if kind == "file":
        shutil.copyfile(mine, path)
    elif kind == "link":
        path.symlink_to(mine)
    elif kind == "link to nowhere":
        path.symlink_to(elsewhere / "nowhere" / path.name)
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
        (path / "mine.txt").write_text("mine")


def _command(program, tiny, straight, home):
    """A command that writes into `home`, and where its files could be in the way."""
    data = tiny.parent / "data"
    if program == "train":
        scored = ("--set", "eval={every_steps: 3, metrics: [l1]}", "--set", "train.max_steps=3")
        return ("--config", tiny, "--run-dir", home, *scored), _TRAIN
    if program == "test":
        return ("--run", straight, "--input", data / "testA", "--output", home / "out"), _TEST
    if program == "report":
        return (straight, "--output", home / "page.html"), ("page.html",)
    if program == "eval":
        folders = ("--generated", data / "testA", "--target", data / "testB", "--metrics", "l1", "--no-intervals")
        return (*folders, "--json", home / "scores.json"), ("scores.json",)
    if program == "compare":
        options = ("--seeds", 1, "--steps", 2, "--metrics", "l1")
        return ("--configs", tiny, *options, "--output", home), _COMPARE
    return ("pair", data / "testA", data / "testB", home / "pairs"), ("pairs/0.png", "pairs/mine.png", "pairs")


_COUNTS = {"train": (2, 40), "test": (3, 40), "report": (2, 12), "eval": (2, 12), "data": (2, 12), "compare": (0, 6)}


@pytest.mark.parametrize(
    "program, count",
    [
        *((program, few) for program, (few, _) in _COUNTS.items() if few),
        *(pytest.param(program, many, marks=pytest.mark.soak) for program, (_, many) in _COUNTS.items()),
    ],
)
def test_what_lies_where_our_files_would_go_stays_as_it_is(program, count, tiny, straight, forks, tally, tmp_path):
    rng = random.Random(f"{program}{count}")
    for trial in range(count):
        home, elsewhere = tmp_path / f"{trial}", tmp_path / f"{trial} elsewhere"
        arguments, names = _command(program, tiny, straight, home)
        home.mkdir()
        name, kind = rng.choice(names), rng.choice(_KINDS)
        _place(home / name, kind, elsewhere, rng)
        everything = (tmp_path, tiny.parent, straight)
        before = {path: content for folder in everything for path, content in snapshot(folder).items()}
        ended = forks.run(program, *arguments)
        told = (program, name, kind, ended)
        assert ended.status in (0, 2) and "Traceback" not in ended.stderr, told
        after = {path: content for folder in everything for path, content in snapshot(folder).items()}
        for path, content in before.items():
            kept = after.get(path, b"")
            if kind == "file" and path == home / name and name.endswith(_ADDED_TO):
                assert kept.startswith(content), (path, *told)
            else:
                assert kept == content, (path, *told)
        if ended.status == 2:
            assert ended.mistake, told
        tally[f"cut-{program}: files of the user's own where ours would go, as they were"] += 1
        shutil.rmtree(home)


@pytest.mark.parametrize("program", ["test", "train", "report", pytest.param("compare", marks=pytest.mark.soak)])
def test_the_same_command_is_no_stranger_to_its_own_files(program, tiny, straight, forks, tmp_path):
    """The guard above must not turn against the ordinary: resume, and translate again."""
    arguments, _ = _command(program, tiny, straight, tmp_path / "home")
    for _ in range(2):
        forks.run(program, *arguments).check()


_PICTURES = ("0.png", "1.jpg", "2.webp", "deep/3.png", "linked/4.png")
_LEFT_OUT = {  # what is not translated -> what must be said of it
    "photo.psd": ".psd",
    "broken.png": "broken.png",
    "pipe.png": "pipe.png",
    "nowhere.png": "nowhere.png",
    "loop.png": "loop.png",
    "text.png": "text.png",
    "video.mp4": ".mp4",
}


@pytest.mark.parametrize("count", [3, pytest.param(40, marks=pytest.mark.soak)])
def test_every_file_of_an_input_folder_is_translated_or_named(count, straight, forks, tally, tmp_path):
    rng = random.Random(count)
    for trial in range(count):
        source, output = tmp_path / f"{trial} in", tmp_path / f"{trial} out"
        good = rng.sample(_PICTURES, rng.randint(1, len(_PICTURES)))
        bad = rng.sample(sorted(_LEFT_OUT), rng.randint(1, 4))
        for name in good:
            path = source / name
            if name.startswith("linked/"):
                path = tmp_path / f"{trial} disk" / "4.png"
                source.mkdir(exist_ok=True)
                (source / "linked").symlink_to(path.parent)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20, 20), "red").save(path)
        for name in bad:
            _spoil(source / name)
        ended = forks.run("test", "--run", straight, "--input", source, "--output", output, "--format", "png")
        assert ended.status in (0, 2) and "Traceback" not in ended.stderr, ended
        for name in good:
            assert (output / Path(name).with_suffix(".png")).exists(), (name, ended)
        for name in bad:
            assert _LEFT_OUT[name] in ended.stderr and not (output / name).exists(), (name, ended)
        tally["files of an input folder, translated or named"] += len(good) + len(bad)


def _spoil(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name == "pipe.png":
        os.mkfifo(path)
    elif path.name == "nowhere.png":
        path.symlink_to("gone.png")
    elif path.name == "loop.png":
        path.symlink_to(path.name)
    else:
        path.write_bytes(b"\x89PNG\r\n\x1a\n" if path.name == "broken.png" else b"no picture")
