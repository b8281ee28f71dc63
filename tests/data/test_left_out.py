"""What is not used of a user's pictures is said, once and in one line a folder."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage
import tifffile
from PIL import Image
from test_decode import tiff

from cut.data.left_out import count_losses, describe_left_out

PICTURES = Path(skimage.__file__).parent / "data"
PIXELS = np.random.default_rng(0).integers(0, 256, (16, 16, 4), dtype=np.uint8)
FRAMES = [Image.fromarray(PIXELS[..., :3]), Image.fromarray(PIXELS[..., 1:])]


def _icc(name):
    with Image.open(PICTURES / name) as picture:
        return picture.info["icc_profile"]


def _losses(path):
    return list(count_losses([path]))


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".tif"])
def test_frames_and_pages_after_the_first_are_counted(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    FRAMES[0].save(path, save_all=True, append_images=FRAMES[1:])
    assert _losses(path) == ["only the first page or frame is used"]
    FRAMES[0].save(path)
    assert _losses(path) == []


def test_a_stack_of_imagej_and_a_large_tiff_count_and_smaller_copies_do_not(tmp_path):
    path, stack = tmp_path / "x.tif", np.zeros((5, 20, 20), np.uint8)
    for how in ({"imagej": True}, {"imagej": True, "byteorder": ">"}, {"bigtiff": True}, {}):
        tifffile.imwrite(path, stack, photometric="minisblack", **how)
        assert _losses(path) == ["only the first page or frame is used"], how
    tifffile.imwrite(path, stack[0], imagej=True)
    assert _losses(path) == []
    with tifffile.TiffWriter(path) as writer:
        writer.write(stack[0])
        writer.write(stack[0, ::2, ::2], subfiletype=1)
    assert _losses(path) == []
    data = tiff(bytes(400), 20, 20, 8)
    place = 8 + 2 + 12 * int.from_bytes(data[8:10], "little")
    path.write_bytes(data[:place] + (8).to_bytes(4, "little") + data[place + 4 :])  # the next page is this one
    assert _losses(path) == []


def test_transparency_and_further_channels_are_told_apart(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "x.png")
    assert _losses(tmp_path / "x.png") == ["transparency is laid over white"]
    for kind in (np.uint8, np.uint16):
        for extra, losses in (
            (["unspecified"], ["channels besides the colours are left out"]),
            (["unassalpha"], ["transparency is laid over white"]),
        ):
            tifffile.imwrite(tmp_path / "x.tif", PIXELS.astype(kind), photometric="rgb", extrasamples=extra)
            assert _losses(tmp_path / "x.tif") == losses
    Image.fromarray(PIXELS[..., :3]).save(tmp_path / "x.png")
    assert _losses(tmp_path / "x.png") == []


def test_a_profile_is_told_only_where_it_is_not_applied(tmp_path):
    for profile, losses in (
        (_icc("rocket.jpg"), []),
        (_icc("astronaut.png"), []),
        (b"junk" * 50, ["the colour profile, damaged, is ignored"]),
        (_icc("page.png"), ["the colour profile, for GRAY colours, is ignored"]),
    ):
        FRAMES[0].save(tmp_path / "x.png", icc_profile=profile)
        assert _losses(tmp_path / "x.png") == losses
    for name, losses in (
        ("astronaut.png", []),
        ("page.png", ["the colour profile is ignored, because it has 16 bits a channel"]),
    ):
        Image.fromarray(PIXELS[..., 0].astype(np.uint16)).save(tmp_path / "x.png", icc_profile=_icc(name))
        assert _losses(tmp_path / "x.png") == losses


def test_more_than_8_bits_that_are_read_as_8_are_told(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", PIXELS.astype(np.uint16), photometric="separated")
    assert _losses(tmp_path / "x.tif") == ["more than 8 bits a channel are read as 8"]
    tifffile.imwrite(tmp_path / "x.tif", PIXELS, photometric="separated")
    assert _losses(tmp_path / "x.tif") == []
    avif = pytest.importorskip("PIL.AvifImagePlugin")
    if avif.SUPPORTED:
        FRAMES[0].save(tmp_path / "x.avif")
        assert _losses(tmp_path / "x.avif") == []
        _, data = cv2.imencode(".avif", PIXELS[..., :3].astype(np.uint16), [cv2.IMWRITE_AVIF_DEPTH, 10])
        (tmp_path / "x.avif").write_bytes(data.tobytes())
        assert _losses(tmp_path / "x.avif") == ["more than 8 bits a channel are read as 8"]


def test_a_folder_is_one_line_with_everything_in_it(tmp_path):
    for n in range(4):
        Image.fromarray(PIXELS[..., : 3 + n % 2]).save(tmp_path / f"{n}.png")
    (tmp_path / "a.psd").touch()
    (tmp_path / "b.psd").touch()
    (tmp_path / "broken.png").touch()  # reading it will say so
    (line,) = describe_left_out([tmp_path, tmp_path])
    assert line == (
        f"{tmp_path}: left out: 2 .psd files, which are not read as pictures; 2 of 5 pictures: transparency is laid "
        "over white"
    )
    (line,) = describe_left_out([tmp_path], most_looked_at=2)
    assert line.endswith("1 of 2 pictures looked at: transparency is laid over white") or "looked" not in line


def test_a_single_picture_and_a_whole_folder_of_whole_pictures(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "x.png")
    assert describe_left_out([tmp_path / "x.png"]) == [f"{tmp_path / 'x.png'}: transparency is laid over white"]
    Image.fromarray(PIXELS[..., :3]).save(tmp_path / "x.png")
    assert describe_left_out([tmp_path / "x.png", tmp_path, tmp_path / "none"]) == []
