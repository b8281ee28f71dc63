"""Further loggers: what they are given, and that none of them ends or changes a run."""

import json
import random
import sys
import threading
import time
import types

import numpy as np
import pytest
import torch

from cut.build import build_trainer, read_config
from cut.train import loggers
from cut.train.log import RunLog
from cut.train.loggers import LOGGERS, MlflowLogger, PictureLogger
from cut.train.run_dir import open_run


class Recorder(PictureLogger):
    """Keeps what it is given; draws random numbers, as others' code may; fails at `fails_at`."""

    package = "recorder"
    fails_at = None
    made: list["Recorder"] = []  # noqa: RUF012  of the test that runs

    def __init__(self, run_dir, is_resumed):
        super().__init__(run_dir, is_resumed)
        self.given = []
        self.made.append(self)

    def _note(self, *given):
        random.random(), np.random.rand(), torch.rand(1)
        if given[0] == self.fails_at:
            raise ConnectionError("the line is cut\nsecond line")
        self.given.append(given)

    def log_hyperparams(self, params, *args, **kwargs):
        self._note("settings", params)

    def log_metrics(self, metrics, step=None):
        self._note("metrics", step, metrics)

    def log_picture(self, name, picture, step):
        self._note("picture", name, picture.shape, step)

    def finalize(self, status):
        self._note("end", status)


@pytest.fixture
def recorder(monkeypatch):
    """Stands in for Weights & Biases."""
    monkeypatch.setitem(sys.modules, "wandb", types.ModuleType("wandb"))
    monkeypatch.setitem(LOGGERS, "wandb", Recorder)
    monkeypatch.setattr(Recorder, "made", [])
    return Recorder


def lines(run):
    kept = ("step", "loss", "lr", "health", "warning")
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in entry.items() if k.startswith(kept)} for entry in found]


def train(yaml, run, *overrides):
    trainer = build_trainer(read_config(yaml, ["train.tensorboard=false", *overrides]))
    open_run(trainer, run, resume=False)
    trainer.fit(run)
    return run


def test_a_logger_gets_settings_curves_and_sheets_and_changes_no_bit(tiny_yaml, tmp_path, recorder):
    plain = train(tiny_yaml, tmp_path / "plain")
    logged = train(tiny_yaml, tmp_path / "logged", "train.loggers=[wandb]")
    assert lines(plain) == lines(logged)
    weights = [(run / "generator.safetensors").read_bytes() for run in (plain, logged)]
    assert weights[0][-4000:] == weights[1][-4000:]  # the beginning holds the settings
    (made,) = recorder.made
    kinds = [given[0] for given in made.given]
    assert kinds[0] == "settings" and made.given[0][1]["method"]["name"] == "cut" and made.name == "logged"
    key = "loss/generator/nce"
    got = [(given[1], given[2][key]) for given in made.given if given[0] == "metrics" and key in given[2]]
    assert got == [(entry["step"], entry[key]) for entry in lines(logged) if key in entry]
    assert [step for step, _ in got] == [2, 4, 6]
    assert [given[3] for given in made.given if given[0] == "picture"] == [3, 4, 6]
    assert made.given[-1] == ("end", "success") and not made.is_resumed


@pytest.mark.parametrize("part", ["settings", "metrics", "picture", "end"])
def test_a_logger_that_fails_is_one_warning_and_the_run_goes_on(tmp_path, recorder, monkeypatch, capsys, part):
    monkeypatch.setattr(recorder, "fails_at", part)
    log = RunLog(tmp_path, 4, 9, tensorboard=False, loggers=["wandb"], config={"seed": 0})
    for step in (5, 6):
        log.record(step, {"loss/a": 1.0, "lost": float("nan")})
        log.image(step, "samples", np.zeros((4, 4, 3), np.uint8))
    log.close()
    assert [entry["step"] for entry in lines(tmp_path) if "warning" not in entry] == [5, 6]
    said = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(said) == 1
    assert said[0].endswith("wandb failed (the line is cut); the run goes on without it")
    kept = {"settings": [], "metrics": ["settings"], "picture": ["settings", "metrics"]}
    full = ["settings", "metrics", "picture", "metrics", "picture"]
    assert [given[0] for given in recorder.made[0].given] == kept.get(part, full) and recorder.made[0].is_resumed


@pytest.mark.parametrize("part", ["settings", "metrics"])
def test_a_server_that_does_not_answer_stalls_no_run(tmp_path, recorder, monkeypatch, capsys, part):
    ended = threading.Event()

    def hang(self, *given):
        if given[0] == part:
            ended.wait(60)  # and then, too late, goes on as if nothing had been

    monkeypatch.setattr(recorder, "_note", hang)
    monkeypatch.setattr(loggers, "_MOST_SECONDS", 0.2)
    start = time.monotonic()
    log = RunLog(tmp_path, 0, 9, tensorboard=False, loggers=["wandb"], config={"seed": 0})
    for step in (1, 2):
        log.record(step, {"loss/a": 1.0})
    ended.set()
    time.sleep(0.05)
    log.record(3, {"loss/a": 1.0})
    log.close()
    assert time.monotonic() - start < 10
    assert [entry["step"] for entry in lines(tmp_path) if "warning" not in entry] == [1, 2, 3]
    said = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(said) == 1
    assert said[0].endswith("wandb has taken more than 0 s in all (is its server there?); the run goes on without it")


def test_a_server_that_is_slow_each_time_is_given_up_too(tmp_path, recorder, monkeypatch, capsys):
    monkeypatch.setattr(recorder, "_note", lambda self, *given: time.sleep(0.1))
    monkeypatch.setattr(loggers, "_MOST_SECONDS", 0.25)
    log = RunLog(tmp_path, 0, 9, tensorboard=False, loggers=["wandb"], config={"seed": 0})
    for step in range(1, 6):
        log.record(step, {"loss/a": 1.0})
    log.close()
    assert capsys.readouterr().err.count("the run goes on without it") == 1


@pytest.mark.parametrize("name", ["what?", "a%20b"])
def test_the_file_of_mlflow_lies_in_the_run_or_nowhere(name, tmp_path, monkeypatch):
    """`sqlite:///runs/what?/mlflow.db` is the file `runs/what`, with options; %20 is a space, at which MLflow waits."""
    monkeypatch.setitem(sys.modules, "mlflow", types.SimpleNamespace(MlflowClient=pytest.fail))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ValueError, match=r"because of the \? or %; set MLFLOW_TRACKING_URI"):
        MlflowLogger(tmp_path / name, is_resumed=False)
    assert not list(tmp_path.iterdir())


def test_a_logger_that_is_not_installed_is_named_with_its_extra(tmp_path, monkeypatch, capsys):
    for name in ("wandb", "mlflow"):
        monkeypatch.setitem(sys.modules, name, None)
    RunLog(tmp_path, 0, 5, tensorboard=False, loggers=["wandb", "tensorboard", "mlflow"]).close()
    said = capsys.readouterr().err
    for name in ("wandb", "mlflow"):
        assert f"{name} is not installed: pip install 'cut[{name}]'; the run goes on without it" in said


def test_tensorboard_may_be_named_among_them(tiny_yaml, tmp_path):
    run = train(tiny_yaml, tmp_path / "run", "train.loggers=[tensorboard]", "train.max_steps=1")
    assert any((run / "tensorboard").iterdir())
    with pytest.raises(ValueError, match="train.loggers"):
        read_config(tiny_yaml, ["train.loggers=[visdom]"])
