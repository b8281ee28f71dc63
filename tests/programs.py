"""Calls the command lines as a user does, in processes of their own."""

import subprocess
import sys

from conftest import REPOSITORY


def command(program, *arguments):
    return [sys.executable, "-W", "error", "-m", f"cut.cli.{program}", *map(str, arguments)]


def call(program, *arguments, status=0):
    done = subprocess.run(command(program, *arguments), capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done


def fails(program, *arguments):
    """The one line that a mistake is told."""
    lines = [text for text in call(program, *arguments, status=2).stderr.splitlines() if "error" in text.lower()]
    assert len(lines) == 1 and lines[0].startswith(f"cut-{program}: error: "), lines
    return lines[0]
