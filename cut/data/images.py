"""The border between picture files and arrays.

Inside the package images are float tensors `(C, H, W)` in [-1, 1]. Files are read into `(H, W, C)` arrays, uint8 or,
where the file holds 16 bits a channel, uint16, and written from the same.
"""

import errno
import io
import math
import os
import shutil
import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import IO, Any, TypeVar

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from cut.errors import NoRoomError, UserError, reason
from cut.storage.files import open_regular, write_whole

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
SUFFIXES_16_BIT = (".png", ".tif", ".tiff", ".ppm", ".pgm")
# What may be inside, whatever the suffix; of Pillow's other decoders one runs programs (EPS), and most are hardly used.
FORMATS = ("BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
Item = TypeVar("Item")
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601-2, the weights of Pillow's own conversion
_EXIF_ORIENTATION = 0x0112
_NO_ROOM = (errno.ENOSPC, errno.EROFS, getattr(errno, "EDQUOT", None))
_MOST_BYTES_PER_PIXEL, _MOST_OTHER_BYTES = 8, 64_000_000  # of a file: four channels of 16 bits, and what describes them
_TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_PLANAR, _TIFF_EXTRA_SAMPLES = 258, 262, 284, 338

# About oddities that do not keep Pillow from reading a picture. A filter set once, for setting one per picture would
# make every other warning of the process appear again.
warnings.filterwarnings("ignore", module=r"PIL\.")


def set_max_megapixels(megapixels: float) -> None:
    """Sets how large a picture this process reads: a file of some kilobytes can claim any size.

    Pillow's own setting is used, so that its other readers keep to it too; it refuses twice what it is set to.
    """
    Image.MAX_IMAGE_PIXELS = max(1, int(megapixels * 1e6 / 2))


def max_megapixels() -> float:
    """The bound in force."""
    return (Image.MAX_IMAGE_PIXELS or math.inf) * 2 / 1e6  # None: another part of the process wants no bound


def list_images(folder: str | os.PathLike) -> list[Path]:
    """All picture files below `folder`, nested folders included, hidden files and folders not, sorted by path.

    Raises:
        UserError: the folder does not exist, is a file, or holds no picture.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "no such folder"
        raise UserError(f"{folder}: {what}")
    paths = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not path.is_dir()  # a link to nowhere is listed, for it is to be found out when it is read
    ]
    if not paths:
        raise UserError(
            f"{folder}: holds no picture (looked for {', '.join(s[1:] for s in SUFFIXES)}, also in folders below)"
        )
    return sorted(paths)


def images_if_any(folder: str | os.PathLike) -> list[Path]:
    """`list_images`, or nothing where there is no picture."""
    try:
        return list_images(folder)
    except UserError:
        return []


def evenly_chosen(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` of the items, from the first to the last, in their order."""
    places = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[place] for place in places]


def pair_name(path: PurePath) -> str:
    """What two pictures of a pair have in common: their path below their folders, without the suffix.

    Composed, because a Mac writes an accent as a character of its own, and other systems do not.
    """
    return unicodedata.normalize("NFC", path.with_suffix("").as_posix())


