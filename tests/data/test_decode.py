"""What a file's samples mean: their own depth, not that of what they lie in."""

import base64
import struct
import zlib

import numpy as np
import pytest
import tifffile  # scikit-image brings it
from PIL import Image

from cut.data.images import read_image
from cut.errors import UserError

RAMP = np.linspace(0, 4095, 20 * 32).round().astype(np.uint16).reshape(20, 32)
# Written by OpenJPEG 2.5.2 with 12 bits a channel: linspace(0, 4095) of 32x32 px, gray and colour, without loss.
JP2_GRAY = (
    "c-muNVBpCLP*C9IYUg5LU=T?wsVvAUFj4@r8KAT-kj?<oVwo8!ML=2sj2XGvL24NIlk;<m7{N?IApQwdoc!Pae;|V<SWE$mVE~oS$j!+3KZt<`"
    "#AIM)VPRnWAHyK*kdTp4fQ<g9FsL#xIv1rTmZYXABvmT-7o_HS1-"
    "QB^l%*CGXXfWA80nen8U3HYzy&t80%*?U<8N3vau3ul2>!#!z!J}re86sj#Xm;}UM4|q+g7pt2jndx>JB_mlH!Q1XRf~+WW4wA0saXl@-"
    "t!>I2z0r&Rmx~-*%Zvw7{L1%=M4$b?+ZwKV-sxK#hULA%6Msj<y4H*JwJjzr0$qVD0?>HvyA4Sfl"
)
JP2_COLOUR = (
    "c-muNVBpCLP*C9IYUg5LU=T?wsVvAUFj4@r8KAT-kj?<oVwo8!ML=2sjG4LFL24NIlk;<m7{N>d1_s8ZK*h=b{r?9t=!3-"
    "+pcn>F`OMsmj1crch=B(vz{tSL!otA#KZZfrAt58902%#HVNhjYbS_FwEJ;mKNUBuuFG$Vv3UGB-"
    "C`&CW&dkqKFw!&CGx|S)0pt?~MmeB4laIe);m8FM;UFUPK<$FyKa345@hnO8IN5d!EdDt%@G=Q<+qR0~<;hz_)EzjWB*hV1&s={u$apVNBK#9f"
    "<YzdTEu6V7dA{v3lW2iEF_|O?vLDjnKOhso{CLOwxob2X+5gw$6p~|LaX=PbJOBSp00%soeE"
)


def tiff(data, width, height, bits, order="<", photometric=1, samples=1, **more):
    """A TIFF of one strip, tag by tag, for kinds that no writer here makes."""
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: None, 277: samples, 278: height}
    tags |= {279: len(data)} | {int(tag[1:]): value for tag, value in more.items()}
    start = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(
        struct.pack(f"{order}HHII", tag, 4, 1, start if value is None else value) for tag, value in sorted(tags.items())
    )
    mark = b"II" if order == "<" else b"MM"
    return mark + struct.pack(f"{order}HIH", 42, 8, len(tags)) + entries + bytes(4) + data


