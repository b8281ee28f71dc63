"""Waiting for other processes: signals are heard, and patience ends."""

import os
import signal
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from programs import start

from cut.errors import LostProcessError
from cut.runtime import sharding, signals
from cut.runtime.launch import _free_port
from cut.runtime.signals import stop_on_signals, stop_signals

CPU = torch.device("cpu")


class Exchange:
    """An exchange that is done after some parts of the wait, or has failed by then."""

    def __init__(self, parts, failure=None):
        self.parts, self.failure, self.waits = parts, failure, []

    def wait(self, timeout=None):
        self.waits.append(timeout)
        if len(self.waits) <= self.parts:
            raise RuntimeError("Operation timed out!")
        if self.failure:
            raise self.failure

    def is_completed(self):
        return len(self.waits) > self.parts


@pytest.fixture
def named(monkeypatch):
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)


def test_an_exchange_between_cpus_is_waited_for_in_parts_and_one_of_a_gpu_left_to_it():
    exchange = Exchange(parts=3)
    sharding.finish(exchange, CPU)
    assert exchange.waits == [timedelta(seconds=0.2)] * 4
    exchange = Exchange(parts=0)
    sharding.finish(exchange, torch.device("cuda"))
    assert exchange.waits == [None]


def test_an_exchange_that_fails_is_no_part_of_a_wait():
    with pytest.raises(RuntimeError, match="reset by peer"):
        sharding.finish(Exchange(2, RuntimeError("reset by peer")), CPU)


def test_a_process_that_was_asked_to_stop_waits_for_a_while_only(named):
    with stop_on_signals() as stop:
        sharding.finish(Exchange(5), CPU, 0.0)  # nobody has asked
        os.kill(os.getpid(), signal.SIGTERM)
        sharding.finish(Exchange(5), CPU, 60.0)
        with pytest.raises(LostProcessError, match="process 0 of 2: asked to stop, but the others did not") as lost:
            sharding.finish(Exchange(5), CPU, 0.0)
        assert stop.signum == signal.SIGTERM and lost.value.status == 128 + signal.SIGTERM
    sharding.finish(Exchange(5), CPU, 0.0)  # that run is over
    assert signals.waited_since_asked(0.0) is None


def test_hangups_come_in_twos_and_the_second_one_still_lets_the_run_save():
    with stop_on_signals() as stop:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGHUP)
        assert stop.signum == signal.SIGHUP


def test_what_nohup_ignores_stays_ignored():
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert stop_signals() == [signal.SIGINT, signal.SIGTERM]
        with stop_on_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.signum is None
    finally:
        signal.signal(signal.SIGHUP, previous)


def test_ctrl_c_ends_a_process_that_waits_for_others_to_begin(tiny_yaml, monkeypatch, tmp_path):
    alone = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    port = _free_port()
    for name, value in (alone | {"MASTER_PORT": str(port)}).items():
        monkeypatch.setenv(name, value)
    child = start("train", "--config", tiny_yaml, "--run-dir", tmp_path / "run")
    while not is_listening(port):
        assert child.is_running, child.wait()
        time.sleep(0.01)
    time.sleep(0.1)
    child.send(signal.SIGINT)
    assert child.wait(20).status == -signal.SIGINT


def is_listening(port):
    """Whether a process here waits for others to connect."""
    tables = [Path(f"/proc/net/{name}") for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
    return any(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows)
