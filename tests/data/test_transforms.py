import numpy as np
import pytest
import torch
from PIL import Image

from cut.config import UnpairedDataConfig
from cut.data.cache import PictureCache
from cut.data.transforms import fixed_transform, random_view, scaled, to_picture, to_tensor
from cut.errors import UserError

LEVEL = 2 / 255  # one gray level of 8 bits on the scale of [-1, 1]


def _config(preprocess="resize_and_crop", load_px=40, crop_px=32, flip=False):
    return UnpairedDataConfig(root="data", preprocess=preprocess, load_px=load_px, crop_px=crop_px, flip=flip)


def _picture(height, width, channels=3):
    """Smooth waves with noise over them, so that a wrong filter, scale or place shows."""
    y, x = np.mgrid[:height, :width]
    waves = 128 + 60 * np.sin(x / 5) + 40 * np.cos(y / 7)
    noise = np.random.default_rng(0).normal(0, 20, (height, width, channels))
    return np.clip(waves[..., None] + noise, 0, 255).astype(np.uint8)


def _numbered(height, width):
    """16 bits; every pixel has a number of its own, row by row."""
    return np.arange(height * width, dtype=np.uint16).reshape(height, width, 1)


def _random(picture, config, seed=0, whole=False):
    return random_view(scaled(picture, config, whole), config, np.random.default_rng(seed), "x.png")


def _by_pillow(picture, width, height):
    return to_tensor(np.array(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC)))