def packed(values, bits):
    """Rows of samples that begin at whole bytes, the high bit first (TIFF 6.0, section 8)."""
    rows = ["".join(f"{value:0{bits}b}" for value in row) for row in values]
    whole = [row.ljust(-(-len(row) // 8) * 8, "0") for row in rows]
    return b"".join(int(row, 2).to_bytes(len(row) // 8, "big") for row in whole)


def fails(path):
    with pytest.raises(UserError) as caught:
        read_image(path, 3)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
    return str(caught.value)


def test_a_packed_12_bit_tiff_is_as_bright_as_it_says(tmp_path):
    (tmp_path / "x.tif").write_bytes(tiff(packed(RAMP, 12), 32, 20, 12))
    picture = read_image(tmp_path / "x.tif", 1)
    assert picture.dtype == np.uint16 and np.abs(picture[..., 0] - RAMP * (65535 / 4095)).max() <= 0.5


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_tiff_of_few_bits_is_spread_over_eight(tmp_path, bits):
    values = np.random.default_rng(bits).integers(0, 2**bits, (20, 32))
    for photometric, expected in ((1, values), (0, 2**bits - 1 - values)):
        (tmp_path / "x.tif").write_bytes(tiff(packed(values, bits), 32, 20, bits, photometric=photometric))
        picture = read_image(tmp_path / "x.tif", 1)
        assert picture.dtype == np.uint8 and (picture[..., 0] == expected * (255 // (2**bits - 1))).all()


@pytest.mark.parametrize(("bits", "order"), [(10, "<"), (14, "<"), (12, ">"), (24, "<")])
def test_a_tiff_of_a_depth_that_is_not_read_is_called_by_it_and_not_damaged(tmp_path, bits, order):
    (tmp_path / "x.tif").write_bytes(tiff(packed(RAMP >> 4, bits), 32, 20, bits, order))
    text = fails(tmp_path / "x.tif")
    assert f"is a TIFF of 1 channel of {bits} bits, which is not read" in text and "damaged" not in text


@pytest.mark.parametrize("text", [JP2_GRAY, JP2_COLOUR], ids=["gray", "colour"])
def test_a_12_bit_jpeg_2000_is_as_bright_as_it_says(tmp_path, text):
    (tmp_path / "x.jp2").write_bytes(zlib.decompress(base64.b85decode(text)))
    channels = 1 if text == JP2_GRAY else 3
    values = np.linspace(0, 4095, 32 * 32 * channels).astype(np.uint16).reshape(32, 32, channels)
    picture = read_image(tmp_path / "x.jp2", channels)
    assert picture.dtype == np.uint16 and np.abs(picture - values * (65535 / 4095)).max() <= 0.5


@pytest.mark.parametrize("suffix", [".jp2", ".j2k"])
def test_jpeg_2000_of_8_and_16_bits_keeps_its_values(tmp_path, suffix):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"x{suffix}")
    assert (read_image(tmp_path / f"x{suffix}", 3) == pixels).all()
    Image.fromarray(RAMP * 16).save(tmp_path / f"x{suffix}")
    assert (read_image(tmp_path / f"x{suffix}", 1)[..., 0] == RAMP * 16).all()


def test_signed_samples_are_refused_whatever_their_depth(tmp_path):
    for kind in (np.int8, np.int16):
        tifffile.imwrite(tmp_path / "x.tif", np.zeros((4, 4), kind))
        assert "holds signed integers; save it with 8 or 16 bits, unsigned" in fails(tmp_path / "x.tif")


@pytest.mark.parametrize(
    ("shape", "kind", "how", "said"),
    [
        ((20, 20, 5), np.uint8, {}, "5 channels of 8 bits"),
        ((20, 20, 2), np.uint16, {"extrasamples": ["unassalpha"]}, "2 channels of 16 bits"),
        ((20, 20, 4), np.float32, {}, "4 floating-point channels of 32 bits"),
        ((20, 20), np.float16, {}, "1 floating-point channel of 16 bits"),
        ((20, 20, 3), np.uint32, {"photometric": "rgb"}, "3 channels of 32 bits"),
    ],
)
def test_a_whole_tiff_of_a_kind_that_is_not_read_is_not_called_damaged(tmp_path, shape, kind, how, said):
    options = {"photometric": "minisblack", "planarconfig": "contig"} if len(shape) == 3 else {}
    tifffile.imwrite(tmp_path / "x.tif", np.zeros(shape, kind), **options | how)
    text = fails(tmp_path / "x.tif")
    assert f"is a TIFF of {said}, which is not read; save it as gray or RGB, with 8 or 16 bits" in text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"8BPS\0\1" + bytes(99), "holds a Photoshop document, which is not read"),
        (b"\xff\x0a" + bytes(99), "holds JPEG XL"),
        (bytes(128) + b"DICM", "holds DICOM"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a pointer of Git LFS .* git lfs pull"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "it is a damaged PNG"),
        (b"II*\0" + bytes(5), "it is a damaged TIFF"),
        (b"GIF89a", "it is a damaged GIF"),
    ],
)
def test_a_file_that_no_decoder_takes_is_called_by_what_it_is(tmp_path, content, said):
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(UserError, match=said):
        read_image(tmp_path / "x.jpg", 3)


def test_a_jpeg_of_12_bits_is_not_called_damaged(tmp_path):
    Image.new("RGB", (16, 16)).save(tmp_path / "x.jpg")
    data = bytearray((tmp_path / "x.jpg").read_bytes())
    data[data.index(b"\xff\xc0") + 4] = 12  # the precision, in the frame's header
    (tmp_path / "x.jpg").write_bytes(data)
    text = fails(tmp_path / "x.jpg")
    assert "is a JPEG of a kind that is not read" in text and "12-bit" in text and "damaged" not in text