def read_image(path: str | os.PathLike, channels: int) -> np.ndarray:
    """Reads one picture, upright as its EXIF orientation says, transparency laid over white.

    Args:
        path: any format of `SUFFIXES`; the first frame of an animation.
        channels: 1 for grayscale, 3 for colour; the picture is converted.

    Returns:
        `(H, W, channels)`, uint8, or uint16 where the file holds 16 bits a channel.

    Raises:
        UserError: the file is missing, broken, or of a kind that cannot be shown (32-bit integers, floats).
    """
    try:
        # From memory, for Pillow maps an uncompressed file and then misplaces the pixels of a turned TIFF.
        data = _read_bytes(Path(path))
        array = _decode(data, path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UserError:
        raise
    except Image.DecompressionBombError:
        raise UserError(
            f"{path}: refused, larger than {max_megapixels():g} megapixels, the bound of --max-megapixels and "
            "data.max_megapixels"
        ) from None
    except UnidentifiedImageError:
        what = "is damaged, or of no format that is known here" if data else "is empty"
        raise UserError(f"{path}: cannot be read as a picture (it {what})") from None
    except Exception as error:  # noqa: BLE001  decoders raise SyntaxError, struct.error, OSError, ... on broken files
        raise UserError(f"{path}: cannot be read as a picture ({reason(error)})") from None
    return _with_channels(array, channels)


def write_image(path: str | os.PathLike, array: np.ndarray, checked: bool = False) -> None:
    """Writes `(H, W, 1 or 3)` uint8 or uint16 in the format that the file's suffix names, whole or not at all.

    uint16 stays 16 bits in PNG, TIFF, PPM and PGM and becomes 8 bits in formats that hold no more.

    Args:
        path: File to write, and replace.
        array: Pixels.
        checked: Whether to refuse to replace what this program did not write, see `write_whole`.

    Raises:
        UserError: the suffix names no known format, or the file cannot be written; a `NoRoomError` where no other
            file could be either.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"{path}: no picture format {suffix or '(none)'}; known: {', '.join(SUFFIXES)}")
    if array.dtype == np.uint16 and suffix not in SUFFIXES_16_BIT:
        array = to_8_bit(array)
    try:
        write_whole(path, lambda file: _encode(file, array, suffix), checked=checked)
    except (OSError, ValueError) as error:  # ValueError: too large for the format, says WebP's encoder
        kind = NoRoomError if getattr(error, "errno", None) in _NO_ROOM else UserError
        raise kind(f"{path}: cannot be written ({reason(error)})") from None


def copy_picture(path: Path, copy: Path) -> None:
    """Copies a picture file as it is.

    Raises:
        UserError: the copy cannot be written.
        OSError: the picture cannot be read.
    """
    with open_regular(path) as file:
        try:
            write_whole(copy, lambda target: shutil.copyfileobj(file, target))
        except OSError as error:
            raise UserError(f"{copy}: cannot be written ({reason(error)})") from None


def to_8_bit(picture: np.ndarray) -> np.ndarray:
    """uint16 -> uint8, to the nearest of 0, 257, ..., 65535; uint8 stays as it is."""
    return picture if picture.dtype == np.uint8 else ((picture.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _read_bytes(path: Path) -> bytes:
    """The content of a regular file of sensible size."""
    most = max_megapixels() * 1e6 * _MOST_BYTES_PER_PIXEL + _MOST_OTHER_BYTES
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise UserError(
                f"{path}: refused, because {size} bytes are more than a picture of {max_megapixels():g} megapixels "
                "has, the bound of --max-megapixels and data.max_megapixels"
            )
        return file.read()


def _decode(data: bytes, path: str | os.PathLike) -> np.ndarray:
    """The upright pixels, (H, W) or (H, W, 3), uint8 or uint16."""
    picture: Image.Image
    with Image.open(io.BytesIO(data), formats=FORMATS) as file:
        full = _full_scale_16_bit_colour(file)
        is_16_bit_gray = file.mode.startswith("I;16") or (file.mode == "I" and file.format == "PPM")
        inverted = _tiff_tags(file).get(_TIFF_PHOTOMETRIC) == 0  # 0 is white
        file.load()  # says what is wrong with a damaged file; OpenCV would print it
        if full:
            return _decode_16_bit_colour(data, file, full, path)
        picture = ImageOps.exif_transpose(file)
    if is_16_bit_gray:
        array = np.array(picture).astype(np.uint16)
        if "transparency" in picture.info:  # the one gray that stands for it
            array[array == picture.info["transparency"]] = 65535
        return 65535 - array if inverted else array  # Pillow inverts 8 bits only
    if picture.mode in ("I", "F"):
        kind = "signed or 32-bit integers" if picture.mode == "I" else "32-bit floats"
        raise UserError(f"{path}: holds {kind}; save it with 8 or 16 bits, unsigned")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    elif picture.mode not in ("L", "RGB"):
        picture = picture.convert("RGB")
    return np.array(picture)  # a copy, for a view would be read-only


def _tiff_tags(picture: ImageFile.ImageFile) -> Mapping[int, Any]:
    """The tags of a TIFF; nothing of other files."""
    return getattr(picture, "tag_v2", {}) if picture.format == "TIFF" else {}


def _full_scale_16_bit_colour(picture: ImageFile.ImageFile) -> int | None:
    """The value of full brightness, where Pillow would drop low bytes: it keeps 16 bits of gray pictures only."""
    if picture.mode not in ("RGB", "RGBA", "LA"):
        return None
    if picture.format == "TIFF":
        return 65535 if max(_tiff_tags(picture).get(_TIFF_BITS, (8,))) == 16 else None
    arguments = picture.tile[0][3] if picture.tile else None
    if picture.format == "PNG":
        return 65535 if ";16" in str(arguments) else None
    if picture.format == "PPM" and isinstance(arguments, tuple):
        return arguments[1] if arguments[1] > 255 else None
    return None


def _decode_16_bit_colour(data: bytes, picture: ImageFile.ImageFile, full: int, path: str | os.PathLike) -> np.ndarray:
    """`data` once more, by OpenCV; `picture` is what Pillow made of it."""
    import cv2  # only here, for it is slow to import

    tags = _tiff_tags(picture)
    if tags.get(_TIFF_PLANAR) == 2:  # Pillow and OpenCV both return nonsense
        raise UserError(f"{path}: holds 16-bit colours in separate planes; save it with interleaved channels")
    array = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None or array.dtype != np.uint16:
        raise OSError("16-bit colours of a kind that is not known here")
    if full != 65535:
        array = np.rint(array * (65535.0 / full)).astype(np.uint16)
    if array.ndim == 3 and array.shape[2] == 4:
        colour, alpha = array[..., :3].astype(np.float64), array[..., 3:] / 65535.0
        if tags and picture.mode == "RGB":
            alpha = np.ones_like(alpha)  # the fourth channel is something else
        elif tags.get(_TIFF_EXTRA_SAMPLES) != (1,):  # 1: the colours are multiplied already
            colour *= alpha
        array = np.rint(np.minimum(colour + 65535.0 * (1.0 - alpha), 65535.0)).astype(np.uint16)
    array = array[..., ::-1] if array.ndim == 3 else array  # OpenCV's order is blue, green, red
    # OpenCV turns a TIFF upright by itself.
    orientation = 1 if picture.format == "TIFF" else picture.getexif().get(_EXIF_ORIENTATION, 1)
    if orientation in (5, 6, 7, 8):  # the eight EXIF orientations: a transposition, then flips
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)


def _with_channels(array: np.ndarray, channels: int) -> np.ndarray:
    """(H, W) or (H, W, 3) -> (H, W, channels), same type."""
    if array.ndim == 2:
        return np.repeat(array[:, :, None], channels, axis=2)
    if channels == 3:
        return array
    if array.dtype == np.uint8:
        return np.array(Image.fromarray(array).convert("L"))[:, :, None]
    return np.rint(array @ _LUMA).astype(array.dtype)[:, :, None]


def _encode(file: IO[bytes], array: np.ndarray, suffix: str) -> None:
    if array.shape[2] == 1:
        array = array[:, :, 0]
    elif array.dtype == np.uint16:
        import cv2

        # OpenCV would make a .pgm gray; Pillow writes and reads colour under both names.
        done, data = cv2.imencode(".ppm" if suffix == ".pgm" else suffix, array[..., ::-1])
        assert done, f"OpenCV cannot encode {array.shape} {array.dtype} as {suffix}"
        file.write(data.tobytes())
        return
    options: dict[str, dict[str, Any]] = {
        ".jpg": {"quality": 95, "subsampling": 0},
        ".webp": {"lossless": True},
        ".tif": {"compression": "tiff_lzw"},
    }
    options |= {".jpeg": options[".jpg"], ".tiff": options[".tif"]}
    Image.fromarray(array).save(file, format=Image.registered_extensions()[suffix], **options.get(suffix, {}))
