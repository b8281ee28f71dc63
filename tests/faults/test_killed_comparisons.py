"""SIGKILL of cut-compare at any moment: nothing of it goes on, and the same command ends with the same table."""

import csv
import os
import random
import signal
import time
from pathlib import Path

import pytest

_FREE = ("method", "seed", "l1", "steps", "error")  # of a table's columns, those that time and memory have no part in


def _table(output):
    with open(output / "table.csv") as file:
        return [{key: row[key] for key in _FREE} for row in csv.DictReader(file)]


def _descendants(pid):
    found = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*found, *(number for child in found for number in _descendants(child))]


def _is_alive(pid):
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())  # of a zombie: nothing
    except OSError:
        return False


@pytest.mark.soak
@pytest.mark.parametrize("kills", [6])
def test_a_comparison_that_is_killed_again_and_again_ends_as_one_that_is_not(kills, tiny, forks, tally, tmp_path):
    rng = random.Random(kills)
    options = ("--configs", tiny, "--seeds", 2, "--metrics", "l1", "--output")
    forks.run("compare", *options, tmp_path / "straight", seconds=300).check()
    output, usual = tmp_path / "killed", 15.0
    for _ in range(kills):
        process = forks.start("compare", *options, output)
        time.sleep(rng.uniform(0.5, usual))
        children = _descendants(process.pid)
        process.send(rng.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)))
        said = process.wait(60).stderr
        assert "failed" not in said and "Traceback" not in said, said
        deadline = time.monotonic() + 30
        while any(map(_is_alive, children)):
            assert time.monotonic() < deadline, [os.readlink(f"/proc/{child}/exe") for child in children]
            time.sleep(0.05)
        tally["comparisons killed or stopped, without an orphan"] += 1
    forks.run("compare", *options, output, seconds=300).check()
    assert _table(output) == _table(tmp_path / "straight")
    tally["comparisons that were killed and end with the same scores"] += 1
