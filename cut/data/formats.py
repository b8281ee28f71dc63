"""Which picture files are read and written, by their names and by what is inside."""

import io
import re
from importlib.util import find_spec
from typing import IO

from PIL import Image, ImageFile, TiffImagePlugin

from cut.errors import reason

try:
    from PIL import AvifImagePlugin

    _HAS_AVIF = AvifImagePlugin.SUPPORTED
except ImportError:  # Pillow before 11.3
    _HAS_AVIF = False
HAS_HEIF = find_spec("pillow_heif") is not None  # an extra, cut[heic]

# Written, each in its own format.
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
SUFFIXES_16_BIT = (".png", ".tif", ".tiff", ".ppm", ".pgm", ".npy")
ARRAY_SUFFIX = ".npy"
WRITTEN_SUFFIXES = (*SUFFIXES, ARRAY_SUFFIX)
# Read too; what is made of such a picture is written as PNG.
_READ_ONLY = (".apng", ".mpo", ".gif", ".pbm", ".pnm", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx")
_OTHER_FILMS = (".mpg", ".mpeg", ".webm", ".wmv", ".flv", ".ts", ".mts", ".3gp", ".ogv")  # only read
FILM_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".avi", *_OTHER_FILMS)
HEIF_SUFFIXES = (".heic", ".heif", ".hif")
READ_SUFFIXES = (*WRITTEN_SUFFIXES, *_READ_ONLY, *(".avif",) * _HAS_AVIF, *HEIF_SUFFIXES * HAS_HEIF)
# What may be inside, whatever the suffix; of Pillow's other decoders one runs programs (EPS), and most are hardly used.
FORMATS = ("BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP", *("AVIF",) * _HAS_AVIF)
_SAVE_AS = "save it as PNG or JPEG"
GET_HEIF = "pip install pillow-heif"
_HEIF = re.compile(rb".{4}ftyp(heic|heix|heim|heis|hevc|hevx|mif1|msf1)(?!.{0,40}avif)", re.DOTALL)
# How files of other kinds begin that pictures are often taken for, or that are named like pictures.
_OTHERS = (
    (rb".{4}ftypavi[fs]", "AVIF, which this Pillow does not decode"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "JPEG XL"),
    (rb"8BPS", "a Photoshop document"),
    (rb"\x76\x2f\x31\x01", "OpenEXR"),
    (rb"%PDF", "PDF"),
    (rb".{128}DICM", "DICOM"),
)
_LFS = b"version https://git-lfs"
_KNOWN = {b"\xff\xd8\xff": "JPEG", b"\x89PNG": "PNG", b"II*\0": "TIFF", b"MM\0*": "TIFF", b"GIF8": "GIF", b"BM": "BMP"}
_TIFF_SIZE, _TIFF_BITS, _TIFF_FORMAT, _TIFF_SAMPLES = (256, 257), 258, 339, 277
_TIFF_NUMBERS = {1: "", 2: "signed ", 3: "floating-point "}


def open_picture(file: IO[bytes]) -> ImageFile.ImageFile:
    """Opens a file of one of the known formats, without decoding it.

    Raises:
        PIL.UnidentifiedImageError: It is damaged, or of no kind that is known here.
    """
    start = file.read(64)
    file.seek(0)
    if not (HAS_HEIF and _HEIF.match(start)):
        return Image.open(file, formats=FORMATS)
    from pillow_heif import register_heif_opener  # only here, because it is slow to import

    register_heif_opener()
    return Image.open(file, formats=("HEIF",))


def unidentified(data: bytes) -> str:
    """Why Pillow knows nothing of a file's content: damaged, or whole and of a kind that is not read."""
    if not data:
        return "cannot be read as a picture (it is empty)"
    if data.startswith(_LFS):
        return "is a pointer of Git LFS in place of the picture; fetch it with: git lfs pull"
    if _HEIF.match(data):
        return "is a damaged HEIC" if HAS_HEIF else f"holds HEIC, which is read after: {GET_HEIF}; or {_SAVE_AS}"
    for start, name in _OTHERS:
        if re.match(start, data[:200], re.DOTALL):
            return f"holds {name}, which is not read; {_SAVE_AS}"
    known = next((name for start, name in _KNOWN.items() if data.startswith(start)), None)
    if known is None:
        return "cannot be read as a picture (it is damaged, or of no format that is known here)"
    if known == "TIFF" and (kind := _tiff_kind(data)):
        return f"is a TIFF of {kind}, which is not read; save it as gray or RGB, with 8 or 16 bits"
    try:
        Image.OPEN[known][0](io.BytesIO(data), "")
        why = "it is damaged"
    except Exception as error:  # noqa: BLE001  decoders raise SyntaxError, struct.error, OSError, ... on broken files
        why = reason(error)
    if why.startswith("cannot handle"):  # Pillow's JPEG reader about layers and bits
        return f"is a JPEG of a kind that is not read ({why}); {_SAVE_AS}"
    return f"cannot be read as a picture (it is a damaged {known}: {why})"


def _tiff_kind(data: bytes) -> str | None:
    """What the samples of a TIFF are, where its tags can be read."""
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(data[:8])
        file = io.BytesIO(data)
        file.seek(tags.next)
        tags.load(file)
        bits, numbers = tags.get(_TIFF_BITS, (1,)), tags.get(_TIFF_FORMAT, (1,))
        count = tags.get(_TIFF_SAMPLES, len(bits))
        if not all(tags[tag] > 0 for tag in _TIFF_SIZE) or not 0 < count <= 65535:
            return None
    except Exception:  # noqa: BLE001  whatever a damaged file makes of it
        return None
    text = "/".join(dict.fromkeys(map(str, bits)))
    what = "".join(_TIFF_NUMBERS.get(number, f"type {number} ") for number in dict.fromkeys(numbers))
    return f"{count} {what}channel{'s' * (count > 1)} of {text} bits"


def jpeg2000_bits(data: bytes) -> int | None:
    """Bits of each channel of a JPEG 2000 (ISO 15444-1, A.5.1); None where they differ, are signed or not found."""
    start = data.find(b"\xff\x4f\xff\x51")  # start of the codestream, and its sizes
    count = int.from_bytes(data[start + 40 : start + 42], "big")
    depths = set(data[start + 42 : start + 42 + 3 * count : 3])
    depth = depths.pop() if start >= 0 and len(depths) == 1 else 128
    return depth + 1 if depth < 38 else None
