"""Signals, dead loader workers, a second training, a jumping clock, pictures that vanish: all while a run goes on."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
from conftest import make_unpaired
from same_runs import assert_same_end
from torch.utils.data import Dataset

from cut.data.loader import batches


def _wait_for(path: Path, child) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < deadline and child.is_running, child.wait(0)
        time.sleep(0.002)


def _checkpoint(run: Path, step: int) -> Path:
    return run / "checkpoints" / f"step_{step:08d}.pt"


def _workers(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.soak
@pytest.mark.parametrize("times", [20])
def test_signals_save_and_the_run_ends_as_a_straight_one(times, tiny, straight, forks, tally, tmp_path):
    rng, run = random.Random(times), tmp_path / "run"
    for number in (signal.SIGINT, signal.SIGTERM) * (times // 2):
        child = forks.start("train", "--config", tiny, "--run-dir", run)
        _wait_for(run / "metrics.jsonl", child)
        time.sleep(rng.uniform(0, 0.3))
        child.send(number)
        ended = child.wait()
        assert ended.status in (0, 128 + number, -number) and "Traceback" not in ended.stderr, ended
        tally[f"stopped by {signal.Signals(number).name}"] += ended.status != 0
    forks.run("train", "--config", tiny, "--run-dir", run).check()
    assert_same_end(straight, run)


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGSEGV, marks=pytest.mark.soak)])
def test_a_killed_loader_worker_is_replaced_and_changes_nothing(number, tiny, straight, forks, tally, tmp_path):
    run = tmp_path / "run"
    fault = {"kind": "watchful_loader", "seconds": 0.2}
    child = forks.start("train", "--config", tiny, "--run-dir", run, "--set", "data.num_workers=2", fault=fault)
    _wait_for(_checkpoint(run, 2), child)
    os.kill(_workers(child.pid)[0], number)
    ended = child.wait(60).check()
    if "loader worker was killed" in ended.stderr:  # else all had been loaded
        tally["loader workers killed and replaced"] += 1
    assert_same_end(straight, run)


def test_a_mistake_of_ours_inside_a_worker_is_no_dead_worker():
    class Broken(Dataset):
        def __getitem__(self, n):
            raise RuntimeError("ours")

    with pytest.raises(RuntimeError, match="Caught RuntimeError in DataLoader worker(.|\n)*ours"):
        next(batches(Broken(), batch_size=1, numbers=range(2), num_workers=1))


@pytest.mark.soak
def test_workers_that_are_killed_again_and_again_end_the_run_on_one_line(tiny, forks, tally, tmp_path):
    fault = {"kind": "dying_workers"}
    ended = forks.run(
        "train", "--config", tiny, "--run-dir", tmp_path / "run", "--set", "data.num_workers=2", fault=fault
    )
    assert "data.num_workers: 2 workers were killed 3 times in a row" in ended.mistake
    tally["loader workers killed again and again"] += 1


@pytest.mark.soak
def test_a_second_training_of_one_run_directory_is_refused(tiny, forks, tally, tmp_path):
    endless = ("--set", "schedule.constant_steps=1000000")
    first = forks.start("train", "--config", tiny, "--run-dir", tmp_path / "run", *endless)
    _wait_for(_checkpoint(tmp_path / "run", 2), first)
    second = forks.run("train", "--config", tiny, "--run-dir", tmp_path / "run", *endless)
    assert f"another process (pid {first.pid}) is training here" in second.mistake
    first.send(signal.SIGTERM)
    assert first.wait().status == 128 + signal.SIGTERM
    tally["second trainings refused"] += 1


@pytest.mark.soak
def test_a_jumping_clock_changes_neither_the_run_nor_its_report(tiny, straight, forks, tally, tmp_path):
    run = tmp_path / "run"
    fault = {"kind": "jumping_clock", "seed": 0}
    for steps in (6, 16):  # the second goes on where the first has stopped, in another century
        arguments = ("--config", tiny, "--run-dir", run, "--resume", "--set", f"train.max_steps={steps}")
        ended = forks.run("train", *arguments, fault=fault).check()
        assert "no report" not in ended.stderr
    assert_same_end(straight, run, logs=False)  # the first of the two logs its end
    remaining = [line.split(", ")[-1] for line in ended.stderr.splitlines() if line.endswith("to go")]
    assert remaining and all(text.startswith("0 min") for text in remaining)
    tally["runs under a jumping clock"] += 2


_BAD = ["deleted", "replaced by text", "replaced by a smaller one"]


@pytest.mark.parametrize("what", ["a pipe", *(pytest.param(what, marks=pytest.mark.soak) for what in _BAD)])
def test_a_picture_that_goes_bad_while_training_stops_the_run_with_its_work_saved(what, tiny, forks, tally, tmp_path):
    data = make_unpaired(tmp_path / "data", size=20)
    arguments = ["--config", tiny, "--run-dir", tmp_path / "run"]
    settings = (f"data.root={data}", "schedule.constant_steps=100000", "train.checkpoint_every_steps=100000")
    arguments += [part for setting in (*settings, "data.preprocess=crop") for part in ("--set", setting)]
    child = forks.start("train", *arguments)
    _wait_for(tmp_path / "run" / "metrics.jsonl", child)
    picture = data / "trainA" / "1.png"
    _spoil(picture, what)
    ended = child.wait(60)
    assert str(picture) in ended.mistake
    (saved,) = (tmp_path / "run" / "checkpoints").iterdir()
    step = int(saved.stem.removeprefix("step_"))
    picture.unlink(missing_ok=True)
    os.link(data / "trainA" / "0.png", picture)
    again = forks.run("train", *arguments, "--set", f"train.max_steps={step + 2}", "--resume").check()
    assert f"going on from step {step}" in again.stderr
    tally[f"pictures gone bad while training: {what}"] += 1


def _spoil(picture: Path, what: str) -> None:
    other = picture.with_name("part")
    if what == "deleted":
        picture.unlink()
        return
    if what == "replaced by text":
        other.write_text("<html>404</html>")
    elif what == "a pipe":
        os.mkfifo(other)
    else:
        from PIL import Image

        Image.new("RGB", (9, 9)).save(other, "PNG")
    os.replace(other, picture)
