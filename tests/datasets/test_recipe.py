"""The note beside a set that this program made."""

import json

import pytest

from cut.datasets.recipe import already_built, write_note
from cut.errors import UserError
from cut.storage.files import new_folders

RECIPE = {"image_px": 16}


def test_a_whole_set_is_known_and_one_that_lost_a_picture_is_not(tmp_path):
    assert already_built(tmp_path / "none", "x", RECIPE) is None and already_built(tmp_path, "x", RECIPE) is None
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "0.png").touch()
    write_note(tmp_path, "x", RECIPE, {"train": 1})
    assert already_built(tmp_path, "x", RECIPE) == {"train": 1}
    with pytest.raises(UserError, match="holds x with other settings .image_px 16. already"):
        already_built(tmp_path, "x", {"image_px": 32})
    (tmp_path / "train" / "0.png").unlink()
    with pytest.raises(UserError, match="holds parts of x already; delete it or name another --output"):
        already_built(tmp_path, "x", RECIPE)


@pytest.mark.parametrize(
    "note",
    [
        "[" * 100_000,
        "null",
        "{}",
        '{"recipe": []}',
        json.dumps({"recipe": RECIPE, "counts": {}}),  # looked like none, so that all was drawn before the refusal
        json.dumps({"recipe": RECIPE, "counts": {"\0": 1}}),
        json.dumps({"recipe": RECIPE, "counts": [1]}),
        json.dumps({"recipe": {"x" * 5000: "y" * 5000}}),
    ],
)
def test_a_note_of_anybody_is_one_short_line(note, tmp_path):
    (tmp_path / "x.json").write_text(note)
    with pytest.raises(UserError, match="already; delete it or name another --output") as caught:
        already_built(tmp_path, "x", RECIPE)
    assert len(str(caught.value)) < 600


def test_what_is_in_the_way_is_noticed_before_a_folder_is_filled(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    for name in ("loop", "full"):
        with pytest.raises(FileExistsError), new_folders(tmp_path / name):
            pytest.fail("it would be filled")
