"""Two trainings of one run directory would mix their checkpoints: the second is refused."""

import os
import signal
import subprocess
import sys
import time

import pytest
from programs import start, told

from cut.errors import UserError
from cut.runtime.run_lock import lock_holder, run_lock

HOLD = """
import sys
from pathlib import Path
from cut.runtime.run_lock import run_lock
with run_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_second_is_refused_and_told_who_holds_the_lock_until_it_lets_go(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / "run"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(UserError, match=rf"another process \(pid {holder.pid}\) is training here"):
        with run_lock(tmp_path / "run"):
            pass
    holder.communicate("")
    with run_lock(tmp_path / "run"):
        pass


def test_who_holds_a_lock_is_said_without_taking_it(tmp_path):
    assert lock_holder(tmp_path) is None and not (tmp_path / ".lock").exists()
    with run_lock(tmp_path):
        text = (tmp_path / ".lock").read_text()
    assert text == f"pid {os.getpid()}" and lock_holder(tmp_path) is None and (tmp_path / ".lock").read_text() == text


def test_a_file_or_a_link_of_the_users_own_that_is_called_so_stays_as_it_is(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".lock").write_text("mine")
    with run_lock(tmp_path / "a"):
        pass
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / ".lock").symlink_to(tmp_path / "a" / ".lock")
    with pytest.raises(UserError, match="cannot be written"), run_lock(tmp_path / "b"):
        pass
    assert (tmp_path / "a" / ".lock").read_text() == "mine"


def test_a_directory_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        with run_lock(tmp_path / "file" / "run"):
            pass


def test_a_training_locks_its_run_directory_until_it_is_killed(tiny_yaml, tmp_path):
    arguments = [
        "--config",
        tiny_yaml,
        "--run-dir",
        tmp_path / "run",
        "--set",
        "schedule.total_steps=1000000",
        "--set",
        "data.num_workers=2",
    ]
    process = start("train", *arguments)
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "run" / "metrics.jsonl").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert f"(pid {process.pid}) is training here" in told("train", *arguments)
    finally:
        process.send(signal.SIGKILL)
        process.wait()
    with run_lock(tmp_path / "run"):
        pass
