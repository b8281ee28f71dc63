import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile  # scikit-image brings it
from PIL import Image, ImageOps

from cut.data.images import SUFFIXES, list_images, pair_name, read_image, to_8_bit, write_image
from cut.errors import UserError

ORIENTATION = 0x0112
JPEG = (".jpg", ".jpeg", ".jpe", ".jfif")
NOISE_16_BIT = np.random.default_rng(0).integers(0, 65536, (5, 7, 4), dtype=np.uint16)


def _smooth(height=20, width=24):
    """A colour picture that survives JPEG nearly unchanged; no two of its corners are alike."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 10, y * 12, 255 - x * 5 - y * 5], axis=2).astype(np.uint8)


def _noise(channels, dtype=np.uint8):
    return np.random.default_rng(1).integers(0, np.iinfo(dtype).max + 1, (20, 24, channels), dtype=dtype)


def _over_white(colour, alpha, full=255):
    alpha = alpha.astype(np.float64) / full
    return colour * alpha + full * (1.0 - alpha)


def _upright(array, orientation):
    """Pillow's own turn, channel by channel, for it has no 16-bit colour."""
    turned = []
    for channel in np.moveaxis(array, 2, 0):
        picture = Image.fromarray(np.ascontiguousarray(channel))
        picture.getexif()[ORIENTATION] = orientation
        turned.append(np.array(ImageOps.exif_transpose(picture)))
    return np.stack(turned, axis=2)


def _exif(orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def _png_chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png(width, height, bits, colour_type, rows=b"", *chunks):
    """A PNG chunk by chunk, for kinds that no writer here makes."""
    header = _png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0))
    tail = _png_chunk(b"IDAT", zlib.compress(rows)) + _png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + tail


def _png_rows(array):
    return b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)


