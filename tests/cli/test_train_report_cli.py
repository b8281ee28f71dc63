"""The page that cut-train leaves: what it shows of any kind of run, and that its failure is never the training's."""

import json
import os

import jinja2
import pytest
import torch
from programs import inside

import cut.report
from cut.api import training


@pytest.fixture(scope="module")
def means(tmp_path_factory):
    """A network whose features are the mean colours, as `eval.features` takes it."""
    path = tmp_path_factory.mktemp("features") / "means.pt"
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    torch.jit.script(network).save(path)
    return path


def train(tiny_yaml, run, *settings):
    settings = ("train.tensorboard=false", *settings)
    inside("train", "--config", tiny_yaml, "--run-dir", run, *(part for s in settings for part in ("--set", s)))


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_an_unpaired_run_with_scores_ends_with_a_page_that_shows_its_translations(tiny_yaml, unpaired, means, tmp_path):
    for path in (unpaired / "testB").iterdir():
        path.rename(path.with_name(f"zebra_{path.name}"))
    score = f"eval={{every_steps: 3, metrics: [fid], features: '{means}', num_images: 3}}"
    train(tiny_yaml, tmp_path / "run", score)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Before and after" in page and "fd[means.pt]" in page
    assert 'alt="input 0"' in page and 'alt="target of' not in page


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_run_from_noise_with_scores_ends_with_a_page_that_shows_its_images(tiny_dcgan_yaml, means, tmp_path):
    train(tiny_dcgan_yaml, tmp_path / "run", f"eval={{every_steps: 5, metrics: [fid], features: '{means}'}}")
    page = (tmp_path / "run" / "report.html").read_text()
    assert 'alt="translation of 00000 by run"' in page and 'alt="input' not in page


def test_a_page_that_fails_for_whatever_reason_does_not_fail_the_training(tiny_yaml, tmp_path, monkeypatch, capsys):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(cut.report, "write_report", fail)
    error = KeyError("target")
    train(tiny_yaml, tmp_path / "run")  # raises where its status were not 0
    said = capsys.readouterr()
    assert "cut-train: warning: no report: 'target'" in said.err
    assert f"cut-report {tmp_path / 'run'} --output" in said.err and "finished" in said.out
    for error in (jinja2.TemplateError("no"), MemoryError(), RecursionError("deep"), ImportError("jinja2")):
        training._report(tmp_path / "run")
        assert f"no report: {str(error) or 'MemoryError'}" in capsys.readouterr().err


def test_the_same_command_makes_a_page_that_is_missing_or_of_an_earlier_end(tiny_yaml, tmp_path, capsys):
    train(tiny_yaml, tmp_path / "run")
    page = tmp_path / "run" / "report.html"
    page.unlink()  # as a kill after the last checkpoint leaves it
    train(tiny_yaml, tmp_path / "run")
    assert "finished already" in capsys.readouterr().out and page.exists()
    os.utime(page, (1, 1))  # as where the run went on after it
    train(tiny_yaml, tmp_path / "run")
    written = page.stat().st_mtime_ns
    assert written >= (tmp_path / "run" / "metrics.jsonl").stat().st_mtime_ns
    train(tiny_yaml, tmp_path / "run")
    assert page.stat().st_mtime_ns == written


def test_a_log_with_foreign_keys_does_not_end_the_training(tiny_yaml, tmp_path):
    train(tiny_yaml, tmp_path / "run", "train.max_steps=2")
    line = {
        "step": 1,
        "loss/alone": 1.0,
        "loss/a/$\\frac$": 2.0,
        "loss/a/huge": 1e308,
        "loss/a/large": 3e38,
        "loss/a/small": -3e38,
        "eval/x": 1e308,
        "": 1,
    }
    with open(tmp_path / "run" / "metrics.jsonl", "a") as log:
        print(json.dumps(line), file=log)
    again = ("--config", tiny_yaml, "--run-dir", tmp_path / "run", "--resume", "--set", "train.max_steps=4")
    inside("train", *again, "--set", "train.tensorboard=false", "--set", "train.sample_every_steps=1")
    assert "frac" in (tmp_path / "run" / "report.html").read_text()
