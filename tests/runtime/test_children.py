"""A parent and the programs that it starts: stopped on any system, never left behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import REPOSITORY

from cut.runtime import children
from cut.runtime.children import end_group, hand_on, start_child, wait_in_parts

CHILD = """
import os, signal, sys, time
from cut.runtime import children
children._AGAIN_SECONDS = 0.1
def note(signum, frame):
    print("asked by", signum, flush=True)
    time.sleep(0.3)  # as if it saved
    sys.exit(128 + signum)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, note)
children.listen_to_parent()
print("ready", os.environ.get("CUT_CHILD"), flush=True)
while True:
    time.sleep(0.01)
"""


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Starts a child and waits until it is ready; returns it and its log."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    all_children = []

    def start(code=CHILD):
        log = tmp_path / "log"
        with open(log, "w") as file:
            child = start_child(["-c", code], output=file)
        all_children.append(child)
        deadline = time.monotonic() + 60
        while "ready" not in log.read_text():
            assert time.monotonic() < deadline and child.poll() is None
            time.sleep(0.01)
        return child, log

    yield start
    for child in all_children:  # a test that failed leaves none behind
        end_group(child)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_child_hears_what_is_handed_on_and_has_time_to_save(number, started):
    child, log = started()
    hand_on(child, number)
    assert wait_in_parts(child) == 128 + number
    assert log.read_text() == f"ready None\nasked by {number}\n"
    hand_on(child, number)  # it has ended, and does not mind


def test_a_child_whose_parent_is_gone_is_asked_once_to_save(started):
    child, log = started()
    child.stdin.close()  # what the system does when the parent ends, however it does
    assert child.wait(30) == 128 + signal.SIGTERM
    child, log = started()
    hand_on(child, signal.SIGINT)
    child.stdin.close()  # while it saves
    assert child.wait(30) == 128 + signal.SIGINT and log.read_text().count("asked by") == 1


@pytest.mark.parametrize("inherited", [signal.default_int_handler, signal.SIG_IGN], ids=["heard", "ignored"])
def test_a_signal_that_a_library_swallows_while_a_child_starts_comes_again(inherited, started):
    """A comparison that was asked to end waited for ever for a training that had not heard it.

    Programs that a shell starts with & ignore SIGINT, and their children with them.
    """
    code = """
import time
from cut.runtime import children
from cut.runtime.signals import stop_on_signals
children._AGAIN_SECONDS = 0.2
children.listen_to_parent()
try:
    print("ready", flush=True)
    time.sleep(60)
except BaseException:
    print("swallowed", flush=True)
with stop_on_signals() as stop:
    while not stop.signum:
        time.sleep(0.01)
    time.sleep(0.5)  # as if it saved: not asked a third time
raise SystemExit(128 + stop.signum)
"""
    before = signal.signal(signal.SIGINT, inherited)
    try:
        child, log = started(code)
    finally:
        signal.signal(signal.SIGINT, before)
    hand_on(child, signal.SIGINT)
    assert child.wait(30) == 128 + signal.SIGINT and log.read_text() == "ready\nswallowed\n"


def test_a_process_that_nobody_started_so_listens_to_nobody():
    code = "from cut.runtime.children import listen_to_parent; listen_to_parent(); import time; time.sleep(1)"
    done = subprocess.run([sys.executable, "-c", code], stdin=subprocess.DEVNULL, cwd=REPOSITORY, timeout=60)
    assert done.returncode == 0


def test_a_child_that_does_not_end_is_killed_with_all_that_it_has_started(started):
    grandchild = "import time; time.sleep(1000)"
    code = f"""
import subprocess, sys, time
print("ready", subprocess.Popen([sys.executable, "-c", {grandchild!r}]).pid, flush=True)
time.sleep(1000)
"""
    child, log = started(code)
    number = int(log.read_text().split()[1])
    end_group(child)
    assert child.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 10
    while Path(f"/proc/{number}/cmdline").exists() and Path(f"/proc/{number}/cmdline").read_text():  # empty: a zombie
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_on_windows_a_child_has_a_group_and_is_killed_and_asked_in_its_own_way(monkeypatch):
    monkeypatch.setattr(children, "_ON_WINDOWS", True)
    given, killed, heard = {}, [], []

    class Process:
        pid, stdin = 1, None

        def __init__(self, words, **settings):
            given.update(settings)

        def poll(self):
            return None

        def wait(self):
            return 1

        def kill(self):
            killed.append(self)

    monkeypatch.setattr(subprocess, "Popen", Process)
    monkeypatch.setattr(os, "killpg", None)
    end_group(start_child(["-c", ""]))
    assert given["creationflags"] == 0x200 and "start_new_session" not in given and len(killed) == 1
    monkeypatch.setattr(os, "kill", None)  # there it ends the process without asking it
    previous = signal.signal(signal.SIGTERM, lambda signum, frame: heard.append(signum))
    try:
        thread = threading.Thread(target=children._signal_myself, args=[signal.SIGTERM])
        thread.start()
        thread.join()
        time.sleep(0.01)
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert heard == [signal.SIGTERM]
