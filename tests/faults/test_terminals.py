"""Full disks, closed pipes and closed terminals behind what the programs print: none of them ends a run."""

import json
import signal
import subprocess
import sys
import time

import pytest
from programs import command
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


def test_a_training_started_without_any_stream_keeps_its_files_whole(tiny, straight, tally, tmp_path):
    words = [
        "sh",
        "-c",
        'exec "$0" "$@" <&- >&- 2>&-',
        *command("train", "--config", tiny, "--run-dir", tmp_path / "r"),
    ]
    assert subprocess.run(words, timeout=120).returncode == 0
    assert_same_end(straight, tmp_path / "r")
    tally["runs without stdin, stdout and stderr"] += 1


def test_a_reader_that_ends_early_does_not_end_the_training(tiny, straight, tally, tmp_path):
    words = command("train", "--config", tiny, "--run-dir", tmp_path / "run")
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    process.stderr.readline()
    process.stderr.close()
    assert process.wait(120) == 0
    assert_same_end(straight, tmp_path / "run")
    tally["runs whose reader ended early"] += 1


_CLOSED_TERMINAL = """
import os, pty, signal, sys
pid, master = pty.fork()
if pid == 0:  # the leader of the terminal's session, as a shell is
    signal.signal(signal.SIGHUP, getattr(signal, sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
text = b""
while b"a new run" not in text:
    text += os.read(master, 1000)
print("started", flush=True)
sys.stdin.readline()
os.close(master)
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status) % 256)
"""


@pytest.mark.parametrize("hangup, statuses", [("SIG_DFL", (128 + signal.SIGHUP, 0)), ("SIG_IGN", (0,))])
def test_a_closed_terminal_costs_no_work_and_under_nohup_nothing_at_all(
    hangup, statuses, tiny, straight, tally, tmp_path
):
    again = command("train", "--config", tiny, "--run-dir", tmp_path / "run")
    helper = [sys.executable, "-c", _CLOSED_TERMINAL, hangup, *again]
    process = subprocess.Popen(helper, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    process.stdout.readline()
    deadline = time.monotonic() + 60
    while not (tmp_path / "run" / "checkpoints" / "step_00000002.pt").exists():
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.communicate("close\n", timeout=60)
    assert process.returncode in statuses  # 0 also where the run was quicker
    if process.returncode:
        subprocess.run(again, check=True, timeout=60, capture_output=True)
    assert_same_end(straight, tmp_path / "run")
    tally["terminals closed while training"] += 1
