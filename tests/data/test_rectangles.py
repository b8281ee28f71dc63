"""Crops and scaling of rectangles, [height, width]."""

import numpy as np
import pytest
import torch

from cut.config import PairedDataConfig, UnpairedDataConfig
from cut.data.images import write_image
from cut.data.paired import PairedStream
from cut.data.scale import describe_scale, scale_as_in_training
from cut.data.transforms import fixed_transform, random_view, scaled
from cut.data.unpaired import UnpairedStream
from cut.errors import UserError

PICTURE = np.arange(60 * 100 * 3, dtype=np.uint8).reshape(60, 100, 3)  # height 60, width 100


def config_of(root="x", kind=UnpairedDataConfig, **settings):
    return kind(root=str(root), cache_mib=0, num_workers=0, **settings)


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({"load_px": (40, 80), "crop_px": (32, 64)}, (40, 80)),
        ({"load_px": 80, "crop_px": (32, 64)}, (80, 80)),
        ({"load_px": 80, "crop_px": (32, 64), "preprocess": "scale_width_and_crop"}, (48, 80)),
        ({"load_px": 80, "crop_px": (64, 32), "preprocess": "scale_width_and_crop"}, (64, 80)),  # high enough
        ({"load_px": 40, "crop_px": (32, 64), "preprocess": "scale_shortside_and_crop"}, (40, 67)),
        ({"load_px": (40, 80), "crop_px": (32, 64), "preprocess": "scale_shortside_and_crop"}, (48, 80)),  # covers it
        ({"load_px": (80, 40), "crop_px": (64, 32), "preprocess": "scale_shortside_and_crop"}, (80, 133)),
        ({"crop_px": (32, 64), "preprocess": "crop"}, (60, 100)),
    ],
)
def test_pictures_are_scaled_then_cropped_to_the_rectangle(settings, size):
    config = config_of(**settings)
    pixels = scaled(PICTURE, config, whole=False)
    assert tuple(pixels.shape) == (3, *size)
    view = random_view(pixels, config, np.random.default_rng(0), "x")
    assert tuple(view.shape) == (3, *settings["crop_px"])
    assert tuple(fixed_transform(PICTURE, config, "x").shape) == (3, *settings["crop_px"])


def test_while_the_rate_decays_pictures_are_scaled_to_the_crop():
    assert tuple(scaled(PICTURE, config_of(load_px=(40, 80), crop_px=(32, 64)), whole=True).shape) == (3, 32, 64)


def test_every_place_of_a_crop_is_drawn_along_each_side():
    config = config_of(load_px=64, crop_px=(60, 32), flip=False)
    grid = torch.arange(64 * 64, dtype=torch.float32).view(1, 64, 64)
    rng = np.random.default_rng(0)
    corners = [random_view(grid, config, rng, "x")[0, 0, 0].int().item() for _ in range(400)]
    assert {corner // 64 for corner in corners} == set(range(5)) and {corner % 64 for corner in corners} == set(
        range(33)
    )


@pytest.mark.parametrize("kind", [UnpairedDataConfig, PairedDataConfig])
def test_samples_of_both_kinds_are_rectangles(tmp_path, kind):
    for folder in ("trainA", "trainB"):
        write_image(tmp_path / folder / "x.png", PICTURE)
    config = config_of(tmp_path, kind, load_px=(40, 80), crop_px=(32, 64))
    stream = (UnpairedStream if kind is UnpairedDataConfig else PairedStream)(config, seed=0)
    assert {tuple(stream[0][key].shape) for key in ("real_a", "real_b")} == {(3, 32, 64)}
    assert tuple(stream.fixed_samples(1)[0]["real_a"].shape) == (3, 32, 64)


def test_a_picture_that_is_too_low_or_too_narrow_is_named():
    config = config_of(crop_px=(64, 96), preprocess="crop")
    for picture in (PICTURE, PICTURE.swapaxes(0, 1)):
        with pytest.raises(UserError, match=r"x: .* px is smaller than the crop of 96x64 px"):
            random_view(scaled(picture, config, whole=False), config, np.random.default_rng(0), "x")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"load_px": (40, 60), "crop_px": (32, 64)}, r"load_px \(\[40, 60\]\) must be at least crop_px \(\[32, 64\]\)"),
        ({"load_px": 60, "crop_px": (32, 64)}, r"load_px \(60\) must be at least crop_px"),
        ({"load_px": 30, "crop_px": (32, 64), "preprocess": "scale_shortside_and_crop"}, "must be at least"),
        ({"crop_px": (32, 66)}, "multiple of 4"),
        ({"crop_px": (32,)}, r"must be one number, or \[height, width\]"),
        ({"crop_px": "32x64"}, r"must be one number, or \[height, width\]"),
        ({"range_a": 255}, r"range_a\n.*must be \[lowest, highest\]"),
        ({"range_a": [0]}, r"range_a\n.*must be \[lowest, highest\]"),
        ({"crop_px": (32, 4)}, "greater than or equal to 8"),
        ({"load_px": (40, 80), "crop_px": 32, "preprocess": "scale_width"}, "load_px: is the width alone"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        config_of(**settings)


def test_a_config_with_rectangles_is_stored_as_it_was_written():
    config = config_of(load_px=[40, 80], crop_px=[32, 64])
    assert (config.load_px, config.crop_px, config.crop_sides) == ((40, 80), (32, 64), (32, 64))
    stored = config.model_dump(mode="json")
    assert (stored["load_px"], stored["crop_px"]) == ([40, 80], [32, 64]) and UnpairedDataConfig(**stored) == config
    assert config_of(crop_px=64).model_dump(mode="json")["crop_px"] == 64


def test_pictures_to_translate_are_scaled_as_in_training(tmp_path):
    config = config_of(load_px=(40, 80), crop_px=(32, 64))
    assert scale_as_in_training(PICTURE, config, (40, 80)).shape == (40, 80, 3)
    assert scale_as_in_training(PICTURE, config_of(preprocess="none"), (90, 90)).shape == (90, 150, 3)
    write_image(tmp_path / "x.png", np.zeros((200, 400, 3), np.uint8))
    line = describe_scale([tmp_path / "x.png"], config)
    assert line and "5 times as large" in line and "data.load_px [40, 80]" in line
