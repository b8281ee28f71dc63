"""Pairs as one picture A|B and as two folders, and the way between them."""

import numpy as np
import pytest

from cut.data.images import read_image, write_image
from cut.data.pair_files import match_folders
from cut.datasets.pair_and_split import pair_folders, split_folder
from cut.errors import UserError


def picture(path, size=(6, 8), dtype=np.uint8, channels=3):
    """Writes noise that the path alone decides, and returns it."""
    rng = np.random.default_rng(list(path.name.encode() + path.parent.name.encode()))
    array = rng.integers(0, np.iinfo(dtype).max, (*size, channels), dtype=dtype)
    write_image(path, array)
    return array


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pairing_and_splitting_gives_back_every_bit(tmp_path, dtype):
    names = ("1.png", "sub/dir/2.v1.png")
    written = {d: {n: picture(tmp_path / d / n, dtype=dtype) for n in names} for d in "AB"}
    assert pair_folders(tmp_path / "A", tmp_path / "B", tmp_path / "joined" / "train") == 2
    joined = read_image(tmp_path / "joined/train/sub/dir/2.v1.png", 3)
    assert (joined == np.hstack([written[d]["sub/dir/2.v1.png"] for d in "AB"])).all() and joined.dtype == dtype
    folder_a, folder_b, count = split_folder(tmp_path / "joined/train", tmp_path / "halves")
    assert (folder_a, folder_b, count) == (tmp_path / "halves/trainA", tmp_path / "halves/trainB", 2)
    for domain, folder in (("A", folder_a), ("B", folder_b)):
        for name, array in written[domain].items():
            back = read_image(folder / name, 3)
            assert back.dtype == dtype and (back == array).all()
    assert not list(tmp_path.rglob(".*"))  # no temporary folder is left


def test_a_pair_of_8_and_16_bits_keeps_both_halves(tmp_path):
    a, b = picture(tmp_path / "A/1.png"), picture(tmp_path / "B/1.tif", dtype=np.uint16, channels=1)
    pair_folders(tmp_path / "A", tmp_path / "B", tmp_path / "out")
    joined = read_image(tmp_path / "out/1.png", 3)
    assert (joined[:, :8] == a.astype(np.uint16) * 257).all() and (joined[:, 8:] == b).all()


def test_another_format_is_taken(tmp_path):
    picture(tmp_path / "pairs/1.png")
    folder_a, _, _ = split_folder(tmp_path / "pairs", tmp_path, ".jpg")
    assert [p.name for p in folder_a.iterdir()] == ["1.jpg"]


@pytest.mark.parametrize(
    "a, b, message",
    [
        (["1.png"], ["1.png", "2.png"], r"no partner of the same name for .*B/2.png; add the partner or remove"),
        ([f"{n}.png" for n in range(6)], ["9.png"], r"A/0.png, .*A/1.png, .*A/2.png and 4 more"),
        (["1.png", "1.jpg"], ["1.png"], r"A/1.jpg and .*A/1.png have one name, apart from the suffix"),
        (["1.png"], [], "B: no such folder"),
    ],
)
def test_pictures_that_make_no_pairs_are_named(tmp_path, a, b, message):
    for domain, names in (("A", a), ("B", b)):
        for name in names:
            picture(tmp_path / domain / name)
    with pytest.raises(UserError, match=message):
        match_folders(tmp_path / "A", tmp_path / "B")


def test_pairs_and_halves_do_not_go_among_the_pictures_that_are_read(tmp_path):
    for name in ("A/1.png", "B/1.png"):
        picture(tmp_path / name)
    for output in (tmp_path / "A" / "pairs", tmp_path / "B" / "pairs"):
        with pytest.raises(UserError, match="pairs: lies in the input folder .*; choose another output"):
            pair_folders(tmp_path / "A", tmp_path / "B", output)
    with pytest.raises(UserError, match="A, .*A/[.]: are the same folder; name the one of A and the one of B"):
        pair_folders(tmp_path / "A", f"{tmp_path / 'A'}/.", tmp_path / "pairs")
    with pytest.raises(UserError, match="AA: lies in the input folder"):
        split_folder(tmp_path / "A", tmp_path / "A")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["1.png", "1.png", "A", "B"]


def test_halves_of_different_sizes_are_named(tmp_path):
    picture(tmp_path / "A/1.png")
    picture(tmp_path / "B/1.png", size=(6, 10))
    with pytest.raises(UserError, match=r"A/1.png \(8x6 px\) and .*B/1.png \(10x6 px\): a pair must be of one size"):
        pair_folders(tmp_path / "A", tmp_path / "B", tmp_path / "out")
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".*"))


def test_an_odd_width_is_named_and_nothing_is_left_behind(tmp_path):
    picture(tmp_path / "all/1.png")
    picture(tmp_path / "all/2.png", size=(6, 9))
    with pytest.raises(UserError, match=r"2.png: 9x6 px cannot be two pictures A\|B side by side, for the width"):
        split_folder(tmp_path / "all", tmp_path / "out")
    assert not any((tmp_path / "out").rglob("*.png"))


def test_nothing_is_overwritten(tmp_path):
    for domain in "AB":
        picture(tmp_path / domain / "1.png")
    kept = picture(tmp_path / "out/1.png")
    with pytest.raises(UserError, match="out: exists already, and nothing is overwritten"):
        pair_folders(tmp_path / "A", tmp_path / "B", tmp_path / "out")
    picture(tmp_path / "halves/outB/old.png")
    with pytest.raises(UserError, match="halves/outB: exists already"):
        split_folder(tmp_path / "out", tmp_path / "halves")
    assert (read_image(tmp_path / "out/1.png", 3) == kept).all() and not (tmp_path / "halves/outA").exists()


def test_an_unknown_format_lists_the_known_ones(tmp_path):
    picture(tmp_path / "all/1.png")
    with pytest.raises(UserError, match="--format gif: not a known picture format .known: jpg"):
        split_folder(tmp_path / "all", tmp_path / "out", ".gif")
