"""--config given again: a YAML that goes over the first, in cut-train and over every row of cut-compare."""

import csv
from pathlib import Path

import pytest
from programs import call, inside

from cut.build import read_config


@pytest.fixture
def overlay(tmp_path):
    path = tmp_path / "short.yaml"
    path.write_text("schedule: {total_steps: 2}\ntrain: {tensorboard: false}\n")
    return path


def test_a_run_of_two_yamls_has_a_folder_with_both_names(tiny_yaml, overlay, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inside("train", "--config", tiny_yaml, "--config", overlay)
    written = read_config(Path("runs/tiny_short/config.yaml"))
    assert written == read_config([tiny_yaml, overlay]) and written.schedule.total_steps == 2


def test_an_overlay_goes_over_every_row_of_a_comparison(tiny_yaml, overlay, tmp_path):
    other = tiny_yaml.with_name("other.yaml")
    other.write_text("base: tiny.yaml\nschedule: {total_steps: 4}\n")
    output = ["--output", tmp_path / "out", "--seeds", 1, "--metrics", "l1"]
    call("compare", "--configs", tiny_yaml, other, "--config", overlay, *output)
    with open(tmp_path / "out" / "table.csv") as file:
        rows = list(csv.DictReader(file))
    assert [(row["method"], row["steps"]) for row in rows[:2]] == [("tiny", "2"), ("other", "2")]
    assert read_config(tmp_path / "out/other/seed_0/config.yaml").train.tensorboard is False
