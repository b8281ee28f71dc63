"""cut-report as a user runs it."""

import subprocess
import time

import pytest
from programs import call, command, fails, inside
from run_folders import make_run, write_lines

from cut.cli.report import main


def test_the_page_is_written_its_size_told_and_what_was_skipped_noted(tmp_path):
    run = make_run(tmp_path / "run")
    write_lines(run, {"step": 3, "lr": 1.0}, "{")
    done = call("report", run, "--output", tmp_path / "new" / "page.html")
    size = (tmp_path / "new" / "page.html").stat().st_size
    assert done.stdout == f"{tmp_path}/new/page.html: {size / 1e6:.1f} MB; open it in a browser\n" and size > 10_000
    assert done.stderr == "cut-report: note: run: metrics.jsonl: 1 broken line skipped\n"


def test_a_mistake_is_one_line(tmp_path):
    assert "no such run directory" in fails("report", tmp_path / "missing")


@pytest.mark.parametrize("runs", [1, 2])
def test_torch_is_not_needed(tmp_path, runs):
    paths = [make_run(tmp_path / str(index)) for index in range(runs)]
    code = "import sys; sys.modules['torch'] = None; from cut.cli.report import main; main(sys.argv[1:])"
    words = [command("report")[0], "-c", code, *paths, "--output", tmp_path / "page.html"]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_help_shows_an_example_in_well_under_a_second():
    start = time.perf_counter()
    assert "cut-report runs/quickstart --output report.html" in call("report", "--help").stdout
    assert time.perf_counter() - start < 1.0


def test_the_page_goes_into_the_current_folder_by_default(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    inside("report", make_run(tmp_path / "run"))
    assert (tmp_path / "report.html").read_text().lstrip().startswith("<!doctype html>")
    assert capsys.readouterr().out.startswith("report.html: ")


def test_a_run_is_required(capsys):
    with pytest.raises(SystemExit) as exit_:
        main([])
    assert exit_.value.code == 2 and "RUN" in capsys.readouterr().err
