"""Pictures inside the page."""

import base64
import io
import json

import numpy as np
from PIL import Image
from run_folders import make_run, write_picture

from cut.report.pictures import comparison_viewer, newest_rows, sheet_viewer
from cut.report.read_run import read_runs


def decoded(picture):
    assert picture.uri.startswith("data:image/webp;base64,")
    with Image.open(io.BytesIO(base64.b64decode(picture.uri.partition(",")[2]))) as image:
        assert image.format == "WEBP" and image.size == (picture.width, picture.height)
        return np.asarray(image.convert("RGB")).astype(int)


def test_pictures_look_as_their_files_do(tmp_path):
    run = make_run(tmp_path / "run", side=64)
    gradient = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    Image.fromarray(np.stack([gradient, 255 - gradient, gradient // 2], axis=-1)).save(run / "evaluation/input_0.png")
    frame = comparison_viewer(read_runs([run])).frames[0][0]
    difference = decoded(frame.pictures["input"]) - np.asarray(Image.open(run / "evaluation/input_0.png")).astype(int)
    assert abs(difference).mean() < 3  # compressed
    assert decoded(frame.pictures["translation"]).shape == (64, 64, 3) and frame.label == "x.png"


def test_sheets_stand_side_by_side_at_the_same_share_of_each_run(tmp_path):
    runs = read_runs([make_run(tmp_path / "a", 120, num_sheets=4), make_run(tmp_path / "b", 1000, num_sheets=2)])
    viewer = sheet_viewer(runs)
    assert viewer.labels == ["25% of each run", "50% of each run", "75% of each run", "100% of each run"]
    a, b = viewer.frames
    assert [(f.first, f.last, f.label) for f in a][:2] == [(0, 0, "step 30, epoch 1"), (1, 1, "step 60, epoch 3")]
    assert [(f.first, f.last, f.label) for f in b] == [(0, 2, "step 500, epoch 25"), (3, 3, "step 1000, epoch 50")]


def test_of_many_sheets_forty_are_chosen_evenly_and_the_page_stays_small(tmp_path):
    run = make_run(tmp_path / "run", 790, num_sheets=79, side=60)
    viewer = sheet_viewer(read_runs([run]))
    assert (len(viewer.labels), viewer.total) == (40, 79)
    assert viewer.labels == [f"step {step}, epoch {step // 20}" for step in range(10, 791, 20)]


def test_large_sheets_are_scaled_down_until_they_fit(tmp_path):
    run = make_run(tmp_path / "run", num_sheets=12, side=400)  # noise, which compresses worse than any photograph
    (frames,) = sheet_viewer(read_runs([run])).frames
    assert {frame.pictures["sheet"].width for frame in frames} < {640, 480, 360, 260, 840} and len(frames) == 12
    assert sum(len(frame.pictures["sheet"].uri) for frame in frames) < 3.5e6


def test_a_sheet_higher_than_a_webp_can_be_is_scaled_down(tmp_path):
    run = make_run(tmp_path / "run", num_sheets=0)
    write_picture(run / "samples" / "step_00000100.png", 17000, 30)
    (frame,) = sheet_viewer(read_runs([run])).frames[0]
    assert decoded(frame.pictures["sheet"]).shape[0] <= 16383


def test_broken_and_missing_pictures_are_left_out_and_told(tmp_path):
    run = make_run(tmp_path / "run", pictures=("x.png", "y.png", "z.png"))
    (run / "samples" / "step_00000066.png").write_bytes(b"no picture")
    (run / "evaluation" / "translation_0.png").unlink()
    (run / "evaluation" / "input_1.png").write_bytes(b"")
    (read,) = read_runs([run])
    assert [frame.label for frame in sheet_viewer([read]).frames[0]] == ["step 33, epoch 1", "step 100, epoch 5"]
    frames = {frame.label: set(frame.pictures) for frame in comparison_viewer([read]).frames[0]}
    assert frames == {"y.png": {"translation", "target"}, "z.png": {"input", "translation", "target"}}
    assert len(read.notes) == 3
    for name in ("step_00000066.png: cannot be read", "translation_0.png: no such file", "input_1.png: cannot be read"):
        assert any(name in note for note in read.notes), name


def test_runs_are_compared_on_the_pictures_that_both_have(tmp_path):
    runs = read_runs([make_run(tmp_path / "a"), make_run(tmp_path / "b", pictures=("y.png", "z.png"))])
    viewer = comparison_viewer(runs)
    assert viewer.labels == ["y.png"] and [len(frames) for frames in viewer.frames] == [1, 1]


def test_without_input_and_target_the_translation_stands_alone(tmp_path):
    run = make_run(tmp_path / "run")
    pictures = [
        {"name": 7, "input": None, "translation": "evaluation/translation_0.png", "target": None},
        "nonsense",
        {},
    ]
    (run / "evaluation.json").write_text(json.dumps({"pictures": pictures}))
    (frame,) = comparison_viewer(read_runs([run])).frames[0]
    assert set(frame.pictures) == {"translation"} and frame.label == "7"


def test_the_newest_rows_end_between_two_rows(tmp_path):
    run = make_run(tmp_path / "run")
    sheet = np.full((900, 300, 3), 255, np.uint8)
    for top in range(10, 890, 110):
        sheet[top : top + 100] = 90  # rows of 100 px and 10 px of white after each
    Image.fromarray(sheet).save(run / "samples" / "step_00000100.png")
    shown = decoded(newest_rows(read_runs([run])[0]))
    assert 230 <= len(shown) <= 300 and (shown[-1] > 240).all()  # at most as high as wide; the next row begins at 230


def test_a_run_without_pictures_has_empty_viewers(tmp_path):
    run = make_run(tmp_path / "run", num_sheets=0)
    (run / "evaluation.json").unlink()
    runs = read_runs([run])
    assert sheet_viewer(runs).labels == comparison_viewer(runs).labels == [] and newest_rows(runs[0]) is None
    write_picture(run / "samples" / "step_00000001.png", 1, 1)
    assert sheet_viewer(read_runs([run])).labels == ["step 1, epoch 0"]
