"""Letters and digits by class, drawn from matplotlib's fonts."""

import numpy as np
import pytest

from cut.data.images import list_images, read_image
from cut.datasets.glyphs import CLASSES, NUM_TEST, build_glyphs, draw_glyph
from cut.errors import UserError


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr("cut.datasets.glyphs.CLASSES", {"source": "a1", "target": "AB"})
    monkeypatch.setattr("cut.datasets.glyphs.NUM_TEST", 2)


def test_sets_are_folders_of_classes_and_small_ones_begin_large_ones(few, tmp_path):
    counts = build_glyphs(tmp_path / "small", 16, num_source=3, num_target=2)
    assert counts["source/train/a"] == 3 and counts["target/train/B"] == 2 and counts["target/test/A"] == 2
    build_glyphs(tmp_path / "large", 16, num_source=4, num_target=3)
    for path in list_images(tmp_path / "small"):
        assert path.read_bytes() == (tmp_path / "large" / path.relative_to(tmp_path / "small")).read_bytes()
    assert build_glyphs(tmp_path / "small", 16, num_source=3, num_target=2) == counts  # left as it is
    with pytest.raises(UserError, match="holds glyphs with other settings .* delete it or name another --output"):
        build_glyphs(tmp_path / "small", 16, num_source=3, num_target=1)


def test_a_picture_is_a_bright_glyph_on_a_dark_ground_with_the_shape_of_its_class():
    pictures = {name: [draw_glyph(name, "train", index, 32) for index in range(60)] for name in "17"}
    shapes = {}
    for name, drawn in pictures.items():
        for picture in drawn:
            ground = picture[0, 0].astype(int)
            assert picture.shape == (32, 32, 3) and ground.max() <= 0.36 * 255
            assert picture.max() >= 0.65 * 255  # some of the glyph is there
        bright = np.stack([p.max(2) for p in drawn]).astype(float)
        shapes[name] = bright.mean(0) / bright.mean(0).max()
        assert (shapes[name][[0, -1]] < 0.35).all() and shapes[name][8:24, 8:24].max() == 1.0  # in the middle
    assert np.abs(shapes["1"] - shapes["7"]).max() > 0.3
    assert len({picture.tobytes() for picture in pictures["1"]}) == 60
    assert (draw_glyph("1", "test", 0, 32) != pictures["1"][0]).any()


def test_classes_of_both_sets_differ_and_read_as_colour_pictures(few, tmp_path):
    build_glyphs(tmp_path / "set", 32, num_source=1, num_target=1)
    assert not set(CLASSES["source"]) & set(CLASSES["target"]) and NUM_TEST == 50
    assert read_image(tmp_path / "set/target/train/A/00000.png", 3).shape == (32, 32, 3)


@pytest.mark.parametrize(("settings", "text"), [((8,), "--image-px 8: must be"), ((32, 0), "--num-source 0: must be")])
def test_sizes_out_of_bounds_are_refused(settings, text, tmp_path):
    with pytest.raises(UserError, match=text):
        build_glyphs(tmp_path / "set", *settings)
