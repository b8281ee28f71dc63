"""The command lines as a user runs them, in processes of their own."""

import os
import signal
import time

import pytest
import torch
from PIL import Image
from programs import call, fails, saved_run, start, timed, told

from cut.data.images import read_image
from cut.storage.checkpoint import load_checkpoint


@pytest.mark.parametrize("program", ["train", "test", "eval", "data", "compare", "report"])
def test_help_takes_under_a_second(program):
    done, seconds = timed(program, "--help")
    assert done.returncode == 0 and f"usage: cut-{program}" in done.stdout
    assert seconds < 1.0


def test_train_translate_and_score(tiny_yaml, unpaired, tmp_path):
    run, results = tmp_path / "run", tmp_path / "results"
    out = call("train", "--config", tiny_yaml, "--run-dir", run)
    assert "finished" in out.stdout and "step 6/6" in out.stderr
    assert f"to look at: {run / 'report.html'}" in out.stdout and "gan real" in (run / "report.html").read_text()
    assert "finished already" in call("train", "--config", tiny_yaml, "--run-dir", run).stdout
    call("test", "--run", run, "--input", unpaired / "testA", "--output", results, "--target", unpaired / "testB")
    assert sorted(p.name for p in results.glob("*.*g")) == sorted(p.name for p in (unpaired / "testA").iterdir())
    assert (tmp_path / "results_sheet.png").is_file()
    scores = call("eval", "--generated", results, "--target", unpaired / "testB", "--metrics", "ssim,l1").stdout
    assert "ssim" in scores and "l1" in scores


def test_one_picture_of_odd_size_keeps_its_size(tiny_yaml, tmp_path):
    call("train", "--config", tiny_yaml, "--run-dir", tmp_path / "run", "--set", "train.max_steps=1")
    Image.new("RGB", (37, 21), "red").save(tmp_path / "photo.jpg")
    checkpoint = tmp_path / "run" / "checkpoints" / "step_00000001.pt"
    call("test", "--checkpoint", checkpoint, "--input", tmp_path / "photo.jpg", "--output", tmp_path / "out")
    with Image.open(tmp_path / "out" / "photo.jpg") as picture:
        assert picture.size == (37, 21)


def test_a_picture_in_tiles_is_that_of_the_whole(tiny_yaml, tmp_path):
    run = saved_run(tiny_yaml, tmp_path / "run")
    Image.effect_mandelbrot((120, 90), (-3, -2.5, 2, 2.5), 100).save(tmp_path / "photo.png")
    for output, options in (("whole", ()), ("tiled", ("--tile-px", 40))):
        call("test", "--run", run, "--input", tmp_path / "photo.png", "--output", tmp_path / output, *options)
    whole, tiled = (read_image(tmp_path / output / "photo.png", 3).astype(int) for output in ("whole", "tiled"))
    assert whole.std() > 0 and abs(whole - tiled).max() <= 1


