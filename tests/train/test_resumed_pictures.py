"""Pictures that were added, removed or replaced between a stop and the same command: said, and kept with the run."""

import html
import json
import shutil

import pytest
import torch
from PIL import Image
from programs import inside

from cut.storage.checkpoint import list_checkpoints, load_checkpoint


@pytest.fixture
def train(tiny_yaml, tmp_path, capsys):
    """Trains to a step in one run directory; returns what is said."""

    def start(steps, *settings):
        settings = (f"train.max_steps={steps}", "train.tensorboard=false", *settings)
        words = [part for setting in settings for part in ("--set", setting)]
        inside("train", "--config", tiny_yaml, "--run-dir", tmp_path / "run", "--resume", *words)
        return capsys.readouterr()

    return start


def warnings(run):
    entries = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [entry["warning"] for entry in entries if "so the run is no longer" in entry.get("warning", "")]


def change_checkpoint(run, change):
    path = list_checkpoints(run / "checkpoints")[-1]
    state = load_checkpoint(path)
    change(state)
    torch.save(state, path)


def test_added_pictures_are_said_once_and_stay_in_the_log(train, unpaired, tmp_path):
    train(2)
    for name in "xyz":
        shutil.copyfile(unpaired / "trainA" / "0.png", unpaired / "trainA" / f"{name}.png")
    said = train(4).err
    remark = "trainA: 4 -> 7 pictures, so the run is no longer the one that began"
    assert said.count(remark) == 1 and remark in said.splitlines()[0]
    assert warnings(tmp_path / "run") == [remark]
    assert "no longer the one" not in train(6).err  # nothing has changed since
    assert warnings(tmp_path / "run") == [remark]
    assert html.escape(remark) in (tmp_path / "run" / "report.html").read_text()


def test_replaced_pictures_are_said(train, unpaired):
    train(2)
    Image.new("RGB", (40, 40)).save(unpaired / "trainB" / "0.png")
    assert "trainB: as many pictures as before (4), but other ones, so the run is no longer" in train(4).err


def test_a_run_that_fewer_pictures_bring_to_its_end_says_why(train, unpaired, tiny_yaml):
    tiny_yaml.write_text(tiny_yaml.read_text().replace("total_steps: 6", "total_epochs: 3"))
    train(6)
    for domain in "AB":
        for name in ("2.png", "3.png"):
            (unpaired / f"train{domain}" / name).unlink()
    said = train(100)
    assert "finished already" in said.out
    assert "trainA: 4 -> 2 pictures, trainB: 4 -> 2 pictures, so the run is no longer the one that began" in said.err


@pytest.mark.parametrize("foreign", [None, 1, {"train": 1, "eval": []}, {"train": {"trainA": [1]}}])
def test_checkpoints_of_old_versions_and_foreign_lists_are_taken_up(foreign, train, tmp_path):
    train(2)

    def change(state):
        del state["pictures"]
        if foreign is not None:
            state["pictures"] = foreign

    change_checkpoint(tmp_path / "run", change)
    said = train(4).err
    assert "going on from step 2 of 4" in said and "so the run is no longer" not in said


def test_scores_of_other_pictures_do_not_compare_with_those_before(train, unpaired, tmp_path):
    scored = "eval={every_steps: 2, metrics: [l1]}"
    train(2, scored)
    change_checkpoint(tmp_path / "run", lambda state: state["evaluations"][0]["scores"]["last"].update(l1=-1.0))
    for domain in "AB":
        shutil.copyfile(unpaired / f"test{domain}" / "0.png", unpaired / f"test{domain}" / "x.png")
    said = train(4, scored)
    assert "testA: 4 -> 5 pictures, testB: 4 -> 5 pictures, so scores before and after do not compare" in said.err
    assert "(step 4, best.pt)" in said.out  # though the one before it was lower
    assert load_checkpoint(tmp_path / "run" / "best.pt")["step"] == 4
    change_checkpoint(tmp_path / "run", lambda state: state["evaluations"][1]["scores"]["last"].update(l1=-1.0))
    assert "(step 4, best.pt)" in train(6, scored).out  # the same pictures again
