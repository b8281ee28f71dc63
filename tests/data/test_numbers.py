"""Arrays and TIFFs of any number of bands, and what their numbers mean."""

import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from cut.config import UnpairedDataConfig
from cut.config.bands import Bands
from cut.data.bounds import set_max_megapixels
from cut.data.cache import PictureCache
from cut.data.folders import list_folder, list_images
from cut.data.images import read_image, stored_size_px, write_image
from cut.data.numbers import bands_of, can_hold, number_type, suffix_for, to_inside, to_stored
from cut.data.transforms import to_picture, to_tensor
from cut.errors import UserError


def stack(count=6, dtype=np.uint16, height=12, width=20):
    rng = np.random.default_rng(count)
    return rng.integers(0, 10_000 if dtype != np.uint8 else 256, (height, width, count)).astype(dtype)


def told(path, bands):
    with pytest.raises(UserError) as caught:
        read_image(path, bands)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".npy", ".tif"])
@pytest.mark.parametrize(("count", "dtype"), [(2, np.uint8), (4, np.uint16), (6, np.uint16), (64, np.uint8)])
def test_bands_of_8_and_16_bits_come_back_as_they_are(tmp_path, suffix, count, dtype):
    numbers = stack(count, dtype)
    write_image(tmp_path / f"x{suffix}", numbers)
    again = read_image(tmp_path / f"x{suffix}", Bands(count))
    assert again.dtype == dtype and np.array_equal(again, numbers)
    assert bands_of(tmp_path / f"x{suffix}") == count and stored_size_px(tmp_path / f"x{suffix}") == (20, 12)


def test_pages_planes_stacks_and_channels_last_are_one_picture(tmp_path):
    numbers = stack()
    planes = np.moveaxis(numbers, 2, 0)
    for name, array, options in (
        ("last", numbers, {"photometric": "minisblack", "planarconfig": "contig"}),
        ("planes", planes, {"photometric": "minisblack", "planarconfig": "separate"}),
        ("pages", planes, {"photometric": "minisblack", "metadata": None}),
        ("imagej", planes, {"imagej": True}),
        (
            "deflated",
            numbers.astype(">u2"),
            {"photometric": "minisblack", "planarconfig": "contig", "compression": "zlib"},
        ),
    ):
        tifffile.imwrite(tmp_path / f"{name}.tif", array, **options)
        assert np.array_equal(read_image(tmp_path / f"{name}.tif", Bands(6)), numbers), name
    with tifffile.TiffWriter(tmp_path / "cog.tif") as tiff:  # with smaller copies, as of clouds
        tiff.write(numbers, photometric="minisblack", planarconfig="contig", subifds=0)
        tiff.write(numbers[::2, ::2], photometric="minisblack", planarconfig="contig", subfiletype=1)
    assert np.array_equal(read_image(tmp_path / "cog.tif", Bands(6)), numbers)


def test_pages_of_colours_are_pictures_but_also_bands_where_so_many_are_asked_for(tmp_path):
    pages = np.stack([stack(3, np.uint8), stack(4, np.uint8)[:, :, :3]])
    tifffile.imwrite(tmp_path / "x.tif", pages, photometric="rgb")
    assert bands_of(tmp_path / "x.tif") == 3 and np.array_equal(read_image(tmp_path / "x.tif", 3), pages[0])
    assert np.array_equal(read_image(tmp_path / "x.tif", Bands(6)), np.concatenate(list(pages), axis=2))


def test_gray_arrays_are_pictures_of_one_channel_or_of_three_equal_ones(tmp_path):
    gray = stack(1, np.uint8)
    np.save(tmp_path / "flat.npy", gray[:, :, 0])
    write_image(tmp_path / "same.npy", gray)
    assert np.load(tmp_path / "same.npy").shape == (12, 20)
    assert np.array_equal(read_image(tmp_path / "flat.npy", 1), gray)
    assert np.array_equal(read_image(tmp_path / "flat.npy", 3), np.repeat(gray, 3, axis=2))
    colours = stack(3, np.uint8)
    np.save(tmp_path / "colours.npy", colours)
    assert np.array_equal(
        read_image(tmp_path / "colours.npy", 1)[:, :, 0], np.array(Image.fromarray(colours).convert("L"))
    )


def test_a_range_says_what_becomes_minus_one_and_one():
    hounsfield = np.array([[[-1024], [0]], [[1023], [5000]]], dtype=np.int16)
    inside = to_inside(hounsfield, Bands(1, (-1024, 1024)))
    assert inside.dtype == np.float32
    assert np.allclose(inside[:, :, 0], [[-1, 0], [1023 / 1024, 1]], atol=1e-6)  # 5000 is beyond the end
    assert np.array_equal(to_tensor(inside)[0].numpy(), inside[:, :, 0])
    back = to_stored(inside, Bands(1, (-1024, 1024)), hounsfield.dtype)
    assert back.dtype == np.int16 and back[:, :, 0].tolist() == [[-1024, 0], [1023, 1024]]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32, np.uint32, np.uint16, np.int8, bool])
