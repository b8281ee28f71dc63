"""Full disks, closed pipes and closed terminals behind what the programs print: none of them ends a run."""

import json
import os
import signal
import time

import pytest
from same_runs import assert_same_end

_PROGRAMS = ["test", "report", pytest.param("compare", marks=pytest.mark.soak)]


def _arguments(program, straight, tiny, folder):
    """A command that writes into `folder`, and the file that it is called for."""
    data = tiny.parent / "data"
    if program == "test":
        return ("--run", straight, "--input", data / "testA", "--output", folder / "out"), folder / "out" / "3.png"
    if program == "report":
        return (straight, "--output", folder / "page.html"), folder / "page.html"
    options = ("--seeds", 1, "--steps", 2, "--metrics", "l1")
    return ("--configs", tiny, *options, "--output", folder / "out"), folder / "out" / "table.md"


@pytest.mark.parametrize("streams", [("stderr",), ("stdout",), ("stdout", "stderr")], ids="+".join)
def test_a_training_whose_output_is_full_ends_as_any_other(streams, tiny, straight, forks, tally, tmp_path):
    forks.run("train", "--config", tiny, "--run-dir", tmp_path / "run", **dict.fromkeys(streams, "/dev/full")).check()
    assert_same_end(straight, tmp_path / "run")
    assert (tmp_path / "run" / "report.html").exists()
    tally["runs whose output lies on a full disk"] += 1


@pytest.mark.parametrize("program", _PROGRAMS)
def test_what_writes_files_needs_no_output(program, tiny, straight, forks, tally, tmp_path):
    arguments, result = _arguments(program, straight, tiny, tmp_path)
    forks.run(program, *arguments, stdout="/dev/full", stderr="/dev/full").check()
    assert result.stat().st_size > 0
    tally["runs whose output lies on a full disk"] += 1


def test_scores_that_cannot_be_printed_are_an_error_but_lie_in_their_file(tiny, forks, tally, tmp_path):
    data = tiny.parent / "data"
    arguments = ("--generated", data / "testA", "--target", data / "testB", "--metrics", "l1")
    ended = forks.run("eval", *arguments, "--json", tmp_path / "scores.json", stdout="/dev/full")
    assert "No space left on device" in ended.mistake
    assert json.loads((tmp_path / "scores.json").read_text())["generated"]["pictures"] == 4
    tally["runs whose output lies on a full disk"] += 1


def test_a_training_started_without_any_stream_keeps_its_files_whole(tiny, straight, forks, tally, tmp_path):
    ended = forks.run("train", "--config", tiny, "--run-dir", tmp_path / "run", closed=True)
    assert ended.status == 0
    assert_same_end(straight, tmp_path / "run")
    tally["runs without stdin, stdout and stderr"] += 1


def test_a_reader_that_ends_early_does_not_end_the_training(tiny, straight, forks, tally, tmp_path):
    pipes = {name: str(tmp_path / name) for name in ("stdout", "stderr")}
    for pipe in pipes.values():
        os.mkfifo(pipe)
    child = forks.start("train", "--config", tiny, "--run-dir", tmp_path / "run", **pipes)
    open(pipes["stdout"]).close()
    with open(pipes["stderr"]) as errors:
        errors.readline()
    assert child.wait().status == 0
    assert_same_end(straight, tmp_path / "run")
    tally["runs whose reader ended early"] += 1


@pytest.mark.parametrize("ignored, statuses", [((), (128 + signal.SIGHUP, 0)), ((int(signal.SIGHUP),), (0,))])
def test_a_closed_terminal_costs_no_work_and_under_nohup_nothing_at_all(
    ignored, statuses, tiny, straight, forks, tally, tmp_path
):
    arguments = ("train", "--config", tiny, "--run-dir", tmp_path / "run")
    master, slave = os.openpty()
    child, text = forks.start(*arguments, terminal=os.ttyname(slave), ignored=ignored), b""
    while b"a new run" not in text:
        text += os.read(master, 1000)
    os.close(slave)
    deadline = time.monotonic() + 60
    while not (tmp_path / "run" / "checkpoints" / "step_00000002.pt").exists():
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.close(master)
    status = child.wait(60).status
    assert status in statuses  # 0 also where the run was quicker
    if status:
        forks.run(*arguments).check()
    assert_same_end(straight, tmp_path / "run")
    tally["terminals closed while training"] += 1
