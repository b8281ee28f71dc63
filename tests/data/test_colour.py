"""Pictures with a colour profile: real ones, which scikit-image's example pictures carry."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image, ImageCms

from cut.data.colour import find_transform
from cut.data.images import read_image

PICTURES = Path(skimage.__file__).parent / "data"
STEPS = np.linspace(0, 255, 18).round().astype(np.uint8)
COLOURS = np.stack(np.meshgrid(STEPS, STEPS, STEPS), axis=-1).reshape(18, 324, 3)


def _profile(name):
    with Image.open(PICTURES / name) as picture:
        return picture.info["icc_profile"]


def _linear(values):
    """Of sRGB's encoded values in [0, 1] (IEC 61966-2-1, 5.2)."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _encoded(values):
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * np.maximum(values, 1e-9) ** (1 / 2.4) - 0.055)


# To XYZ relative to D65, from the chromaticities of the standards.
SRGB = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
ADOBE = np.array(
    [[0.5767309, 0.1855540, 0.1881852], [0.2973769, 0.6273491, 0.0752741], [0.0270343, 0.0706872, 0.9911085]]
)


def _adobe_in_srgb(pixels):
    linear = (pixels / 255.0) ** (563 / 256)  # Adobe RGB (1998), 4.3.4.2
    return 255 * np.clip(_encoded(linear @ ADOBE.T @ np.linalg.inv(SRGB).T), 0, 1)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_adobe_rgb_is_converted_to_srgb_as_its_standard_says(tmp_path, suffix):
    Image.fromarray(COLOURS).save(tmp_path / f"x{suffix}", icc_profile=_profile("rocket.jpg"), lossless=True)
    difference = np.abs(read_image(tmp_path / f"x{suffix}", 3) - _adobe_in_srgb(COLOURS))
    assert difference.max() < 3 and difference.mean() < 0.6
    assert np.abs(COLOURS - _adobe_in_srgb(COLOURS)).max() > 50


def test_alpha_is_laid_over_white_after_the_conversion(tmp_path):
    alpha = np.full((18, 324, 1), 128, dtype=np.uint8)
    alpha[:, 100:] = 255
    Image.fromarray(np.concatenate([COLOURS, alpha], 2)).save(tmp_path / "x.png", icc_profile=_profile("rocket.jpg"))
    expected = 255 - (255 - _adobe_in_srgb(COLOURS)) * (alpha / 255)
    assert np.abs(read_image(tmp_path / "x.png", 3) - expected).max() < 4


def test_gray_by_a_printers_dots_is_converted_and_stays_gray(tmp_path):
    ramp = np.arange(256, dtype=np.uint8)[None].repeat(4, 0)
    Image.fromarray(ramp).save(tmp_path / "x.png", icc_profile=_profile("page.png"))
    picture = read_image(tmp_path / "x.png", 3)
    assert (picture == picture[..., :1]).all() and (picture[..., :1] == read_image(tmp_path / "x.png", 1)).all()
    row = picture[0, :, 0].astype(int)
    assert row[0] == 0 and row[255] == 255 and (np.diff(row) >= 0).all()
    assert 8 < np.abs(row - np.arange(256)).max() < 60  # Dot Gain 20% prints darker than its numbers


@pytest.mark.parametrize("name", ["astronaut.png", "hubble_deep_field.jpg"])
def test_a_picture_in_srgb_keeps_its_pixels_bit_for_bit(name, tmp_path):
    with Image.open(PICTURES / name) as picture:
        assert "icc_profile" in picture.info
        assert (read_image(PICTURES / name, 3) == np.array(picture)).all()
    Image.fromarray(COLOURS[..., 0]).save(tmp_path / "x.png", icc_profile=_profile(name))  # gray, with its profile
    assert (read_image(tmp_path / "x.png", 1)[..., 0] == COLOURS[..., 0]).all()


def _profile_of_inks():
    """ICC.1:2010: header, one tag, and in it a table (10.10) from inks to Lab: lightness falls with black alone."""
    identity = bytes(range(256))
    corners = b"".join(
        bytes([255 - 255 * (corner & 1), 128, 128]) for corner in range(16)
    )  # cyan, magenta, yellow, black
    matrix = b"".join(struct.pack(">i", 65536 * (place % 4 == 0)) for place in range(9))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + identity * 4 + corners + identity * 3
    body = struct.pack(">I4sII", 1, b"A2B0", 144, len(table)) + table
    head = struct.pack(">I4sI4s4s4s12x4s", 128 + len(body), b"lcms", 0x02400000, b"prtr", b"CMYK", b"Lab ", b"acsp")
    return head.ljust(68, b"\0") + struct.pack(">iii", 63190, 65536, 54061) + bytes(48) + body


def test_inks_are_converted_by_their_profile(tmp_path):
    inks = np.zeros((4, 256, 4), dtype=np.uint8)
    inks[..., 3] = np.arange(256)
    Image.fromarray(inks, "CMYK").save(tmp_path / "x.tif")
    assert np.abs(read_image(tmp_path / "x.tif", 3)[0, :, 0].astype(int) - np.arange(255, -1, -1)).max() <= 1
    Image.fromarray(inks, "CMYK").save(tmp_path / "y.tif", icc_profile=_profile("rocket.jpg"))  # not of inks
    assert (read_image(tmp_path / "y.tif", 3) == read_image(tmp_path / "x.tif", 3)).all()
    Image.fromarray(inks, "CMYK").save(tmp_path / "z.tif", icc_profile=_profile_of_inks())
    lightness = 100 * (1 - np.arange(256) / 255)
    luminance = np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness / 903.3)  # CIE 15:2004, 8.2.1
    assert np.abs(read_image(tmp_path / "z.tif", 3)[0] - 255 * _encoded(luminance)[:, None]).max() < 3


def test_a_profile_that_cannot_be_used_says_why_and_changes_nothing(tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    gray = _profile("page.png")
    cases = {(b"junk" * 50, "RGB"): "damaged", (gray, "RGB"): "for GRAY colours", (srgb, "CMYK"): "for RGB colours"}
    cases[srgb + bytes(4_000_001), "RGB"] = "of more than 4000000 bytes"
    cases |= {(srgb[:length], "RGB"): "damaged" for length in (0, 100, 200)}
    for (profile, mode), reason in cases.items():
        assert find_transform(profile, mode) == reason
    for profile in (b"junk" * 50, gray):
        Image.fromarray(COLOURS).save(tmp_path / "x.png", icc_profile=profile)
        assert (read_image(tmp_path / "x.png", 3) == COLOURS).all()


def test_a_palette_is_converted_too(tmp_path):
    picture = Image.fromarray(COLOURS).quantize(64)
    picture.save(tmp_path / "x.png", icc_profile=_profile("rocket.jpg"))
    expected = _adobe_in_srgb(np.array(picture.convert("RGB")).astype(float))
    assert np.abs(read_image(tmp_path / "x.png", 3) - expected).max() < 3


def test_a_turned_picture_is_converted_and_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(COLOURS).save(tmp_path / "x.png", icc_profile=_profile("rocket.jpg"), exif=exif)
    assert np.abs(read_image(tmp_path / "x.png", 3) - np.rot90(_adobe_in_srgb(COLOURS), -1)).max() < 3


def test_16_bits_keep_their_pixels(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50).save(
        buffer, "png", icc_profile=_profile("page.png")
    )
    (tmp_path / "x.png").write_bytes(buffer.getvalue())
    assert (read_image(tmp_path / "x.png", 1).ravel() == np.arange(1200) * 50).all()