def test_numbers_of_every_type_are_read_with_a_range(tmp_path, dtype):
    numbers = np.array([[[0], [1]]]).astype(dtype)
    np.save(tmp_path / "x.npy", numbers)
    assert np.allclose(read_image(tmp_path / "x.npy", Bands(1, (0, 4)))[0, :, 0], [-1, -0.5])


def test_values_keep_their_type_where_that_holds_the_range():
    half = np.zeros((1, 1, 1), np.float32)
    for like, limits, kind, value in (
        (np.uint16, (0, 10_000), np.uint16, 5000),
        (np.int16, (-1000, 3000), np.int16, 1000),
        (np.uint8, (0, 10_000), np.float32, 5000),  # too large
        (np.uint16, (-10, 1000), np.float32, 495),  # below 0
        (np.uint16, (0, 1), np.float32, 0.5),  # too coarse
        (np.float64, (0, 1000), np.float32, 500),
    ):
        stored = to_stored(half, Bands(1, limits), np.dtype(like))
        assert stored.dtype == kind and stored.item() == value, (like, limits)
    deep = np.full((1, 1, 1), 7, np.uint16)
    assert to_stored(deep, Bands(1), np.dtype(np.uint8)) is deep  # no range: by its depth


def test_floats_are_not_rounded_on_their_way():
    image = to_tensor(np.random.default_rng(0).uniform(-1, 1, (4, 5, 6)).astype(np.float32))
    assert np.array_equal(to_tensor(to_picture(image, np.float32)), image)
    assert to_picture(image * 3, np.float32).max() == 1


def test_ordinary_pictures_take_a_range_too(tmp_path):
    pixels = np.array([[[0], [4095]]], dtype=np.uint16)
    write_image(tmp_path / "x.png", pixels)
    assert read_image(tmp_path / "x.png", Bands(1, (0, 4095)))[0, :, 0].tolist() == [-1, 1]
    assert np.array_equal(read_image(tmp_path / "x.png", Bands(1)), pixels)


def test_formats_that_hold_the_bands():
    assert can_hold(".png", Bands(3)) and can_hold(".jpg", Bands(1)) and can_hold(".PNG", Bands(1, (0, 4095)))
    assert not can_hold(".jpg", Bands(1, (0, 4095))) and not can_hold(".png", Bands(1, (-1, 255)))
    assert not can_hold(".png", Bands(3, (0, 1))) and not can_hold(".png", Bands(4))
    assert all(can_hold(suffix, Bands(64, (-1, 1))) for suffix in (".npy", ".tif", ".tiff"))
    assert [suffix_for(bands) for bands in (Bands(3), Bands(6), Bands(1, (-1, 1)))] == [".png", ".npy", ".npy"]


def test_another_number_of_bands_is_named_with_its_key(tmp_path):
    write_image(tmp_path / "x.npy", stack(6))
    write_image(tmp_path / "x.tif", stack(6))
    write_image(tmp_path / "x.png", stack(3, np.uint8))
    for name in ("x.npy", "x.tif"):
        for count in (1, 3, 5):
            said = told(tmp_path / name, Bands(count, domain="b"))
            assert f"holds 6 bands of 20x12 px, data.channels_b is {count}; give {Bands(count)}" in said
            assert "or train with data.channels_b 6" in said
    assert "holds 3 bands of 20x12 px, data.channels_a is 4" in told(tmp_path / "x.png", Bands(4, domain="a"))
    assert "as (H, W, C)" in told(tmp_path / "x.npy", Bands(12))
    assert "6 channels of 16 bits" in told(tmp_path / "x.tif", 3)  # where nobody speaks of channels


def test_numbers_without_a_meaning_are_refused(tmp_path):
    for suffix in (".npy", ".tif"):
        write_image(tmp_path / f"x{suffix}", stack(6).astype(np.float32))
        assert "float32 numbers, whose range is not known; give data.range_a" in told(
            tmp_path / f"x{suffix}", Bands(6, domain="a")
        )
    np.save(tmp_path / "nan.npy", np.array([[0.0, np.nan]]))
    assert "not finite" in told(tmp_path / "nan.npy", Bands(1, (0, 1)))
    np.save(tmp_path / "complex.npy", np.array([[1j]]))
    assert "no real numbers" in told(tmp_path / "complex.npy", Bands(1, (0, 1)))
    np.save(tmp_path / "words.npy", np.array([["a"]]))
    assert "no real numbers" in told(tmp_path / "words.npy", Bands(1, (0, 1)))


def test_hostile_files_are_refused_in_one_line(tmp_path):
    write_image(tmp_path / "x.npy", stack())
    write_image(tmp_path / "x.tif", stack())
    np.save(tmp_path / "objects.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    for name, data in (
        ("empty.npy", b""),
        ("empty.tif", b""),
        ("text.npy", b"hello"),
        ("short.npy", (tmp_path / "x.npy").read_bytes()[:-9]),
        ("short.tif", (tmp_path / "x.tif").read_bytes()[:-200]),
        ("head.tif", b"II*\0\xff\xff\xff\xff"),
        ("objects.npy", (tmp_path / "objects.npy").read_bytes()),
    ):
        (tmp_path / name).write_bytes(data)
        assert "cannot be read" in told(tmp_path / name, Bands(6, (0, 1)))
    assert "no such file" in told(tmp_path / "none.npy", Bands(6))
    np.save(tmp_path / "volume.npy", np.zeros((2, 2, 2, 2)))
    assert "must be (H, W) or (H, W, C)" in told(tmp_path / "volume.npy", Bands(2))


