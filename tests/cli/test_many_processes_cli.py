"""cut-train in several processes, as a user starts, stops and loses them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import REPOSITORY
from programs import inside, start, told

from cut.errors import LostProcessError
from cut.runtime.launch import _free_port
from cut.runtime.launch import _status as status_of
from cut.storage.checkpoint import load_checkpoint


def wait_for_another_checkpoint(run, process):
    before, deadline = set(run.glob("checkpoints/step_*.pt")), time.monotonic() + 120
    while not set(run.glob("checkpoints/step_*.pt")) - before:
        assert time.monotonic() < deadline and process.is_running, process.wait(0)
        time.sleep(0.02)


def test_two_processes_stop_are_lost_and_go_on_as_one(tiny_yaml, tmp_path, capsys):
    run = tmp_path / "two processes"
    settings = ["--config", tiny_yaml, "--set", "data.batch_size=2", "--set", "schedule.total_steps=100000"]
    settings += ["--set", "train.log_every_steps=5", "--set", "train.checkpoint_every_steps=5"]
    settings += ["--set", "train.tensorboard=false"]
    process = start("train", *settings, "--run-dir", run, "--devices", 2)
    wait_for_another_checkpoint(run, process)
    process.send(signal.SIGTERM)
    ended = process.wait()
    assert ended.status == 128 + signal.SIGTERM
    assert "stopped and saved at step" in ended.stderr.splitlines()[-1] and "Traceback" not in ended.stderr

    process = start("train", *settings, "--run-dir", run, "--devices", 2)
    wait_for_another_checkpoint(run, process)
    number = int((run / ".lock").read_text().removeprefix("pid "))
    subprocess.run(["kill", "-9", str(number)], check=True)
    killed_at = time.monotonic()
    ended = process.wait()
    assert time.monotonic() - killed_at < 15 and ended.status == 128 + signal.SIGKILL
    lost, cause = ended.stderr.splitlines()[-2:]
    assert "process 1 of 2: lost the others" in lost and "process 0 was ended by SIGKILL" in cause
    assert "Traceback" not in ended.stderr and "the same command goes on" in cause

    step = load_checkpoint(max(run.glob("checkpoints/step_*.pt")))["step"]
    inside("train", *settings, "--run-dir", run, "--resume", "--set", f"train.max_steps={step + 5}")
    assert "number of processes 2 -> 1: equal to rounding, not bit for bit" in capsys.readouterr().err
    entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [entry["step"] for entry in entries if "loss/generator/gan" in entry]
    assert steps == list(range(5, step + 6, 5))  # each once, over three starts


def test_processes_that_see_other_pictures_are_refused_before_the_first_step(
    tiny_yaml, unpaired, monkeypatch, tmp_path
):
    tiny_yaml.write_text(tiny_yaml.read_text().replace(str(unpaired), "data"))
    started = []
    alone = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    arguments = ("--config", tiny_yaml, "--run-dir", tmp_path / "run", "--set", "data.batch_size=2")
    for rank in ("0", "1"):
        shutil.copytree(unpaired, tmp_path / rank / "data")
    (tmp_path / "1" / "data" / "trainA" / "3.png").unlink()
    for rank in ("0", "1"):
        for name, value in (alone | {"RANK": rank, "LOCAL_RANK": rank}).items():
            monkeypatch.setenv(name, value)
        started.append(start("train", *arguments, folder=tmp_path / rank))
    first, second = (process.wait() for process in started)
    assert (first.status, second.status, second.stderr) == (2, 2, "")  # one of each machine prints
    assert "process 1 has other pictures than process 0 (trainA: 4 -> 3 pictures)" in first.stderr
    assert not (tmp_path / "run").exists()


def test_a_process_that_is_still_connected_ends_with_its_own_status():
    """Without Python's shutdown, during which gloo aborts if another process ends: SIGABRT instead of status 2."""
    program = """
import atexit, torch
from cut.cli import run
from cut.errors import UserError
def main():
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    atexit.register(print, "shutdown")
    print("work")
    raise UserError("a mistake")
run("cut-train", main)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=REPOSITORY)
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "work\n", "cut-train: error: a mistake\n")


@pytest.mark.soak
@pytest.mark.parametrize("hung", [0, 1])
def test_a_process_whose_partner_hangs_hears_a_signal(hung, tiny_yaml, tmp_path):
    run = tmp_path / "run"
    settings = ["--config", tiny_yaml, "--set", "data.batch_size=2", "--set", "schedule.total_steps=100000"]
    settings += ["--set", "train.checkpoint_every_steps=5", "--set", "train.tensorboard=false"]
    process = start("train", *settings, "--run-dir", run, "--devices", 2)
    wait_for_another_checkpoint(run, process)
    children = [int(number) for number in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    first = int((run / ".lock").read_text().removeprefix("pid "))
    os.kill(first if hung == 0 else max(children), signal.SIGSTOP)
    time.sleep(1)
    process.send(signal.SIGTERM)
    ended = process.wait()
    assert ended.status == 128 + signal.SIGTERM and "Traceback" not in ended.stderr
    assert f"process {1 - hung} of 2: asked to stop, but the others did not come within 30 s" in ended.stderr


def test_mistakes_about_processes_are_one_line(tiny_yaml, tmp_path, monkeypatch):
    config = ["--config", tiny_yaml, "--run-dir", tmp_path / "run"]
    assert "--devices: must be 1 or more, got 0" in told("train", *config, "--devices", 0)
    assert "needs --main-address" in told("train", *config, "--num-nodes", 2)
    assert "--node-rank: must be 0 to 0" in told("train", *config, "--node-rank", 1)
    assert "micro-batches" in told("train", *config, "--set", "train.num_micro_batches=2")
    norms = ["--set", "data.batch_size=2", "--set", "train.num_micro_batches=2", "--set", "generator.norm=batch"]
    assert "batch norm takes its statistics over all images" in told("train", *config, *norms)
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert "--devices: asks for 2 processes, torchrun started 4" in told("train", *config, "--devices", 2)


def test_the_exit_status_is_that_of_the_process_that_failed_first_of_itself(capsys):
    lost, ended_here = LostProcessError.status, None
    assert status_of({0: 0, 1: 0}, []) == 0
    assert status_of({0: lost, 1: 2, 2: lost}, []) == 2
    assert status_of({0: 143, 1: 143}, [signal.SIGTERM]) == 143
    assert status_of({4: -signal.SIGTERM, 5: ended_here}, [signal.SIGTERM]) == 143  # before it could save
    assert status_of({0: lost, 1: lost}, []) == lost  # another machine's process
    assert capsys.readouterr().err == ""
    assert status_of({2: ended_here, 3: -signal.SIGSEGV}, []) == 128 + signal.SIGSEGV
    assert "process 3 was ended by SIGSEGV" in capsys.readouterr().err
