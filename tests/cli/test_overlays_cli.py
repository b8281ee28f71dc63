"""--config given again: a YAML that goes over the first."""

from pathlib import Path

import pytest
from programs import inside

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
