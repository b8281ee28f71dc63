import json
import os

import numpy as np
import pytest
from PIL import Image

from cut.data.images import read_image, write_image
from cut.datasets.check import check_folder
from cut.errors import UserError


def _picture(path, width=16, height=16, channels=3, dtype=np.uint8):
    """Writes a picture that its path alone decides, so that no two are equal by chance."""
    generator = np.random.default_rng(list(str(path).encode()))
    pixels = generator.integers(0, np.iinfo(dtype).max, (height, width, channels), dtype=dtype)
    write_image(path, pixels)
    return path


@pytest.fixture
def unpaired(tmp_path):
    for folder in ("trainA", "trainB", "testA", "testB"):
        for number in range(3):
            _picture(tmp_path / folder / f"{number}.png")
    return tmp_path


def _check(root):
    return check_folder(root, progress=False)


def test_whole_unpaired_set_has_no_errors(unpaired):
    report = _check(unpaired)
    assert (report.layout, report.has_errors) == ("unpaired", False)
    assert {folder.name: folder.num_images for folder in report.folders} == dict.fromkeys(
        ("testA", "testB", "trainA", "trainB"), 3
    )
    assert not (report.broken or report.duplicates or report.without_partner or report.ignored)
    assert "no errors" in report.text()


def test_sizes_and_modes_are_counted(tmp_path):
    _picture(tmp_path / "trainA/1.png", 8, 20)
    _picture(tmp_path / "trainA/nested/2.png", 30, 10, dtype=np.uint16)
    _picture(tmp_path / "trainA/3.png", 30, 10, channels=1)
    _picture(tmp_path / "trainB/4.png", channels=1, dtype=np.uint16)
    a, b = _check(tmp_path).folders
    assert (a.min_px, a.median_px, a.max_px, a.common_px, a.num_common) == ((8, 10), (30, 10), (30, 20), (30, 10), 2)
    assert a.kinds == {"RGB": 1, "RGB;16": 1, "L": 1} and b.kinds == {"I;16": 1}


def test_turned_picture_is_measured_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10)).save(tmp_path / "1.jpg", exif=exif)
    assert _check(tmp_path).folders[0].common_px == (10, 20)


def test_aligned_pairs_are_recognised_by_their_width(tmp_path):
    for split in ("train", "val"):
        _picture(tmp_path / split / "1.png", 32, 16)
    (tmp_path / "test").mkdir()
    report = _check(tmp_path)
    assert (report.layout, report.empty) == ("aligned", ["test (no picture)"])


def test_square_pictures_in_train_and_test_are_a_plain_folder(tmp_path):
    _picture(tmp_path / "train/1.png")
    _picture(tmp_path / "2.png")
    report = _check(tmp_path)
    assert (report.layout, report.has_errors) == ("plain", False)
    assert [folder.name for folder in report.folders] == [".", "train"]


def test_folder_without_any_picture_is_an_error(tmp_path):
    (tmp_path / "readme.txt").touch()
    report = _check(tmp_path)
    assert (report.layout, report.has_errors, report.ignored) == ("nothing", True, {".txt": 1})
    assert "no picture anywhere" in report.text()


@pytest.mark.parametrize("name", ["missing", "file"])
def test_root_that_is_no_folder_is_a_users_error(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=name):
        _check(tmp_path / name)


