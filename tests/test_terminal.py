"""Printing never ends a program."""

import io
import os
import subprocess
import sys

import pytest
from conftest import REPOSITORY

from cut.terminal import say


class Failing(io.StringIO):
    """A stream as it is on a full disk, or where its reader or its terminal is gone."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, text):
        raise self.error


@pytest.mark.parametrize("above_bars", [False, True])
@pytest.mark.parametrize("error", [OSError(28, "No space left"), BrokenPipeError(), ValueError("closed file")])
def test_a_line_that_cannot_be_printed_is_let_go(error, above_bars, monkeypatch):
    say("step 1", Failing(error), above_bars)
    monkeypatch.setattr(sys, "stderr", Failing(error))
    say("step 1", above_bars=above_bars)


def test_a_closed_stream_and_none_at_all_are_let_go(monkeypatch):
    closed = io.StringIO()
    closed.close()
    say("step 1", closed)
    monkeypatch.setattr(sys, "stderr", None)
    say("step 1")


def test_a_line_is_printed_at_once_where_it_can_be(capsys):
    say("step 1")
    say("finished", sys.stdout)
    assert capsys.readouterr() == ("finished\n", "step 1\n")


def python(code, redirections):
    """The exit status of Python code in a process whose streams the shell has redirected."""
    command = ["sh", "-c", f'exec "$0" "$@" {redirections}', sys.executable, "-c", code]
    return subprocess.run(command, cwd=REPOSITORY, timeout=60).returncode


def test_what_libraries_print_does_not_fail_on_a_full_disk_either():
    code = """
import logging, sys, warnings
from tqdm import tqdm
from cut.terminal import prepare_streams, say
prepare_streams()
for _ in tqdm(range(3), mininterval=0):
    warnings.warn("look")
    logging.error("look")
    sys.stderr.write("look" * 5000)
    say("finished", sys.stdout)
"""
    assert python(code, ">/dev/full 2>/dev/full") == 0


def test_no_file_takes_the_place_of_a_closed_stream(tmp_path):
    code = f"""
import os
from cut.terminal import prepare_streams
prepare_streams()
with open({str(tmp_path / "file")!r}, "w") as file:
    print("to nowhere")
    os.write(1, b"a library prints"), os.write(2, b"a library prints")
    file.write("ours")
"""
    assert python(code, "<&- >&- 2>&-") == 0
    assert (tmp_path / "file").read_text() == "ours"


def test_a_terminal_that_is_gone_takes_bars_and_lines_without_complaint():
    code = """
import os, sys
from tqdm import tqdm
from cut.terminal import prepare_streams, say
prepare_streams()
bar = tqdm(total=3, mininterval=0)
assert sys.stderr.isatty() and not bar.disable
os.close(int(sys.argv[1]))
for _ in range(3):
    bar.update()
    say("step", above_bars=True)
bar.close()
"""
    master, slave = os.openpty()
    words = [sys.executable, "-c", code, str(master)]
    process = subprocess.Popen(words, cwd=REPOSITORY, stderr=slave, pass_fds=[master])
    os.close(master)
    os.close(slave)
    assert process.wait(60) == 0


def test_names_that_are_no_text_are_printed_escaped(capfd):
    code = "from cut.terminal import prepare_streams, say; import os; prepare_streams(); say(os.fsdecode(b'caf\\xe9'))"
    assert python(code, "") == 0
    assert capfd.readouterr().err == "caf\\udce9\n"
