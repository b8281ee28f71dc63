"""SIGKILL at any moment: the same command goes on, and the run ends as if nothing had been."""

import random
import signal
import time

import pytest
from same_runs import assert_same_end

_SECONDS = 4.0  # that a run takes here at most; kills come before


def _how_to_kill(rng):
    """Half of the kills come while a checkpoint is written, the others at any moment."""
    kind = rng.choice(["save", "call", "any", "any"])
    if kind == "save":
        return {"kind": "kill_while_saving", "nth": rng.randint(1, 3), "microseconds": rng.randint(1, 1500)}
    if kind == "call":
        return {"kind": "kill_at", "call": rng.choice(["fsync", "replace", "unlink"]), "nth": rng.randint(1, 12)}
    return None


@pytest.mark.parametrize("kills", [2, pytest.param(100, marks=pytest.mark.soak)])
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_is_not(kills, tiny, straight, forks, tally, tmp_path):
    rng, run, killed, runs = random.Random(kills), tmp_path / "0", 0, 0
    usual = 1.0  # seconds to the first checkpoint, learnt on the way
    while killed < kills:
        fault = _how_to_kill(rng)
        child = forks.start("train", "--config", tiny, "--run-dir", run, fault=fault)
        if fault is None:
            time.sleep(rng.uniform(0, usual))
            child.send(signal.SIGKILL)
        ended = child.wait()
        assert ended.status in (0, -signal.SIGKILL, -signal.SIGALRM), ended
        assert "Traceback" not in ended.stderr
        if ended.status:
            killed += 1
            usual = min(max(usual, 1.5 * ended.seconds), _SECONDS)
        else:
            assert_same_end(straight, run)
            runs += 1
            run = tmp_path / str(runs)
    forks.run("train", "--config", tiny, "--run-dir", run).check()
    assert_same_end(straight, run)
    assert not list((run / "checkpoints").glob(".*")), "what a killed writer left"
    tally["kills survived"] += killed
    tally["runs that were killed and equal the straight one bit for bit"] += runs + 1


@pytest.mark.soak
def test_the_stages_of_a_save_are_each_killed_once(tiny, straight, forks, tally, tmp_path):
    """Before the first byte is on the disk, before and after the checkpoint gets its name, before old ones go."""
    run = tmp_path / "run"
    for call, nth in (("fsync", 3), ("replace", 2), ("fsync", 4), ("unlink", 1)):
        ended = forks.run(
            "train", "--config", tiny, "--run-dir", run, fault={"kind": "kill_at", "call": call, "nth": nth}
        )
        assert ended.status == -signal.SIGKILL, ended
        tally["kills survived"] += 1
    forks.run("train", "--config", tiny, "--run-dir", run).check()
    assert_same_end(straight, run)