def test_broken_files_are_listed_with_a_reason_and_the_rest_is_still_read(unpaired):
    whole = _picture(unpaired / "trainA/whole.jpg", 64, 64).read_bytes()
    (unpaired / "trainA/half.jpg").write_bytes(whole[: len(whole) // 2])
    (unpaired / "trainA/empty.png").touch()
    (unpaired / "trainB/text.png").write_text("no picture")
    (unpaired / "trainB/gone.png").symlink_to("nowhere")
    (unpaired / "trainB/folder.png").mkdir()
    report = _check(unpaired)
    broken = ["trainA/empty.png", "trainA/half.jpg", "trainB/gone.png", "trainB/text.png"]
    assert sorted(set(report.broken) - {"trainB/folder.png"}) == broken and report.has_errors
    assert all(reason and "\n" not in reason for reason in report.broken.values())
    assert "trainA/half.jpg: " in report.text() and "truncated" in report.broken["trainA/half.jpg"]
    assert not report.duplicates  # empty files are broken, not equal


@pytest.mark.parametrize(("values", "name"), [([[1j]], "complex128"), ([["a"]], "str32")])
def test_arrays_of_no_real_numbers_are_broken(tmp_path, values, name):
    np.save(tmp_path / "x.npy", np.array(values))
    assert _check(tmp_path).broken == {"x.npy": f"holds {name} values, which are no real numbers"}


def test_wrong_checksum_that_decoding_forgives_is_found(tmp_path):
    data = bytearray(_picture(tmp_path / "1.png").read_bytes())
    data[-13] ^= 1  # the last byte of the pixels' checksum: 12 bytes of IEND follow
    (tmp_path / "1.png").write_bytes(data)
    read_image(tmp_path / "1.png", channels=3)
    assert list(_check(tmp_path).broken) == ["1.png"]


def test_empty_folder_and_missing_half_are_errors(tmp_path):
    (tmp_path / "trainA").mkdir()
    report = _check(tmp_path)
    assert report.empty == ["trainA (no picture)", "trainB (missing beside trainA)"] and report.has_errors


def test_same_picture_in_train_and_test_is_leakage(unpaired):
    content = (unpaired / "trainA/0.png").read_bytes()
    (unpaired / "testA/copy.png").write_bytes(content)
    (unpaired / "trainB/again.png").write_bytes((unpaired / "trainB/1.png").read_bytes())
    report = _check(unpaired)
    assert report.leaks == [["testA/copy.png", "trainA/0.png"]]
    assert report.duplicates == [["testA/copy.png", "trainA/0.png"], ["trainB/1.png", "trainB/again.png"]]
    assert "leakage" in report.text() and not report.has_errors


def test_pictures_without_a_partner_are_listed_where_names_pair_up(unpaired):
    _picture(unpaired / "testA/sub/lonely.png")
    (unpaired / "testB/0.png").rename(unpaired / "testB/0.bmp")  # another suffix is a partner still
    assert _check(unpaired).without_partner == ["testA/sub/lonely.png"]


def test_masks_that_are_missing_are_listed_and_equal_ones_are_no_duplicates(unpaired):
    assert "without a mask" not in _check(unpaired).text()
    (unpaired / "maskA").mkdir()
    for number in range(2):
        Image.new("L", (16, 16), 255).save(unpaired / f"maskA/{number}.png")
    report = _check(unpaired)
    assert report.without_mask == ["trainA/2.png"] and report.duplicates == []
    assert "pictures without a mask of the same name" in report.text() and not report.has_errors


def test_pictures_of_one_name_in_a_folder_of_pairs_are_listed(unpaired):
    _picture(unpaired / "testA/cafe\u0301.png")
    _picture(unpaired / "testA/caf\u00e9.jpg")
    _picture(unpaired / "testA/0.webp")
    report = _check(unpaired)
    assert report.ambiguous == [["testA/0.png", "testA/0.webp"], ["testA/cafe\u0301.png", "testA/caf\u00e9.jpg"]]
    assert "pairs are ambiguous (2):" in report.text()


def test_sides_that_share_no_name_need_no_partners(unpaired):
    for path in list((unpaired / "testB").iterdir()):
        path.rename(path.with_name(f"b{path.name}"))
    assert not _check(unpaired).without_partner


def test_linked_folder_is_read(unpaired, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    _picture(elsewhere / "1.png")
    (unpaired / "valA").symlink_to(elsewhere)
    assert {folder.name: folder.num_images for folder in _check(unpaired).folders}["valA"] == 1


def test_long_lists_are_cut_on_the_terminal_and_whole_in_json(tmp_path):
    for number in range(12):
        (tmp_path / f"{number}.png").touch()
    report = _check(tmp_path)
    assert "... and 2 more" in report.text()
    assert len(json.loads(json.dumps(report.to_dict()))["broken"]) == 12


def test_an_aligned_set_counts_its_pairs_and_names_odd_widths(tmp_path):
    for number in range(4):
        _picture(tmp_path / "train" / f"{number}.png", 32, 16)
    _picture(tmp_path / "test" / "good.png", 32, 16)
    report = _check(tmp_path)
    assert (report.layout, report.num_pairs, report.has_errors) == ("aligned", {"train": 4, "test": 1}, False)
    assert "pairs: train 4, test 1" in report.text()
    _picture(tmp_path / "test" / "odd.png", 33, 16)
    report = _check(tmp_path)
    assert report.broken == {"test/odd.png": "33x16 px cannot be A|B, for the width is odd"} and report.has_errors
    assert report.num_pairs == {"train": 4, "test": 1}


def test_training_folders_are_pairs_where_most_names_are_equal(unpaired):
    assert _check(unpaired).num_pairs == {"train": 3, "test": 3}
    assert "pairs in two folders (trainA, trainB, ...)" in _check(unpaired).text()
    _picture(unpaired / "trainA" / "alone.png")
    report = _check(unpaired)
    assert (report.num_pairs["train"], report.without_partner) == (3, ["trainA/alone.png"])
    for number in range(10):
        _picture(unpaired / "trainB" / f"other{number}.png")
    report = _check(unpaired)
    assert "train" not in report.num_pairs and report.without_partner == []


def _longest_line(report):
    return max(map(len, report.text().splitlines()))


def test_a_folder_of_equal_masks_stays_readable(tmp_path):
    for number in range(400):
        Image.new("L", (8, 8)).save(tmp_path / f"mask_{number:05}.png")
    report = _check(tmp_path)
    assert len(report.duplicates[0]) == 400 and _longest_line(report) < 300
    assert "mask_00000.png = mask_00001.png = mask_00002.png and 397 more" in report.text()


def test_thousands_of_folders_suffixes_and_long_names_stay_readable(tmp_path):
    for number in range(60):
        _picture(tmp_path / f"{'patient' * 20}{number}" / "1.png", 4, 4)
        (tmp_path / f"x.{number}{'y' * 50}").touch()
    report = _check(tmp_path)
    assert len(report.folders) == 60 and len(report.ignored) == 60
    assert _longest_line(report) < 310 and len(report.text().splitlines()) < 60
    assert "... and 20 more folders" in report.text() and "55 others, which are not read" in report.text()


@pytest.mark.parametrize(
    ("dtype", "brightest", "said"),
    [
        (np.uint16, 4095, "trainA: brightest value 4095 of 65535; networks take 65535 for white"),
        (np.uint16, 65535, "trainA: brightest value 65535 of 65535\n"),
        (np.uint8, 1, "trainA: brightest value 1 of 255; networks take 255 for white"),
        (np.uint8, 200, None),
    ],
)
def test_the_used_range_is_told(tmp_path, dtype, brightest, said):
    pixels = np.zeros((8, 8, 1), dtype)
    pixels[2, 3] = brightest
    for folder in ("trainA", "trainB"):
        write_image(tmp_path / folder / "1.png", pixels if folder == "trainA" else np.full((8, 8, 1), 255, np.uint8))
    text = _check(tmp_path).text()
    assert said in text if said else "brightest" not in text
    assert "trainB: brightest" not in text
    assert _check(tmp_path).folders[0].brightest == {str(np.iinfo(dtype).max): brightest}


def test_everything_that_is_left_out_is_told(unpaired, tmp_path_factory):
    elsewhere = _picture(tmp_path_factory.mktemp("elsewhere") / "1.png").parent
    (unpaired / "trainA" / "more").symlink_to(elsewhere)
    (unpaired / "trainA" / "circle").symlink_to("..")
    (unpaired / "again").symlink_to(".")
    (unpaired / "trainB" / ".hidden.png").touch()
    for number in range(30):
        (unpaired / "trainA" / f"{number}.PSD").touch()
    rgba = Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8, 4), dtype=np.uint8))
    rgba.save(unpaired / "testA" / "9.tif", save_all=True, append_images=[rgba])
    report = _check(unpaired)
    assert {folder.name: folder.num_images for folder in report.folders}["trainA"] == 4
    assert report.ignored == {".psd": 30} and report.losses == {
        "transparency is laid over white": 1,
        "only the first page or frame is used": 1,
    }
    assert report.passed_over == [
        "again, linked to a folder that is listed anyway",
        "trainA/circle, linked to a folder that is listed anyway",
        "trainB/.hidden.png, hidden by a dot",
    ]
    assert all(
        f"  {what}" in report.text() for what in ["30 .psd files, which", "1 pictures: only", *report.passed_over]
    )


def test_what_is_no_regular_file_is_broken_and_hangs_nothing(unpaired):
    os.mkfifo(unpaired / "trainA" / "x.png")
    (unpaired / "trainB" / "y.png").symlink_to("y.png")
    broken = _check(unpaired).broken
    assert "it is a pipe, not a regular file" in broken["trainA/x.png"] and "symbolic links" in broken["trainB/y.png"]
