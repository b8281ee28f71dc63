"""Run directories with foreign, damaged or hostile content: cut-report shows what it can, or says why not."""

import json
import random
import shutil
import warnings

import pytest
import yaml
from damage import damage
from run_folders import make_comparison, make_run

from cut.errors import UserError
from cut.report import write_report

_FOREIGN = [
    1e308,
    -1e308,
    3e38,
    1e-320,
    5e-324,
    0,
    -1,
    10**400,
    2**63,
    None,
    True,
    "",
    "x",
    "\0",
    "\ud800",
    [],
    {},
    [1],
]
_FOREIGN += [float("nan"), float("inf"), -float("inf"), "../..", "/etc/passwd", "x" * 5000, [[[[]]]], {"step": {}}]
_KEYS = ["x", "step", "time", "lr", "epoch", "", "\0", "loss/", "loss/a", "eval/", "eval/a", "eval/a/", "eval//fid"]


def _changed(value, rng, share):
    """The value with a share of its parts replaced by foreign ones."""
    if rng.random() < share:
        return rng.choice(_FOREIGN)
    if isinstance(value, dict):
        keys = [rng.choice(_KEYS) if rng.random() < share / 2 else key for key in value]
        return {key: _changed(part, rng, share) for key, part in zip(keys, value.values(), strict=True)}
    return [_changed(part, rng, share) for part in value] if isinstance(value, list) else value


def _change(run, rng):
    """Changes one of the files of a run, or all."""
    names = ["metrics.jsonl", "evaluation.json", "config.yaml", "environment.json"]
    for name in rng.choice([*([name] for name in names), names]):
        path, share = run / name, rng.choice([0.01, 0.05, 0.3])
        if name == "metrics.jsonl":
            entries = [json.loads(line) for line in path.read_text().splitlines()][: rng.choice([1, 2, 3, 40])]
            path.write_text("".join(f"{json.dumps(_changed(entry, rng, share))}\n" for entry in entries))
        else:
            path.write_text(json.dumps(_changed(yaml.safe_load(path.read_text()), rng, share)))


@pytest.mark.parametrize("count", [25, pytest.param(500, marks=pytest.mark.soak)])
def test_a_page_is_made_of_whatever_a_run_directory_holds(count, tally, tmp_path):
    rng, whole = random.Random(count), make_run(tmp_path / "whole", 200, num_sheets=2)
    for number in range(count):
        run = tmp_path / "run"
        shutil.copytree(whole, run)
        _change(run, rng)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                page = write_report([run] if number % 2 else [whole, run], tmp_path / "page.html")
            except UserError as error:
                assert "\n" not in str(error)
            else:
                assert page.stat().st_size > 10_000
        shutil.rmtree(run)
        tally["run directories with foreign content"] += 1


@pytest.mark.parametrize("count", [4, pytest.param(300, marks=pytest.mark.soak)])
def test_a_page_is_made_of_whatever_the_folder_of_a_comparison_holds(count, tally, tmp_path):
    rng, whole = random.Random(count), make_comparison(tmp_path / "whole")
    names = ["table.csv", "table.md", "input.json", "gatys/seed_0.json", "gatys/seed_0_test.json", "sheet.png"]
    for number in range(count):
        folder = tmp_path / "comparison"
        shutil.copytree(whole, folder)
        for name in rng.choice([*([name] for name in names), names]):
            path = folder / name
            if path.suffix == ".json" and number % 2:
                path.write_text(json.dumps(_changed(json.loads(path.read_text()), rng, 0.2)))
            else:
                path.write_bytes(damage(path.read_bytes(), rng)[1])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                page = write_report([folder], tmp_path / "page.html")
            except UserError as error:
                assert "\n" not in str(error)
            else:
                assert page.stat().st_size > 10_000
        shutil.rmtree(folder)
        tally["comparisons with foreign content"] += 1