def _fails(path, channels=3):
    """The error's text, which must be one line that begins with the file."""
    with pytest.raises(UserError) as caught:
        read_image(path, channels)
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and "\n" not in text
    return text


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_colour_is_read_from_every_format(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    kind = {"format": "PPM"} if suffix == ".pgm" else {}
    Image.fromarray(_smooth()).save(path, **kind, **({"lossless": True} if suffix == ".webp" else {"quality": 95}))
    picture = read_image(path, 3)
    assert picture.dtype == np.uint8 and picture.shape == (20, 24, 3) and picture.flags.writeable
    tolerance = 12 if suffix in JPEG else 0
    assert np.abs(picture.astype(int) - _smooth()).max() <= tolerance


@pytest.mark.parametrize("suffix", [s for s in SUFFIXES if s != ".ppm"])
def test_gray_is_read_as_one_channel_and_as_three_equal_ones(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    Image.fromarray(_smooth()[..., 0]).save(path, **({"lossless": True} if suffix == ".webp" else {}))
    one, three = read_image(path, 1), read_image(path, 3)
    assert one.shape == (20, 24, 1) and three.shape == (20, 24, 3)
    assert (three == one).all()
    assert np.abs(one[..., 0].astype(int) - _smooth()[..., 0]).max() <= (4 if suffix in JPEG else 0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colour_is_read_as_one_channel_by_its_luma(tmp_path, dtype):
    pixels = _noise(3, dtype)
    write_image(tmp_path / "x.png", pixels)
    gray = read_image(tmp_path / "x.png", 1)
    assert gray.shape == (20, 24, 1) and gray.dtype == dtype
    assert np.abs(gray[..., 0] - pixels @ [0.299, 0.587, 0.114]).max() <= 0.51


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_one_bit_is_black_and_white(tmp_path, suffix):
    bits = _noise(1)[..., 0] > 127
    Image.fromarray(bits).save(tmp_path / f"x{suffix}")
    assert (read_image(tmp_path / f"x{suffix}", 1)[..., 0] == bits * 255).all()


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_palette_is_resolved(tmp_path, suffix):
    picture = Image.fromarray(_smooth()).quantize(16)
    picture.save(tmp_path / f"x{suffix}")
    assert (read_image(tmp_path / f"x{suffix}", 3) == np.array(picture.convert("RGB"))).all()


@pytest.mark.parametrize("transparency", [1, bytes([255, 0, 255])], ids=["one colour", "alpha per colour"])
def test_transparent_palette_colour_becomes_white(tmp_path, transparency):
    picture = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8), "P")
    picture.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    picture.save(tmp_path / "x.png", transparency=transparency)
    assert read_image(tmp_path / "x.png", 3).tolist() == [[[10, 20, 30], [255, 255, 255], [70, 80, 90]]]


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_transparent_colour_without_alpha_channel_becomes_white(tmp_path, mode):
    pixels = np.arange(3 * len(mode), dtype=np.uint8).reshape(1, 3, -1)
    key = int(pixels[0, 1, 0]) if mode == "L" else tuple(pixels[0, 1].tolist())
    Image.fromarray(pixels[..., 0] if mode == "L" else pixels).save(tmp_path / "x.png", transparency=key)
    expected = pixels.copy()
    expected[0, 1] = 255
    assert (read_image(tmp_path / "x.png", 3) == expected).all()


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_laid_over_white(tmp_path, mode, suffix):
    pixels = _noise(len(mode))
    pixels[:4, :, -1], pixels[4:8, :, -1] = 0, 255
    Image.fromarray(pixels).save(tmp_path / f"x{suffix}", **({"lossless": True} if suffix == ".webp" else {}))
    picture = read_image(tmp_path / f"x{suffix}", 3)
    assert (picture[:4] == 255).all() and (picture[4:8] == pixels[4:8, :, :-1]).all()
    assert np.abs(picture - _over_white(pixels[..., :-1], pixels[..., -1:])).max() <= 1


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_is_converted_and_not_inverted(tmp_path, suffix):
    Image.new("CMYK", (16, 16), (0, 200, 100, 50)).save(tmp_path / f"x{suffix}")
    expected = [(255 - ink) * (255 - 50) / 255 for ink in (0, 200, 100)]
    assert np.abs(read_image(tmp_path / f"x{suffix}", 3) - expected).max() <= 3


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_16_bit_gray_keeps_its_values(tmp_path, byteorder):
    gray = NOISE_16_BIT[..., :1]
    tifffile.imwrite(tmp_path / "x.tif", gray[..., 0], byteorder=byteorder)
    (tmp_path / "x.png").write_bytes(_png(7, 5, 16, 0, _png_rows(gray)))
    (tmp_path / "x.pgm").write_bytes(b"P5 7 5 65535\n" + gray.astype(">u2").tobytes())
    for suffix in (".tif", ".png", ".pgm"):
        picture = read_image(tmp_path / f"x{suffix}", 1)
        assert picture.dtype == np.uint16 and (picture == gray).all(), suffix
        assert (read_image(tmp_path / f"x{suffix}", 3) == gray).all()


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_16_bit_colour_tiff_keeps_its_values(tmp_path, byteorder, compression):
    colour = NOISE_16_BIT[..., :3]
    tifffile.imwrite(tmp_path / "x.tif", colour, photometric="rgb", byteorder=byteorder, compression=compression)
    picture = read_image(tmp_path / "x.tif", 3)
    assert picture.dtype == np.uint16 and (picture == colour).all()


def test_16_bit_colour_png_and_ppm_keep_their_values(tmp_path):
    colour = NOISE_16_BIT[..., :3]
    (tmp_path / "x.png").write_bytes(_png(7, 5, 16, 2, _png_rows(colour)))
    (tmp_path / "x.ppm").write_bytes(b"P6 7 5 65535\n" + colour.astype(">u2").tobytes())
    for suffix in (".png", ".ppm"):
        picture = read_image(tmp_path / f"x{suffix}", 3)
        assert picture.dtype == np.uint16 and (picture == colour).all(), suffix


def test_12_bit_portable_maps_are_spread_over_16_bits(tmp_path):
    values = NOISE_16_BIT[..., :3] >> 4
    (tmp_path / "x.ppm").write_bytes(b"P6 7 5 4095\n" + values.astype(">u2").tobytes())
    (tmp_path / "x.pgm").write_bytes(b"P5 7 5 4095\n" + values[..., :1].astype(">u2").tobytes())
    expected = values * (65535 / 4095)
    assert np.abs(read_image(tmp_path / "x.ppm", 3) - expected).max() <= 0.51
    assert np.abs(read_image(tmp_path / "x.pgm", 1) - expected[..., :1]).max() <= 0.51


def test_16_bit_tiff_whose_zero_is_white_is_inverted(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", NOISE_16_BIT[..., 0], photometric="miniswhite")
    assert (read_image(tmp_path / "x.tif", 1) == 65535 - NOISE_16_BIT[..., :1]).all()


@pytest.mark.parametrize("channels", [2, 4])
def test_16_bit_png_with_alpha_is_laid_over_white(tmp_path, channels):
    pixels = NOISE_16_BIT[..., :channels]
    (tmp_path / "x.png").write_bytes(_png(7, 5, 16, {2: 4, 4: 6}[channels], _png_rows(pixels)))
    picture = read_image(tmp_path / "x.png", 3)
    assert picture.dtype == np.uint16
    assert np.abs(picture - _over_white(pixels[..., :-1], pixels[..., -1:], 65535)).max() <= 0.51


@pytest.mark.parametrize("channels", [1, 3])
def test_transparent_16_bit_colour_becomes_white(tmp_path, channels):
    pixels = NOISE_16_BIT[..., :channels]
    key = _png_chunk(b"tRNS", pixels[2:3, 3].astype(">u2").tobytes())
    (tmp_path / "x.png").write_bytes(_png(7, 5, 16, {1: 0, 3: 2}[channels], _png_rows(pixels), key))
    expected = pixels.copy()
    expected[2, 3] = 65535
    assert (read_image(tmp_path / "x.png", channels) == expected).all()


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha", "unspecified"])
def test_fourth_channel_of_a_16_bit_tiff_is_used_as_the_file_says(tmp_path, kind):
    pixels = NOISE_16_BIT.copy()
    expected = _over_white(pixels[..., :3], pixels[..., 3:], 65535)
    if kind == "assocalpha":  # the file holds colours times alpha
        pixels[..., :3] = np.rint(pixels[..., :3] * (pixels[..., 3:] / 65535))
    elif kind == "unspecified":
        expected = pixels[..., :3]
    tifffile.imwrite(tmp_path / "x.tif", pixels, photometric="rgb", extrasamples=[kind])
    assert np.abs(read_image(tmp_path / "x.tif", 3) - expected).max() <= 1.01


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_jpeg_is_read_upright(tmp_path, orientation):
    Image.fromarray(_smooth()).save(tmp_path / "x.jpg", quality=100, subsampling=0, exif=_exif(orientation))
    picture, expected = read_image(tmp_path / "x.jpg", 3), _upright(_smooth(), orientation)
    assert picture.shape == expected.shape and np.abs(picture.astype(int) - expected).max() <= 4


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_turned_png_and_tiff_are_read_upright(tmp_path, channels, dtype, orientation):
    pixels = _noise(channels, dtype)
    expected = _upright(pixels, orientation)
    exif = _png_chunk(b"eXIf", _exif(orientation).tobytes().removeprefix(b"Exif\0\0"))
    rows = _png_rows(pixels) if dtype == np.uint16 else b"".join(b"\0" + row.tobytes() for row in pixels)
    (tmp_path / "x.png").write_bytes(_png(24, 20, dtype().itemsize * 8, {1: 0, 3: 2}[channels], rows, exif))
    for byteorder in "<>":
        kind = {"photometric": "rgb" if channels == 3 else "minisblack", "byteorder": byteorder}
        data = pixels if channels == 3 else pixels[..., 0]
        tifffile.imwrite(
            tmp_path / f"x{byteorder}.tif", data, **kind, extratags=[(ORIENTATION, "H", 1, orientation, True)]
        )
    for path in list_images(tmp_path):
        picture = read_image(path, channels)
        assert picture.dtype == dtype and picture.shape == expected.shape and (picture == expected).all(), path


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_damaged_exif_data_do_not_make_a_picture_unreadable(tmp_path):
    for number, exif in enumerate([b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\0\0"]):
        Image.fromarray(_smooth()).save(tmp_path / f"{number}.jpg", exif=exif)
        assert read_image(tmp_path / f"{number}.jpg", 3).shape == (20, 24, 3)


def test_first_frame_of_several_is_read(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "x.tif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "x.webp", save_all=True, append_images=frames[1:], lossless=True)
    for path in list_images(tmp_path):
        assert (read_image(path, 3) == [255, 0, 0]).all(), path


@pytest.mark.parametrize(
    ("dtype", "kind"), [(np.int32, "32-bit integers"), (np.int16, "signed"), (np.float32, "32-bit floats")]
)
def test_numbers_that_are_no_brightness_are_refused_by_their_kind(tmp_path, dtype, kind):
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((4, 4), dtype))
    text = _fails(tmp_path / "x.tif")
    assert kind in text and "8 or 16 bits" in text


def test_16_bit_colours_in_planes_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((3, 5, 7), np.uint16), photometric="rgb", planarconfig="separate")
    assert "interleaved" in _fails(tmp_path / "x.tif")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_truncated_file_is_one_line(tmp_path, capfd, suffix, dtype):
    path = tmp_path / f"x{suffix}"
    write_image(path, _noise(3, dtype))
    whole = path.read_bytes()
    for length in (5, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:length])
        _fails(path)
    assert capfd.readouterr().err == ""  # decoders in C like to print


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_empty_file_is_one_line(tmp_path, suffix):
    (tmp_path / f"x{suffix}").touch()
    assert "empty" in _fails(tmp_path / f"x{suffix}")


def test_text_in_a_picture_file_is_one_line(tmp_path):
    (tmp_path / "x.jpg").write_text("<html>\n404 not found\n</html>\n")
    assert "damaged" in _fails(tmp_path / "x.jpg")


def test_missing_file_and_folder_in_place_of_a_file_are_one_line(tmp_path):
    assert "no such file" in _fails(tmp_path / "x.jpg")
    (tmp_path / "y.jpg").mkdir()
    assert "directory" in _fails(tmp_path / "y.jpg")


def test_decompression_bomb_is_refused(tmp_path):
    (tmp_path / "x.png").write_bytes(_png(50_000, 50_000, 8, 2))
    assert "refused" in _fails(tmp_path / "x.png")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("channels", [1, 3])
def test_8_bit_round_trip(tmp_path, channels, suffix):
    pixels = _smooth()[..., :channels]
    write_image(tmp_path / "new" / f"x{suffix}", pixels)
    picture = read_image(tmp_path / "new" / f"x{suffix}", channels)
    assert picture.dtype == np.uint8
    assert np.abs(picture.astype(int) - pixels).max() <= (4 if suffix in JPEG else 0)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".PNG", ".ppm", ".pgm"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_round_trip(tmp_path, channels, suffix):
    pixels = _noise(channels, np.uint16)
    write_image(tmp_path / f"x{suffix}", pixels)
    picture = read_image(tmp_path / f"x{suffix}", channels)
    assert picture.dtype == np.uint16 and (picture == pixels).all()


def test_16_bit_files_are_what_other_programs_expect(tmp_path):
    pixels = _noise(3, np.uint16)
    write_image(tmp_path / "x.png", pixels)
    write_image(tmp_path / "x.tif", pixels)
    assert (cv2.imread(tmp_path / "x.png", cv2.IMREAD_UNCHANGED)[..., ::-1] == pixels).all()
    with Image.open(tmp_path / "x.tif") as picture:  # Pillow keeps the high byte
        assert (np.array(picture) == pixels >> 8).all()


@pytest.mark.parametrize("suffix", [".bmp", ".webp"])
def test_16_bits_become_the_nearest_8_where_the_format_holds_no_more(tmp_path, suffix):
    pixels = np.array([[[0], [128], [129], [257], [65406], [65407], [65535]]], dtype=np.uint16)
    write_image(tmp_path / f"x{suffix}", pixels)
    assert read_image(tmp_path / f"x{suffix}", 1).ravel().tolist() == [0, 0, 1, 1, 254, 255, 255]


def test_unknown_suffix_is_refused(tmp_path):
    for name in ("x.gif", "x"):
        with pytest.raises(UserError, match=r"no picture format .*\.png"):
            write_image(tmp_path / name, _smooth())
    assert not list(tmp_path.iterdir())


def _break_save(monkeypatch, error):
    def save(self, file, **options):
        file.write(b"half a pict")
        raise error

    monkeypatch.setattr(Image.Image, "save", save)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("encoding error 5")])
