"""Calls the command lines as a user does, in processes of their own, or in this one, which starts no torch anew."""

import functools
import importlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from conftest import REPOSITORY
from forks import Ended, Forks

from cut.build import build_trainer, read_config
from cut.errors import UserError
from cut.train.run_dir import open_run


def command(program, *arguments):
    return [sys.executable, "-W", "error", "-m", f"cut.cli.{program}", *map(str, arguments)]


@functools.cache
def forks() -> Forks:
    """The process whose children `start` makes: they need not import torch again."""
    return Forks(Path(tempfile.mkdtemp(dir=os.environ["XDG_CACHE_HOME"])))


def start(program, *arguments, folder=REPOSITORY):
    """Starts a program in a process of its own."""
    return forks().start(program, *arguments, current=str(folder))


def call(program, *arguments, status=0, folder=REPOSITORY) -> Ended:
    """Runs a program in a process of its own, which must end with `status`."""
    done = start(program, *arguments, folder=folder).wait()
    assert done.status == status and "Traceback" not in done.stderr, done
    return done


def timed(program, *arguments):
    """Runs a program, and the seconds of a processor that it took, which do not depend on what else goes on."""
    before = os.times()
    done = subprocess.run(command(program, *arguments), capture_output=True, text=True)
    after = os.times()
    return done, sum(after[2:4]) - sum(before[2:4])


def fails(program, *arguments):
    """The one line that a mistake is told."""
    lines = [text for text in call(program, *arguments, status=2).stderr.splitlines() if "error" in text.lower()]
    assert len(lines) == 1 and lines[0].startswith(f"cut-{program}: error: "), lines
    return lines[0]


def inside(program, *arguments):
    """Runs a program in this process."""
    module = importlib.import_module(f"cut.cli.{program}")
    module._main(module._parse([str(a) for a in arguments]))


def told(program, *arguments):
    """What a program says of a mistake, in this process."""
    with pytest.raises(UserError) as caught:
        inside(program, *arguments)
    return str(caught.value)


def saved_run(yaml, run, *overrides):
    """A run directory as it is before the first step, with the inference file."""
    trainer = build_trainer(read_config(yaml, overrides))
    open_run(trainer, run, resume=False)
    trainer.save(run)
    return run
