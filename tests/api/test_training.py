"""`cut.train` and `cut.score`, and what `import cut` costs."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import REPOSITORY
from PIL import Image
from safetensors.torch import load_file

import cut
from cut.build import read_config
from cut.runtime.signals import Stopped
from cut.train.trainer import Trainer

SHORT = ["train.max_steps=2", "train.tensorboard=false"]
NOTEBOOK = REPOSITORY / "docs" / "python.ipynb"


def test_importing_cut_imports_nothing_else():
    code = (
        "import sys, cut; print(sorted({'torch', 'numpy', 'pydantic', 'cut.errors'} & sys.modules.keys())); "
        "assert set(cut.__all__) <= set(dir(cut)) and callable(cut.train) and issubclass(cut.UserError, ValueError)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    with pytest.raises(AttributeError, match="no attribute 'translate'"):
        cut.translate  # noqa: B018


def test_a_training_in_python_is_that_of_the_command(tiny_yaml, tmp_path, capsys):
    run = cut.train(tiny_yaml, SHORT, run_dir=tmp_path / "run")
    assert run == tmp_path / "run" and (run / "report.html").exists()
    assert "finished; translate pictures with: cut-test" in capsys.readouterr().out
    again = cut.train(read_config(run / "config.yaml"), run_dir=str(tmp_path / "again"))
    weights = [load_file(folder / "generator.safetensors") for folder in (run, again)]
    assert weights[0] and all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())
    cut.train(tiny_yaml, SHORT, run_dir=run)
    assert "finished already" in capsys.readouterr().out
    with pytest.raises(cut.UserError, match="holds a run with another config"):
        cut.train(tiny_yaml, [*SHORT, "optim.lr=1"], run_dir=run)
    with pytest.raises(cut.UserError, match="need run_dir"):
        cut.train({"method": {"name": "cut"}})


@pytest.mark.parametrize(("signum", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_ends_the_call_as_it_ends_python(tiny_yaml, tmp_path, monkeypatch, signum, kind):
    def stopped(self, run_dir):
        raise Stopped(signum, "stopped and saved at step 1")

    monkeypatch.setattr(Trainer, "fit", stopped)
    with pytest.raises(kind, match="run: stopped and saved at step 1"):
        cut.train(tiny_yaml, run_dir=tmp_path / "run")


def test_scores_are_those_of_cut_eval(tmp_path):
    for name, brightness in (("a", 100), ("b", 151)):
        (tmp_path / name).mkdir()
        Image.new("RGB", (16, 16), (brightness,) * 3).save(tmp_path / name / "0.png")
    scores = cut.score(tmp_path / "a", str(tmp_path / "b"), metrics=["l1"], device="cpu")
    assert list(scores) == ["l1"] and scores["l1"].value == pytest.approx(0.2) and scores["l1"].count == 1
    with pytest.raises(cut.UserError, match="no such folder"):
        cut.score(tmp_path / "none", tmp_path / "b")
    for wrong in ((5, 1), 3, (0, 1, 2), ("0", "1"), (0, float("inf"))):
        with pytest.raises(cut.UserError, match=r"value_range .*: must be \(lowest, highest\)"):
            cut.score(tmp_path / "a", tmp_path / "b", value_range=wrong)


def test_the_notebook_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    names: dict = {"__name__": "__main__"}
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    for cell in cells:
        assert not cell.get("outputs")
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), NOTEBOOK.name, "exec"), names)
    assert names["picture"].size == (150, 100) and np.array(names["picture"]).std() > 1
    assert 0 < names["scores"]["l1"].value < 1