def test_a_compression_that_needs_another_package_names_it(tmp_path, monkeypatch):
    write_image(tmp_path / "x.tif", stack())

    def lacks(series):
        raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", lacks)
    assert told(tmp_path / "x.tif", Bands(6)).endswith("pip install imagecodecs, or save it without compression")


def test_numbers_of_too_many_pixels_are_refused_before_they_are_decoded(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (50_000, 50_000)})
    with open(tmp_path / "large.npy", "wb") as file:
        file.write(header.getvalue())
        file.truncate(len(header.getvalue()) + 50_000**2)  # sparse
    assert "refused, larger than" in told(tmp_path / "large.npy", 1)
    set_max_megapixels(100e-6)
    try:
        write_image(tmp_path / "x.tif", stack())
        assert "refused, larger than" in told(tmp_path / "x.tif", Bands(6))
    finally:
        set_max_megapixels(179)


def test_many_bands_in_a_small_file_are_refused_before_they_are_decoded(tmp_path):
    """146 bytes that claim 1000 bands of a megapixel took 8 GB, because pixels alone were bounded."""
    tags = {256: 1000, 257: 1000, 258: 64, 262: 1, 273: 0, 277: 1000, 278: 1000, 279: 0, 284: 1, 339: 3}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())  # without a strip: zeros
    (tmp_path / "x.tif").write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4))
    shape = (1000, 1000, 1000)
    np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.float64, shape=shape)  # sparse, too
    for name in ("x.tif", "x.npy"):
        assert (
            "refused, because 1000 bands of 1000x1000 px in float64 are 8000000000 bytes, more than a picture of 179 "
            "megapixels has, the bound of --max-megapixels and data.max_megapixels"
        ) in told(tmp_path / name, Bands(1000, (0.0, 1.0)))


def test_arrays_are_pictures_where_there_are_no_others(tmp_path):
    for name in ("b.npy", "a.npy"):
        np.save(tmp_path / name, stack(1, np.uint8))
    assert [path.name for path in list_images(tmp_path)] == ["a.npy", "b.npy"]
    write_image(tmp_path / "c.png", stack(3, np.uint8))
    listing = list_folder(tmp_path)
    assert [path.name for path in listing.paths] == ["c.png"]
    assert "2 .npy files, which are not read as pictures" in listing.left_out()[0]


def test_the_type_of_a_file_is_read_off_its_header(tmp_path):
    for suffix in (".npy", ".tif"):
        write_image(tmp_path / f"x{suffix}", stack(6).astype(np.int16))
        assert number_type(tmp_path / f"x{suffix}") == np.int16
    write_image(tmp_path / "x.png", stack(3, np.uint8))
    assert number_type(tmp_path / "x.png") == np.uint16


def test_the_cache_knows_ranges_apart(tmp_path):
    np.save(tmp_path / "x.npy", stack(2) * np.float32(0.5) + 2000)  # scaling does not reach beyond the range
    config = UnpairedDataConfig(root=str(tmp_path), load_px=16, crop_px=16)
    values = {
        limits: PictureCache(config).scaled(tmp_path / "x.npy", Bands(2, limits), whole=False)
        for limits in ((0, 10_000), (0, 20_000), (0, 10_000.0))
    }
    for limits, pixels in values.items():
        assert np.array_equal(pixels, PictureCache(config).scaled(tmp_path / "x.npy", Bands(2, limits), whole=False))
    first, second = list(values.values())[:2]
    assert np.allclose((first + 1) / 2, second + 1, atol=1e-5) and first.shape == (2, 16, 16)


def test_an_array_is_read_and_not_a_view_of_the_users_file(tmp_path):
    """A map would change with the file while a run trains on it, and kill the process where the file is cut off."""
    for name, numbers in (("rows", stack(3, np.uint8)), ("columns", np.asfortranarray(stack(3, np.uint8)))):
        path = tmp_path / f"{name}.npy"
        np.save(path, numbers)
        found = read_image(path, 3)
        path.write_bytes(path.read_bytes()[:100])
        assert np.array_equal(found, numbers) and found.flags.writeable, name


@pytest.mark.parametrize("tags", [{256: 0}, {257: 0}])
def test_a_tiff_without_a_pixel_is_no_picture_of_numbers(tmp_path, tags):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, np.zeros((8, 8), np.float32), metadata=None)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        for tag, value in tags.items():
            tiff.pages[0].tags[tag].overwrite(value)
    assert "cannot be read as a picture (it is a TIFF without a picture)" in told(path, Bands(1, (0.0, 1.0)))
    path.write_bytes(b"II+\0" + struct.pack("<HHQ", 8, 0, 0))  # a BigTIFF of no page
    assert "cannot be read as a picture (it is a TIFF without a picture)" in told(path, Bands(1, (0.0, 1.0)))