def test_sigkill_and_the_same_command_again_give_the_same_weights(tiny_yaml, tmp_path):
    length = ["--set", "schedule.total_steps=12", "--set", "train.checkpoint_every_steps=3"]
    call("train", "--config", tiny_yaml, "--run-dir", tmp_path / "straight", *length)
    killed = start("train", "--config", tiny_yaml, "--run-dir", tmp_path / "killed", *length)
    deadline = time.monotonic() + 60
    while not (tmp_path / "killed" / "checkpoints" / "step_00000003.pt").exists():
        assert time.monotonic() < deadline
        time.sleep(0.002)
    killed.send(signal.SIGKILL)
    assert killed.wait().status == -signal.SIGKILL
    assert not (tmp_path / "killed" / "checkpoints" / "step_00000012.pt").exists()
    call("train", "--config", tiny_yaml, "--run-dir", tmp_path / "killed", *length)
    ends = [load_checkpoint(tmp_path / run / "checkpoints" / "step_00000012.pt") for run in ("straight", "killed")]
    assert all(torch.equal(ends[0]["method"][key], ends[1]["method"][key]) for key in ends[0]["method"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_and_exits_as_the_shell_expects(tiny_yaml, tmp_path, number):
    arguments = ["--config", tiny_yaml, "--run-dir", tmp_path / "run", "--set", "schedule.total_steps=100000"]
    process = start("train", *arguments)
    while not (tmp_path / "run" / "checkpoints").exists():
        time.sleep(0.01)
    process.send(number)
    ended = process.wait(60)
    assert ended.status == 128 + number
    assert "stopped and saved at step" in ended.stderr.splitlines()[-1] and "Traceback" not in ended.stderr


def test_print_config_and_dry_run_write_nothing(tiny_yaml, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    text = call("train", "--config", tiny_yaml, "--set", "seed=5", "--print-config").stdout
    assert "seed: 5" in text and "temperature: 0.07" in text
    run = tmp_path / "run"
    assert "one step works" in call("train", "--config", tiny_yaml, "--run-dir", run, "--dry-run").stdout
    assert not run.exists() and not (tmp_path / "user" / "cut").exists()


def test_mistakes_of_training_are_one_line(tiny_yaml, unpaired, tmp_path):
    config = ["--config", tiny_yaml, "--run-dir", tmp_path / "run"]
    assert "did you mean 'lambda_nce'?" in fails("train", *config, "--set", "method.lambda_nec=2")
    assert "no such method '/etc/passwd'" in told("train", *config, "--set", "method.name=/etc/passwd")
    missing = told("train", *config, "--set", "data.root=datasets/horse2zebra")
    assert "fetch it with: cut-data download horse2zebra" in missing
    assert "no such folder; it must hold trainA and trainB" in told("train", *config, "--set", "data.root=/none")
    assert "crop" in told("train", *config, "--set", "data.preprocess=crop", "--set", "data.crop_px=64")
    assert "the first step failed" in told("train", *config, "--set", "discriminator.num_layers=6")
    broken = unpaired / "trainA" / "2.png"
    broken.write_bytes(broken.read_bytes()[:300])
    for workers in (0, 2):
        assert str(broken) in fails("train", *config, "--set", f"data.num_workers={workers}", "--resume")
    (tmp_path / "file").write_text("")
    assert "cannot be written" in told("train", "--config", tiny_yaml, "--run-dir", tmp_path / "file" / "run")


def test_mistakes_of_translating_are_one_line(tiny_yaml, unpaired, tmp_path):
    saved_run(tiny_yaml, tmp_path / "run")
    output = ["--input", unpaired / "testA", "--output", tmp_path / "out"]
    checkpoint = tmp_path / "run" / "checkpoints" / "step_00000000.pt"
    assert "holds no generator.safetensors" in told("test", "--run", tmp_path, *output)
    assert "no such file" in told("test", "--run", tmp_path / "run", "--input", "/none", "--output", tmp_path / "out")
    assert "lies in the input folder" in fails(
        "test", "--run", tmp_path / "run", "--input", unpaired / "testA", "--output", unpaired / "testA"
    )
    assert "--tile-px 8: must be at least 32" in told("test", "--run", tmp_path / "run", *output, "--tile-px", 8)
    checkpoint.write_bytes(checkpoint.read_bytes()[: checkpoint.stat().st_size // 2])
    assert "damaged" in fails("test", "--checkpoint", checkpoint, *output)
    assert "no such checkpoint" in told("test", "--checkpoint", tmp_path / "none.pt", *output)
    assert not (tmp_path / "out").exists()


def test_another_package_directory_is_not_needed_to_resume(tiny_yaml, tmp_path):
    """A run directory that moved goes on where it lies."""
    call("train", "--config", tiny_yaml, "--run-dir", tmp_path / "a", "--set", "train.max_steps=2")
    os.rename(tmp_path / "a", tmp_path / "b")
    again = call("train", "--config", tiny_yaml, "--run-dir", tmp_path / "b", "--set", "train.max_steps=2")
    assert "finished already" in again.stdout
