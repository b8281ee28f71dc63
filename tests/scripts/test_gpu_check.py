"""scripts/gpu_check.py on a CPU, so that no mistake in it costs time on a GPU."""

import argparse
import subprocess
import sys

import pytest
from conftest import REPOSITORY, make_unpaired

sys.path.insert(0, str(REPOSITORY / "scripts"))

from gpu_check import SECTIONS, main, to_markdown
from gpu_timings import _COMPILED, _CONFIGS, _MODES, _cases


@pytest.mark.parametrize("section", ["machine", "steps", "precisions", "profile", "inference"])
def test_a_section_finds_no_fault_on_a_cpu(section, tmp_path, switches):
    args = argparse.Namespace(device="cpu", quick=True, output=tmp_path, data=None, pairs=None, against=None)
    found = list(SECTIONS[section][0](args))
    assert found and not any(record.get("failed") for record in found), found


def test_what_matters_most_is_timed_first_and_nothing_twice():
    cases = _cases(quick=False)
    assert cases[0] == ("horse2zebra_cut", 1, "float32") and len(set(cases)) == len(cases)
    assert {config for config, *_ in cases} == set(_CONFIGS) and {batch for _, batch, _ in cases} == {1, 8}
    assert {mode for *_, mode in cases} | set(_COMPILED) == set(_MODES)


def test_no_section_begins_after_the_time_for_all(tmp_path, monkeypatch, capsys):
    words = ["--device", "cpu", "--minutes", "0", "--sections", "machine", "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", *words])
    assert main() == 1 and "machine: not done after 0 s" in capsys.readouterr().out
    assert "not done after 0 s" in (tmp_path / "report.md").read_text()


def test_a_folder_that_holds_something_is_left_alone(tmp_path, monkeypatch, capsys):
    (tmp_path / "report.md").write_text("mine")
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", "--device", "cpu", "--quick", "--output", str(tmp_path)])
    assert main() == 2 and "is not empty" in capsys.readouterr().err
    assert (tmp_path / "report.md").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.slow
def test_the_whole_command_runs_on_a_cpu(tmp_path):
    words = [REPOSITORY / "scripts/gpu_check.py", "--device", "cpu", "--quick", "--output", tmp_path / "out"]
    words += ["--data", make_unpaired(tmp_path / "data", size=80)]
    done = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True)
    report = (tmp_path / "out/report.md").read_text()
    assert done.returncode == 0 and "0 failures" in report, report
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == list(SECTIONS)
    assert (tmp_path / "out/horse2zebra_cut.png").is_file() and "l1" in report


def test_failures_stand_first():
    results = [
        {"section": "steps", "case": "cut", "difference": 0.5, "failed": True},
        {"section": "speed", "ours": 1.0},
    ]
    page = to_markdown(results)
    assert "1 failures" in page and page.index("0.5, 'failed'") < page.index("## steps") < page.index("## speed")
