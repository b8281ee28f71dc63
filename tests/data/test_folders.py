"""Which files of a folder are pictures, and that nothing else is passed over without a word."""

import os
from pathlib import Path

import pytest

from cut.data import folders
from cut.data.folders import list_folder, list_images
from cut.errors import UserError


def _touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def _listed(root):
    return [path.relative_to(root).as_posix() for path in list_images(root)]


def test_pictures_are_listed_sorted_with_those_in_folders_below(tmp_path):
    names = ["b.png", "A.JPG", "sub/deeper/c.Tiff", "sub/a.webp"]
    _touch(tmp_path, *names, "notes.txt", "list.png.csv")
    assert _listed(tmp_path) == sorted(names)


def test_every_name_of_a_format_that_is_read_is_listed(tmp_path):
    names = ["a.gif", "b.jfif", "c.JPE", "d.jp2", "e.j2k", "f.dib", "g.pnm", "h.pbm", "i.apng", "j.mpo"]
    _touch(tmp_path, *names)
    assert _listed(tmp_path) == sorted(names)


def test_hidden_files_and_folders_are_not_listed_but_counted(tmp_path):
    _touch(tmp_path, ".a.png", "sub/.b.png", ".cache/c.png", "sub/.cache/d.png", "sub/e.png", "._e.png", ".DS_Store")
    assert _listed(tmp_path) == ["sub/e.png"]
    assert list_folder(tmp_path).left_out() == [".a.png, .cache and 2 more, hidden by a dot"]


def test_hidden_folder_above_hides_nothing(tmp_path):
    _touch(tmp_path, ".data/a.png")
    assert list_images(tmp_path / ".data") == [tmp_path / ".data/a.png"]


def test_folder_that_is_called_like_a_picture_is_not_listed(tmp_path):
    _touch(tmp_path, "x.png/y.png")
    assert _listed(tmp_path) == ["x.png/y.png"]


def test_missing_empty_and_wrong_folder_are_told_apart(tmp_path):
    (tmp_path / "file.png").touch()
    (tmp_path / "empty/x.png").mkdir(parents=True)
    (tmp_path / "circle").symlink_to("circle")
    reasons = {
        "none": "no such folder",
        "file.png": "is a file",
        "empty": "holds no picture",
        "circle": "no such folder",
    }
    for name, reason in reasons.items():
        with pytest.raises(UserError, match=f"{name}: {reason}"):
            list_images(tmp_path / name)


def test_what_is_no_picture_by_its_name_is_counted_by_suffix(tmp_path):
    _touch(tmp_path, *[f"sub/{n}.PSD" for n in range(30)], "a.jpg", "b.cr2", "README", "a.jpg.bak", "b.jpg~")
    assert _listed(tmp_path) == ["a.jpg"]
    said = list_folder(tmp_path).left_out()
    assert (
        len(said) == 1
        and said[0].startswith("30 .psd files, ")
        and said[0].endswith(", which are not read as pictures")
    )
    assert all(f"1 {suffix} file" in said[0] for suffix in (".cr2", "(no suffix)", ".bak", ".jpg~"))


def test_a_folder_without_a_picture_says_what_is_there_instead(tmp_path):
    _touch(tmp_path, *[f"{n}.psd" for n in range(3)])
    with pytest.raises(UserError, match="holds no picture .*; there are 3 .psd files, which are not read"):
        list_images(tmp_path)


def test_many_suffixes_stay_one_short_line(tmp_path):
    _touch(tmp_path, *[f"x.{n}{'y' * 100}" for n in range(1000)])
    assert len(list_folder(tmp_path).left_out()[0]) < 400
    assert "995 others" in list_folder(tmp_path).left_out()[0]


def test_linked_folders_are_followed_at_any_depth(tmp_path):
    _touch(tmp_path, "elsewhere/sub/a.png", "other/b.png", "data/own.png")
    (tmp_path / "data/deep").mkdir()
    (tmp_path / "data/deep/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/more").symlink_to(tmp_path / "other")
    assert _listed(tmp_path / "data") == ["deep/link/more/b.png", "deep/link/sub/a.png", "own.png"]
    assert list_folder(tmp_path / "data").left_out() == []


@pytest.mark.parametrize("target", [".", "..", "../..", "/", "sub"])
def test_links_in_a_circle_are_not_followed_and_said_so(tmp_path, target):
    _touch(tmp_path, "data/trainA/a.png", "data/trainA/sub/b.png", "data/trainB/c.png")
    (tmp_path / "data/trainA/circle").symlink_to(target)
    listing = list_folder(tmp_path / "data/trainA")
    assert [path.name for path in listing.paths] == ["a.png", "b.png"]
    assert listing.left_out() == ["circle, linked to a folder that is listed anyway"]


def test_a_folder_is_listed_once_and_under_its_own_path_however_many_links_lead_to_it(tmp_path):
    for level in range(25):  # 2^25 paths
        _touch(tmp_path, f"z{level}/{level}.png")
        for name in "ab":
            (tmp_path / f"z{level}/{name}").symlink_to(tmp_path / f"z{level + 1}")
    _touch(tmp_path, "z25/25.png")
    (tmp_path / "a_link").symlink_to(tmp_path / "z0")
    listing = list_folder(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in listing.paths] == sorted(
        f"z{n}/{n}.png" for n in range(26)
    )
    assert len(listing.known_links) == 51


def test_link_to_nowhere_and_a_circle_of_files_are_listed_so_that_reading_tells(tmp_path):
    (tmp_path / "x.png").symlink_to("nowhere")
    (tmp_path / "y.png").symlink_to("y.png")
    assert _listed(tmp_path) == ["x.png", "y.png"]


def test_a_folder_that_cannot_be_listed_is_told(tmp_path, monkeypatch):
    _touch(tmp_path, "a.png", "sub/b.png")
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "sub":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(folders.os, "scandir", refuse)
    assert _listed(tmp_path) == ["a.png"]
    assert list_folder(tmp_path).left_out() == ["sub, which cannot be listed (Permission denied)"]
