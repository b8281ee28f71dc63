"""A page shows pictures of the run and of its data, and no others of this disk."""

import json
import os

import pytest
import yaml
from run_folders import make_run, write_picture

from cut.report.pictures import comparison_viewer, newest_rows, sheet_viewer
from cut.report.read_run import read_runs


@pytest.fixture
def secret(tmp_path):
    write_picture(tmp_path / "home" / "secret.png", 40, 40)
    return tmp_path / "home" / "secret.png"


@pytest.fixture
def shown(tmp_path):
    """The roles that a page shows of one test picture, and the notes, where its input is a given path."""
    run = make_run(tmp_path / "run", pictures=("x.png",))

    def read(path, **data):
        evaluation = json.loads((run / "evaluation.json").read_text())
        evaluation["pictures"][0]["input"] = str(path)
        (run / "evaluation.json").write_text(json.dumps(evaluation))
        (run / "config.yaml").write_text(yaml.safe_dump({"data": data}))
        (found,) = read_runs([run])
        return set(comparison_viewer([found]).frames[0][0].pictures), found.notes

    return read


@pytest.mark.parametrize("data", [{}, {"root": "photos"}, {"root": ""}, {"root": "home/se"}, {"root": "/nowhere"}])
def test_any_other_picture_is_left_out_and_the_notes_say_so(data, shown, secret):
    roles, notes = shown(secret, **data)
    assert roles == {"translation", "target"}
    assert notes == [f"{secret}: is not shown, because it lies neither in the run nor in the data of its config"]


def test_no_way_up_and_no_link_leads_out_of_the_run(shown, secret, tmp_path):
    assert shown("../home/secret.png")[0] == {"translation", "target"}
    os.symlink(secret, tmp_path / "run" / "evaluation" / "link.png")
    assert shown("evaluation/link.png")[0] == {"translation", "target"}
    os.symlink(secret, tmp_path / "run" / "samples" / "step_00000200.png")
    (run,) = read_runs([tmp_path / "run"])
    assert [step for step, _ in run.sheets] == [33, 66, 100]
    assert newest_rows(run) and len(sheet_viewer([run]).labels) == 3
    assert any("step_00000200.png: is not shown" in note for note in run.notes)


def test_pictures_of_the_data_are_shown_however_they_are_named(shown, tmp_path, monkeypatch):
    picture = tmp_path / "sets" / "horses" / "testA" / "1.png"
    write_picture(picture, 40, 40)
    all_roles = {"input", "translation", "target"}
    assert shown(picture, root=str(tmp_path / "sets" / "horses"))[0] == all_roles
    assert shown(picture, root="sets/horses")[0] == all_roles  # the training ran in another folder
    assert shown(picture, a=str(picture), b="other.png")[0] == all_roles
    monkeypatch.setenv("SETS", str(tmp_path / "sets"))
    assert shown(picture, root="$SETS/horses")[0] == all_roles
    monkeypatch.chdir(tmp_path / "sets" / "horses")
    assert shown(picture, root=".")[0] == all_roles


def test_pictures_of_data_that_is_linked_are_shown(shown, tmp_path):
    picture = tmp_path / "disk" / "photos" / "1.png"
    write_picture(picture, 40, 40)
    (tmp_path / "data").mkdir()
    os.symlink(picture.parent, tmp_path / "data" / "testA")
    for path in (picture, tmp_path / "data" / "testA" / "1.png"):  # as older and newer versions write it
        assert shown(path, root=str(tmp_path / "data"))[0] == {"input", "translation", "target"}