def test_failing_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, error):
    path = tmp_path / "x.png"
    write_image(path, _smooth())
    _break_save(monkeypatch, error)
    with pytest.raises(UserError, match=r"x\.png: cannot be written \((No space left on device|encoding error 5)\)"):
        write_image(path, 255 - _smooth())
    assert list(tmp_path.iterdir()) == [path] and (read_image(path, 3) == _smooth()).all()


def test_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "x.png"
    write_image(path, _smooth())
    _break_save(monkeypatch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        write_image(path, 255 - _smooth())
    assert list(tmp_path.iterdir()) == [path] and (read_image(path, 3) == _smooth()).all()


def test_unfinished_file_has_another_name(tmp_path, monkeypatch):
    seen = []
    save = Image.Image.save

    def spy(self, file, **options):
        save(self, file, **options)
        seen.append((Path(file.name).name.startswith("."), (tmp_path / "x.png").exists()))

    monkeypatch.setattr(Image.Image, "save", spy)
    write_image(tmp_path / "x.png", _smooth())
    assert seen == [(True, False)]


def test_folder_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/x\.png: cannot be written"):
        write_image(tmp_path / "file" / "x.png", _smooth())


def test_link_to_nowhere_is_listed_and_cannot_be_read(tmp_path):
    (tmp_path / "x.png").symlink_to("nowhere")
    assert list_images(tmp_path) == [tmp_path / "x.png"]
    assert "no such file" in _fails(tmp_path / "x.png")


def test_partners_share_a_name_whatever_their_suffix(tmp_path):
    names = [pair_name(path.relative_to(tmp_path)) for path in (tmp_path / "s/a.1.png", tmp_path / "s/a.1.JPG")]
    assert names == ["s/a.1", "s/a.1"] and pair_name((tmp_path / "s/a.2.png").relative_to(tmp_path)) != names[0]


def test_picture_is_read_from_its_content_whatever_its_suffix(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(_smooth()).save(buffer, "png")
    (tmp_path / "x.jpg").write_bytes(buffer.getvalue())
    assert (read_image(tmp_path / "x.jpg", 3) == _smooth()).all()


def test_16_bits_become_the_nearest_8_bits():
    values = np.array([[0, 128, 129, 32639, 65406, 65407, 65535]], dtype=np.uint16)
    assert to_8_bit(values).tolist() == [[0, 0, 1, 127, 254, 255, 255]]
    small = values.astype(np.uint8)
    assert to_8_bit(small) is small
