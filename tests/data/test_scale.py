"""Pictures are translated at the scale that the network has learnt, or it is said that they are not."""

import numpy as np
import pytest
from PIL import Image

from cut.config import SingleDataConfig, UnpairedDataConfig
from cut.data.scale import describe_scale, scale_as_in_training
from cut.data.transforms import scaled


def config(**settings):
    return UnpairedDataConfig(root="none", **{"load_px": 40, "crop_px": 32} | settings)


@pytest.mark.parametrize(
    ("preprocess", "shape"),
    [
        ("resize_and_crop", (48, 48)),
        ("scale_width", (32, 48)),
        ("scale_width_and_crop", (32, 48)),
        ("scale_shortside_and_crop", (48, 96)),
        ("crop", (48, 96)),
        ("none", (48, 96)),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pictures_are_scaled_as_training_scales_them(preprocess, shape, dtype):
    picture = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (100, 200, 3), dtype=dtype)
    found = scale_as_in_training(picture, config(preprocess=preprocess), 48)
    assert found.shape == (*shape, 3) and found.dtype == dtype
    if preprocess not in ("crop", "none") and dtype == np.uint8:
        trained_on = scaled(picture, config(preprocess=preprocess, load_px=48), whole=False)
        assert (trained_on.permute(1, 2, 0).numpy() == found).all()
    white = np.iinfo(dtype).max
    smooth = np.broadcast_to(np.linspace(0, white, 200).astype(dtype)[None, :, None], (100, 200, 3))
    ramp = scale_as_in_training(smooth, config(preprocess=preprocess), 48)[0, :, 0].astype(float)
    assert (np.diff(ramp) > 0).all() and ramp.max() > 0.98 * white


def test_single_pictures_are_scaled_by_their_longer_side():
    single = SingleDataConfig(a="a", b="b", load_px=40)
    assert scale_as_in_training(np.zeros((100, 200, 3), np.uint8), single, 48).shape == (24, 48, 3)


@pytest.mark.parametrize(
    ("preprocess", "size", "times"),
    [
        ("resize_and_crop", (1000, 1000), "25 times"),
        ("resize_and_crop", (80, 80), None),
        ("resize_and_crop", (16, 16), "0.4 times"),
        ("scale_width_and_crop", (100, 10), "2.5 times"),
        ("scale_shortside_and_crop", (1000, 60), None),
        ("scale_shortside_and_crop", (1000, 100), "2.5 times"),
        ("crop", (1000, 1000), None),
    ],
)
def test_a_scale_that_differs_by_more_than_two_is_said(tmp_path, preprocess, size, times):
    Image.new("RGB", size).save(tmp_path / "x.png")
    Image.new("RGB", (60, 40)).save(tmp_path / "y.png")
    (tmp_path / "broken.png").touch()
    line = describe_scale(sorted(tmp_path.iterdir()), config(preprocess=preprocess))
    expected = f"1 of 3 pictures are {times} as large as those of the training, which were scaled to data.load_px 40"
    assert line == (expected if times else None)


def test_the_scale_of_single_pictures_is_known_where_they_were_scaled(tmp_path):
    for name, side in (("x", 100), ("y", 400)):
        Image.new("RGB", (side, 20)).save(tmp_path / f"{name}.png")
    paths = sorted(tmp_path.iterdir())
    assert describe_scale(paths, SingleDataConfig(a="a", b="b")) is None
    assert "2 of 2 pictures are 2.5 to 10 times" in describe_scale(paths, SingleDataConfig(a="a", b="b", load_px=40))
    assert "2 of 2 pictures are 10 times" in describe_scale([paths[1]] * 2, SingleDataConfig(a="a", b="b", load_px=40))
