"""The page of a comparison."""

import csv
import json
import os

import pytest
from programs import inside
from run_folders import make_comparison, write_picture

from cut.errors import UserError
from cut.report import write_report
from cut.report.comparison import Cell, read_folders
from cut.report.pictures import comparison_viewer, side_by_side
from cut.report.tables import summary


def read(folder):
    return read_folders([folder])[1]


def test_the_table_is_that_of_the_comparison(tmp_path):
    found = read(make_comparison(tmp_path / "style"))
    assert found.table[0] == [Cell("method", False), Cell("seeds", False), Cell("ssim[input] ↑", False)]
    assert found.table[2] == [Cell("gatys (random | VGG)", False), Cell("1", False), Cell("0.500 ± 0.010", True)]
    assert found.table[3][2] == Cell("1.000", False) and len(found.table) == 4
    assert found.remarks == ["One style."] and found.whole.notes == []


def test_a_method_that_is_not_trained_is_shown_beside_one_that_is(tmp_path):
    trained, stylizer = read(make_comparison(tmp_path / "style")).runs
    assert trained.label == "cut" and trained.last_step == 100 and trained.notes == []
    assert stylizer.curves == {} and stylizer.config["method"] == {"name": "gatys"} and stylizer.notes == []
    facts = summary(stylizer)
    assert facts["seconds per test picture"] == "2.5" and facts["peak memory"] == "2.00 GiB"
    assert facts["made with"] == "random VGG" and summary(trained)["peak memory"] == "1.00 GiB", "that of its training"
    for run, target in ((trained, "target"), (stylizer, "style")):  # the trained one has data of folders
        (frame,) = comparison_viewer([run]).frames[0]
        assert frame.label == "x.png" and set(frame.pictures) == {"input", "translation", target}


def test_a_page_of_methods_that_are_not_trained_does_not_wait_for_curves(tmp_path):
    folder = make_comparison(tmp_path / "style")
    (folder / "table.csv").write_text("method,seed,steps,error\ngatys,0,,\n")
    page = write_report([folder], tmp_path / "page.html").read_text()
    assert "Nothing is logged yet" not in page and "translation of x.png by gatys" in page


def test_of_many_runs_the_first_that_has_not_failed_is_shown(tmp_path):
    found = read(make_comparison(tmp_path / "style", seeds=3, failed=[("gatys", 0)]))
    assert [run.path.name for run in found.runs] == ["seed_0", "seed_1"]
    assert found.whole.notes == ["gatys, seed 0: failed: out of memory"]
    assert found.remarks[1:] == ["Pictures, curves and settings below are those of one run per method."]


def test_a_row_whose_runs_all_failed_is_there(tmp_path):
    found = read(make_comparison(tmp_path / "style", failed=[("gatys", 0)]))
    assert [run.label for run in found.runs] == ["cut", "gatys"] and found.runs[1].notes == []
    page = write_report([tmp_path / "style"], tmp_path / "page.html").read_text()
    assert "gatys, seed 0: failed: out of memory" in page and "No test pictures." in page


def test_the_row_of_a_best_checkpoint_shows_its_pictures(tmp_path):
    folder = make_comparison(tmp_path / "style")
    with open(folder / "table.csv", "a") as file:
        file.write('"cut, best fid",0,0.6,70,1.5,\n')
    write_picture(folder / "cut" / "seed_0_best_pictures" / "x.png", 40, 40)
    run = read(folder).runs[2]
    assert run.label == "cut, best fid" and run.notes == [] and run.curves == {}
    assert set(comparison_viewer([run]).frames[0][0].pictures) == {"input", "translation", "target"}


def test_pictures_that_lie_in_the_data_are_found(tmp_path, monkeypatch):
    folder = make_comparison(tmp_path / "style")
    (folder / "pictures").rename(tmp_path / "set")
    content = {"generated": {"folder": "set/inputs"}, "target": {"folder": "set/targets"}}
    (folder / "input.json").write_text(json.dumps(content))
    (folder / "cut" / "seed_0" / "config.yaml").write_text("data: {root: set}\n")
    monkeypatch.chdir(tmp_path)
    (frame,) = comparison_viewer(read(folder).runs[:1]).frames[0]
    assert set(frame.pictures) == {"input", "translation", "target"}


