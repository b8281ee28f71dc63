"""Label pictures decoded by nearest colour."""

import numpy as np
import pytest

from cut.errors import UserError
from cut.metrics.segmentation import VOID
from cut.scoring.palette import known_palettes, read_palette


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_the_palettes_of_the_package_hold_the_classes_of_their_sets():
    assert known_palettes() == ("cityscapes", "earth2map", "facades")
    sizes = {name: len(read_palette(name).names) for name in known_palettes()}
    assert sizes == {"cityscapes": 19, "earth2map": 2, "facades": 12}


def test_cityscapes_classes_stand_in_the_order_of_their_train_ids():
    palette = read_palette("cityscapes")
    assert (palette.names[0], palette.names[13], palette.names[18]) == ("road", "car", "bicycle")
    picture = np.array([[[128, 64, 128], [0, 0, 142], [119, 11, 32], [0, 0, 0]]], np.uint8)
    assert palette.decode(picture)[0].tolist() == [[0, 13, 18, VOID]]


def test_the_nearest_colour_wins_several_may_be_one_class_and_ignored_ones_are_void(tmp_path):
    path = write(
        tmp_path / "own.yaml",
        "classes:\n  - {name: water, color: [0, 0, 200]}\n  - {name: land, colors: [[0, 200, 0], [200, 200, 0]]}\n"
        "ignore: [[255, 255, 255]]\n",
    )
    palette = read_palette(path)
    assert palette.names == ("water", "land")
    picture = np.array([[[10, 5, 190], [20, 180, 9], [190, 210, 30], [250, 240, 250]]], np.uint8)
    assert palette.decode(picture)[0].tolist() == [[0, 1, 1, VOID]]
    assert palette.decode(picture)[1][0, 0] == 15.0  # sqrt(10^2 + 5^2 + 10^2)


def test_far_colours_do_not_overflow(tmp_path):
    palette = read_palette(
        write(tmp_path / "own.yaml", "classes: [{name: a, color: [0, 0, 0]}, {name: b, color: [255, 255, 255]}]")
    )
    assert palette.decode(np.array([[[255, 250, 255], [0, 5, 0]]], np.uint8))[0].tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: []", "classes: should be a list of 1 to 255"),
        ("colors: 3", "should hold the keys classes"),
        ("classes: [{name: a}]", r"classes\[0\]: got \{'name': 'a'\}; should be like"),
        ("classes: [{name: a, color: [0, 0]}]", r"classes\[0\]: got the color \[0, 0\]; should be"),
        ("classes: [{name: a, color: [0, 0, 256]}]", "each from 0 to 255"),
        ("classes: [{name: a, color: [0, 0, 1]}, {name: b, color: [0, 0, 1]}]", r"classes\[1\]: the color .* already"),
        ("classes: [{name: a, color: [0, 0, 1]}, {name: a, color: [0, 0, 2]}]", "two classes are called 'a'"),
        ("classes: [{name: a, color: [0, 0, 1]}]\nignore: 3", "ignore: colors: got 3"),
        ("classes: [", "cannot be read as YAML"),
    ],
)
def test_a_mistake_in_a_palette_is_one_line_with_file_and_place(tmp_path, text, message):
    path = write(tmp_path / "own.yaml", text)
    with pytest.raises(UserError, match=message) as caught:
        read_palette(path)
    assert "own.yaml" in str(caught.value) and "\n" not in str(caught.value)


def test_an_unknown_palette_lists_the_known_ones():
    with pytest.raises(UserError, match="palette city: no such file; known: cityscapes, earth2map, facades"):
        read_palette("city")
