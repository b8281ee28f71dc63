"""Full disks, folders that cannot be written, damaged checkpoints: told on one line, and nothing good is lost."""

import random
import shutil
import subprocess
from contextlib import contextmanager

import pytest
from damage import damage
from same_runs import assert_same_end, differing

from cut.data.images import read_image
from cut.errors import UserError
from cut.storage.checkpoint import INFERENCE_FILE, list_checkpoints, load_checkpoint, load_inference_file

_DRAWN = {"kind": "drawn_losses"}  # a blank losses.png is too small to meet these bounds


@contextmanager
def _small_disk(folder, kib):
    """A file system of so many KiB at `folder`; skips the test where mounting one is not allowed."""
    folder.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("kib", [300, *(pytest.param(kib, marks=pytest.mark.soak) for kib in range(40, 900, 40))])
def test_a_disk_that_fills_up_while_training_costs_no_work(kib, tiny, straight, forks, tally, tmp_path):
    start = ("train", "--config", tiny, "--run-dir")
    everything = ("--set", "train.sample_every_steps=3", "--set", "train.tensorboard=true")
    with _small_disk(tmp_path / "disk", kib) as disk:
        ended = forks.run(*start, disk / "run", *everything, fault=_DRAWN)
        assert "cannot be written" in ended.mistake
        for path in list_checkpoints(disk / "run" / "checkpoints"):
            load_checkpoint(path)  # whole, or an error
        assert not list(disk.rglob("*.part*")), "a half file takes up room"
        shutil.copytree(disk / "run", tmp_path / "run")
    forks.run(*start, tmp_path / "run").check()  # after some space was freed
    assert_same_end(straight, tmp_path / "run", logs=False)  # sample sheets are logged too
    tally["full disks"] += 1


@pytest.mark.parametrize("kib", [2, *(pytest.param(kib, marks=pytest.mark.soak) for kib in (1, 3, 5, 9, 17, 33))])
def test_a_log_that_cannot_grow_is_told(kib, tiny, forks, tally, tmp_path):
    settings = ("train.log_every_steps=1", "train.checkpoint_every_steps=1000", "train.sample_every_steps=1000")
    arguments = [part for setting in settings for part in ("--set", setting)]
    ended = forks.run(
        "train", "--config", tiny, "--run-dir", tmp_path / "run", *arguments, file_mib=kib / 1024, fault=_DRAWN
    )
    assert "cannot be written" in ended.mistake and "File too large" in ended.mistake
    tally["failing writes"] += 1


def test_a_disk_that_fills_up_while_translating_keeps_what_was_written(tiny, straight, forks, tally, tmp_path):
    source = tiny.parent / "data" / "testA"
    with _small_disk(tmp_path / "disk", 8) as disk:
        ended = forks.run("test", "--run", straight, "--input", source, "--output", disk / "out", "--format", "bmp")
        assert "No space left on device" in ended.mistake and str(disk / "out") in ended.mistake
        written = list((disk / "out").glob("*.bmp"))
        assert written and not list((disk / "out").glob("*.part"))
        assert all(read_image(path, 3).shape == (20, 20, 3) for path in written)
    tally["full disks"] += 1


def test_a_run_directory_that_cannot_be_written_is_told(tiny, straight, forks, tally, tmp_path):
    with _small_disk(tmp_path / "disk", 4000) as disk:
        shutil.copytree(straight, disk / "run")
        list_checkpoints(disk / "run" / "checkpoints")[-1].unlink()
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        ended = forks.run("train", "--config", tiny, "--run-dir", disk / "run")
        assert "Read-only file system" in ended.mistake and "another --run-dir" in ended.mistake
        ended = forks.run("test", "--run", disk / "run", "--input", tiny.parent / "data", "--output", disk / "out")
        assert "Read-only file system" in ended.mistake
    tally["folders that cannot be written"] += 2


@pytest.mark.parametrize("count", [60, pytest.param(2000, marks=pytest.mark.soak)])
def test_no_damage_of_a_checkpoint_or_of_an_inference_file_goes_unnoticed(count, straight, tally, tmp_path):
    rng = random.Random(count)
    checkpoint = list_checkpoints(straight / "checkpoints")[-1]
    for path, load in ((checkpoint, load_checkpoint), (straight / INFERENCE_FILE, load_inference_file)):
        data, whole, copy = path.read_bytes(), load(path), tmp_path / path.name
        for _ in range(count):
            kind, damaged = damage(data, rng)
            copy.write_bytes(damaged)
            try:
                loaded = load(copy)
            except UserError as error:
                assert "\n" not in str(error)
                tally[f"damaged {path.suffix}, noticed: {kind}"] += 1
            else:  # what fills the gaps of an archive means nothing
                assert not differing(whole, loaded)
                tally[f"damaged {path.suffix}, without effect: {kind}"] += 1


@pytest.mark.soak
def test_the_checkpoint_before_a_damaged_one_is_used_and_told(tiny, straight, forks, tally, tmp_path):
    shutil.copytree(straight, tmp_path / "run")
    newest = list_checkpoints(tmp_path / "run" / "checkpoints")[-1]
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    ended = forks.run("train", "--config", tiny, "--run-dir", tmp_path / "run").check()
    first = ended.stderr.splitlines()[0]
    assert f"{newest}: damaged" in first and "going on from step 14 of 16" in first
    assert_same_end(straight, tmp_path / "run")
    tally["damaged newest checkpoints, gone on from the one before"] += 1
