"""An empty argument is a variable that is not set, never the current folder."""

import importlib
import json
import os
import re
from pathlib import Path

import pytest
from conftest import REPOSITORY
from programs import told

import cut
from cut.cli import write_json_file
from cut.config import PairedDataConfig, UnpairedDataConfig
from cut.errors import UserError

_PROGRAMS = re.findall(r'^(cut-\w+) = "(.*):main"$', (REPOSITORY / "pyproject.toml").read_text(), re.MULTILINE)


@pytest.mark.parametrize("program, module", _PROGRAMS)
def test_every_program_refuses_one(program, module, capsys):
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(module).main(["--help", " "])
    assert ended.value.code == 2
    assert f"{program}: error: --help: is empty (is it a variable that is not set?); give a value" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    "program, words, what",
    [
        ("test", ["--run", "x", "--input", "y", "--output", ""], "--output"),
        ("test", ["--run", "x", "--output=", "--input", "y"], "--output"),
        ("train", ["--config", "quickstart", "--run-dir", "  "], "--run-dir"),
        ("train", ["--a", "", "--b", "x"], "--a"),
        ("compare", ["--configs", "x", "", "--output", "y"], "argument 3"),
        ("report", ["x", "--output", "\n"], "--output"),
        ("export", ["run", ""], "argument 2"),
    ],
)
def test_it_is_named(program, words, what):
    assert told(program, *words).startswith(f"{what}: is empty")


def test_a_setting_may_be_empty_where_no_path_is_meant(tmp_path):
    from cut.cli.train import _parse

    assert _parse(["--set=data.root=", "--set", "data.root="]).set == ["data.root="] * 2
    assert UnpairedDataConfig(a="x", b="y").root == ""


@pytest.mark.parametrize(
    "settings", [{"root": "x", "a": "", "b": ""}, {"root": "$CUT_NOWHERE"}, {"a": "x", "b": "$CUT_NOWHERE"}]
)
def test_an_empty_path_in_a_yaml_is_refused(settings, monkeypatch):
    """So are variables that are empty; before, `a: ""` meant all pictures of the current folder."""
    monkeypatch.setenv("CUT_NOWHERE", "")
    with pytest.raises(ValueError, match="is empty|required, but not given"):
        UnpairedDataConfig(**settings)
    with pytest.raises(ValueError, match=r"is empty; name a file or a folder \(the current one is '.'\)"):
        PairedDataConfig(root=settings.get("a", "$CUT_NOWHERE").replace("x", " "))


@pytest.mark.parametrize(
    "call",
    [
        lambda: cut.load(""),
        lambda: cut.score("", "x", ["l1"]),
        lambda: cut.score("x", " ", ["l1"]),
        lambda: cut.train("quickstart", run_dir=""),
    ],
)
def test_the_functions_refuse_one(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"is empty; name a file or a folder \(the current one is '.'\)"):
        call()
    assert not list(Path().iterdir())


def test_a_pipe_that_nobody_reads_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "scores.json")
    with pytest.raises(UserError, match="scores.json: cannot be written"):
        write_json_file(str(tmp_path / "scores.json"), {})
    reader = os.open(tmp_path / "scores.json", os.O_RDONLY | os.O_NONBLOCK)
    write_json_file(str(tmp_path / "scores.json"), {"l1": 1})
    assert json.loads(os.read(reader, 100)) == {"l1": 1}
    os.close(reader)