@pytest.mark.parametrize(
    ("preprocess", "size", "expected"),
    [
        ("resize_and_crop", (60, 90), (32, 32)),
        ("resize_and_crop", (5, 3), (32, 32)),
        ("crop", (60, 90), (32, 32)),
        ("crop", (32, 32), (32, 32)),
        ("scale_width_and_crop", (60, 90), (32, 32)),
        ("scale_width_and_crop", (90, 60), (32, 32)),
        ("scale_shortside_and_crop", (60, 90), (32, 32)),
        ("scale_shortside_and_crop", (9, 6), (32, 32)),
        ("scale_width", (100, 50), (80, 40)),
        ("scale_width", (105, 50), (84, 40)),
        ("scale_width", (50, 100), (32, 40)),  # never lower than the crop, as in the authors' code
        ("none", (60, 90), (60, 88)),  # the nearest multiples of 4
        ("none", (63, 41), (64, 40)),
        ("none", (3, 1), (8, 8)),  # the least that the generators take
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_size_of_every_mode(preprocess, size, expected, dtype):
    image = _random(_picture(*size).astype(dtype), _config(preprocess))
    assert image.shape == (3, *expected) and image.dtype == torch.float32
    assert -1.0 <= image.min() and image.max() <= 1.0


@pytest.mark.parametrize("channels", [1, 3])
def test_number_of_channels_is_kept(channels):
    picture = _picture(60, 90, channels)
    assert _random(picture, _config()).shape == fixed_transform(picture, _config(), "x").shape == (channels, 32, 32)


@pytest.mark.parametrize("size", [(60, 90), (200, 130), (11, 17), (32, 31)])
def test_resize_equals_pillows_bicubic(size):
    picture = _picture(*size)
    image = _random(picture, _config(load_px=32))
    assert (image - _by_pillow(picture, 32, 32)).abs().max() <= 2.01 * LEVEL


@pytest.mark.parametrize(
    ("preprocess", "size", "scaled"),
    [
        ("resize_and_crop", (60, 90), (40, 40)),
        ("scale_width_and_crop", (120, 80), (60, 40)),
        ("scale_shortside_and_crop", (80, 120), (40, 60)),
        ("scale_shortside_and_crop", (60, 40), (60, 40)),
        ("crop", (40, 52), (40, 52)),
    ],
)
def test_crop_is_a_part_of_the_scaled_picture(preprocess, size, scaled):
    picture = _picture(*size)
    whole = _by_pillow(picture, scaled[1], scaled[0])
    for seed in range(5):
        parts = whole.unfold(1, 32, 1).unfold(2, 32, 1)  # (C, top, left, 32, 32)
        difference = (parts - _random(picture, _config(preprocess), seed)[:, None, None]).abs().amax((0, 3, 4))
        assert difference.min() <= 2.01 * LEVEL


def test_what_would_become_larger_than_any_picture_is_refused_before(tmp_path):
    """A strip of 2 x 30000 px under `scale_width` takes gigabytes."""
    Image.new("RGB", (2, 30000)).save(tmp_path / "strip.png")
    config = _config("scale_width", load_px=512).model_copy(update={"cache_mib": 0})
    with pytest.raises(UserError, match=r"strip.png: 2x30000 px would be scaled to 512x7680000 px, more than"):
        PictureCache(config).scaled(tmp_path / "strip.png", 3, whole=False)


def test_scale_width_keeps_the_aspect():
    picture = _picture(120, 80)
    image = _random(picture, _config("scale_width"))
    assert (image - _by_pillow(picture, 40, 60)).abs().max() <= 2.01 * LEVEL


def test_picture_that_fits_is_left_as_it_is():
    picture = _picture(64, 40)
    for preprocess in ("none", "scale_width"):
        assert torch.equal(_random(picture, _config(preprocess)), to_tensor(picture))


def test_random_crop_reaches_every_place():
    picture, config = _numbered(10, 11), _config("crop", crop_px=8)
    corners = {int(to_picture(_random(picture, config, seed), np.uint16)[0, 0, 0]) for seed in range(200)}
    assert corners == {11 * top + left for top in range(3) for left in range(4)}


def test_random_crop_is_contiguous_in_the_picture():
    crop = to_picture(_random(_numbered(10, 11), _config("crop", crop_px=8), seed=3), np.uint16)[..., 0].astype(int)
    assert (np.diff(crop, axis=0) == 11).all() and (np.diff(crop, axis=1) == 1).all()


def test_crop_and_mirroring_depend_on_the_generator_alone():
    picture, config = _picture(60, 90), _config(flip=True)
    first = [_random(picture, config, seed) for seed in range(6)]
    torch.manual_seed(1)
    np.random.seed(1)
    assert all(torch.equal(image, _random(picture, config, seed)) for seed, image in enumerate(first))
    assert not all(torch.equal(first[0], image) for image in first[1:])


def test_global_generators_are_left_alone():
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    _random(_picture(60, 90), _config(flip=True))
    assert torch.equal(torch.get_rng_state(), before[0]) and np.random.get_state()[1].tolist() == before[1]


def test_half_of_the_pictures_are_mirrored_left_and_right():
    picture = _picture(32, 32)
    plain = to_tensor(picture)
    images = [_random(picture, _config("crop", flip=True), seed) for seed in range(200)]
    mirrored = [torch.equal(image, plain.flip(2)) for image in images]
    assert all(turned or torch.equal(image, plain) for turned, image in zip(mirrored, images, strict=True))
    assert 70 <= sum(mirrored) <= 130


def test_no_picture_is_mirrored_without_flip():
    picture = _picture(32, 32)
    assert all(torch.equal(_random(picture, _config("crop"), seed), to_tensor(picture)) for seed in range(30))


@pytest.mark.parametrize("size", [(31, 60), (60, 31), (5, 5)])
def test_picture_that_is_smaller_than_the_crop_is_named_with_its_size(size):
    picture = _picture(*size)
    expected = rf"^x\.png: {size[1]}x{size[0]} px is smaller than the crop of 32 px; .*resize_and_crop$"
    with pytest.raises(UserError, match=expected):
        _random(picture, _config("crop"))
    with pytest.raises(UserError, match=expected):
        fixed_transform(picture, _config("crop"), "x.png")


def test_whole_picture_is_scaled_to_the_crops_size():
    picture = _picture(60, 90)
    images = [_random(picture, _config(), seed, whole=True) for seed in range(3)]
    assert all(torch.equal(image, images[0]) for image in images)
    assert (images[0] - _by_pillow(picture, 32, 32)).abs().max() <= 2.01 * LEVEL


def test_whole_picture_is_mirrored_as_any_other():
    picture = _picture(60, 90)
    images = [_random(picture, _config(flip=True), seed, whole=True) for seed in range(20)]
    assert {torch.equal(image, images[0]) for image in images} == {True, False}
    assert all(torch.equal(i, images[0]) or torch.equal(i, images[0].flip(2)) for i in images)


@pytest.mark.parametrize("size", [(32, 32), (64, 48), (48, 64)])
def test_sheets_show_the_middle_and_never_a_mirror_image(size):
    picture = _numbered(*size)
    image = to_picture(fixed_transform(picture, _config("crop", flip=True), "x"), np.uint16)
    top, left = (size[0] - 32) // 2, (size[1] - 32) // 2
    assert (image == picture[top : top + 32, left : left + 32]).all()


def test_sheets_show_the_whole_picture_where_it_is_resized():
    picture = _picture(60, 90)
    assert (fixed_transform(picture, _config(flip=True), "x") - _by_pillow(picture, 32, 32)).abs().max() <= 2.01 * LEVEL


@pytest.mark.parametrize("preprocess", ["resize_and_crop", "scale_width", "none", "crop"])
@pytest.mark.parametrize("size", [(60, 90), (35, 34)])
def test_16_bit_pictures_come_out_as_8_bit_ones_do(preprocess, size):
    picture = 64 + _picture(*size) // 2  # away from black and white, at which 8 bits are cut off after each direction
    deep = picture.astype(np.uint16) * 257
    difference = _random(deep, _config(preprocess), 7) - _random(picture, _config(preprocess), 7)
    assert difference.abs().max() <= 1.51 * LEVEL


def test_16_bit_scaling_keeps_what_8_bits_cannot_show():
    faint = np.tile(np.linspace(1000, 1200, 64).astype(np.uint16)[None, :, None], (64, 1, 1))  # below one level of 8
    assert len(torch.unique(_random(faint, _config(load_px=32)))) >= 30


def test_bicubic_overshoot_is_cut_off_in_16_bits():
    edge = np.zeros((16, 16, 1), dtype=np.uint16)
    edge[:, 8:] = 65535
    image = _random(edge, _config(load_px=32))
    assert image.min() == -1.0 and image.max() == 1.0


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_value_survives_the_way_to_a_tensor_and_back(dtype):
    values = np.arange(np.iinfo(dtype).max + 1).astype(dtype).reshape(-1, 16, 1)
    image = to_tensor(values)
    assert image.shape == (1, len(values), 16) and image.min() == -1.0 and image.max() == 1.0
    back = to_picture(image, dtype)
    assert back.dtype == dtype and (back == values).all()


def test_channels_and_places_stay_where_they_are():
    picture = _picture(5, 7)
    image = to_tensor(picture)
    assert image.shape == (3, 5, 7) and image.is_contiguous()
    assert image[2, 4, 6].item() == pytest.approx(picture[4, 6, 2] / 127.5 - 1, abs=1e-6)
    assert (to_picture(image) == picture).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_lies_outside_the_range_is_clamped(dtype):
    assert to_picture(torch.tensor([[[-3.0, 0.0, 3.0]]]), dtype).ravel().tolist() == [
        0,
        (np.iinfo(dtype).max + 1) // 2,
        np.iinfo(dtype).max,
    ]


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_half_precision_output_becomes_a_picture(precision):
    image = torch.tensor([[[-1.0, 1.0]]], dtype=precision, requires_grad=True)
    assert to_picture(image).ravel().tolist() == [0, 255]