def test_pictures_drawn_from_noise_have_no_input_and_no_sheet(tmp_path):
    folder = make_comparison(tmp_path / "style")
    os.rename(folder / "pictures" / "inputs", tmp_path / "gone")
    (folder / "sheet.png").unlink()
    targets = {"folder": str(folder / "pictures" / "targets")}
    (folder / "input.json").write_text(json.dumps({"generated": targets, "target": targets}))
    found = read(folder)
    assert set(found.runs[0].evaluation["pictures"][0]) == {"name", "translation", "target"} and found.sheet is None


@pytest.mark.parametrize(
    "part, note",
    [
        ("table.md", "style: table.md: no such file"),
        ("sheet.png", "style/sheet.png: no such file"),
        ("gatys/seed_0_pictures/x.png", "gatys: gatys/seed_0_pictures: holds no pictures"),
        ("cut/seed_0/metrics.jsonl", "cut: metrics.jsonl: nothing is logged yet"),
    ],
)
def test_what_is_missing_is_reported_and_the_rest_is_shown(part, note, tmp_path, capsys):
    folder = make_comparison(tmp_path / "style")
    (folder / part).unlink()
    inside("report", folder, "--output", tmp_path / "page.html")
    assert note in capsys.readouterr().err and "translation of x.png" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("content", ["", "x\0y\n", "method,seed\ninput,\n", '"' + "x" * 200_000, "a,b\n1,2\n"])
def test_a_comparison_without_a_table_to_go_by_is_one_line(content, tmp_path):
    folder = make_comparison(tmp_path / "style")
    (folder / "table.csv").write_text(content)
    with pytest.raises(UserError, match="the same cut-compare writes it again, and trains nothing twice"):
        read(folder)


def test_a_comparison_is_given_alone(tmp_path):
    folder = make_comparison(tmp_path / "style")
    with pytest.raises(UserError, match="is a comparison, which fills a page; give it alone"):
        read_folders([folder, folder / "cut" / "seed_0"])


def test_no_picture_from_elsewhere_gets_onto_the_page(tmp_path):
    folder = make_comparison(tmp_path / "style", rows=("cut", "gatys", "strotss"))
    write_picture(tmp_path / "home" / "x.png", 40, 40)
    for path in ("sheet.png", "gatys/seed_0_pictures/x.png"):
        (folder / path).unlink()
        os.symlink(tmp_path / "home" / "x.png", folder / path)
    os.rename(folder / "pictures", tmp_path / "pictures")
    (folder / "input.json").write_text(json.dumps({"generated": {"folder": str(tmp_path / "home")}}))
    os.rename(folder / "strotss", tmp_path / "home" / "strotss")
    os.symlink(tmp_path / "home" / "strotss", folder / "strotss")
    found = read(folder)
    assert [run.label for run in found.runs] == ["cut", "gatys"] and side_by_side(found.whole, found.sheet) is None
    (cut, gatys) = comparison_viewer(found.runs).frames
    assert set(cut[0].pictures) == {"translation"} and gatys == []
    assert sum("is not shown" in note for run in [found.whole, *found.runs] for note in run.notes) == 5


HOSTILE = "<script>alert(1)</script>'\"><img src=x onerror=alert(2)>".replace("/", "\u2215")


def test_hostile_names_are_text(tmp_path):
    folder = make_comparison(tmp_path / "style", rows=(HOSTILE.replace('"', "").replace("|", ""), "../up"))
    (folder / "input.json").write_text("[[[")
    with open(folder / "table.csv", newline="") as file:
        assert [row["method"] for row in csv.DictReader(file)][1] == "../up"
    page = write_report([folder], tmp_path / "page.html").read_text()
    assert page.count("<script>") == 1 and "<img src=x" not in page and "&lt;script&gt;" in page
    assert "up/seed_0: is not shown" in page and "input.json: cannot be read" in page


def test_a_table_that_a_spreadsheet_has_saved_is_read(tmp_path):
    folder = make_comparison(tmp_path / "style")
    (folder / "table.csv").write_bytes(b"\xef\xbb\xbf" + (folder / "table.csv").read_bytes())
    assert [run.label for run in read(folder).runs] == ["cut", "gatys"]


def test_a_name_that_no_file_can_have_is_a_row_without_pictures(tmp_path):
    folder = make_comparison(tmp_path / "style")
    with open(folder / "table.csv", "a") as file:
        file.write(f"{'x' * 300},0\n")
    found = read(folder)
    assert len(found.runs) == 3 and found.runs[2].evaluation["pictures"] == []
