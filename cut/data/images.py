"""The border between picture files and arrays.

Inside the package images are float tensors `(C, H, W)` in [-1, 1]. Files are read into `(H, W, C)` arrays, uint8 or,
where the file holds 16 bits a channel, uint16, and written from the same.
"""

import contextlib
import errno
import math
import os
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import IO, Any, TypeVar

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from cut.data.decode import decode
from cut.data.folders import list_images
from cut.data.formats import FORMATS, READ_SUFFIXES, SUFFIXES, SUFFIXES_16_BIT, unidentified
from cut.errors import NoRoomError, UserError, reason
from cut.storage.files import open_regular, write_whole

__all__ = ["READ_SUFFIXES", "SUFFIXES", "list_images", "read_image", "write_image"]

Item = TypeVar("Item")
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601-2, the weights of Pillow's own conversion
_NO_ROOM = (errno.ENOSPC, errno.EROFS, getattr(errno, "EDQUOT", None))
_MOST_BYTES_PER_PIXEL, _MOST_OTHER_BYTES = 8, 64_000_000  # of a file: four channels of 16 bits, and what describes them

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


def evenly_chosen(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` of the items, from the first to the last, in their order."""
    places = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[place] for place in places]


def images_if_any(folder: str | os.PathLike) -> list[Path]:
    """`list_images`, or nothing where there is no picture."""
    try:
        return list_images(folder)
    except UserError:
        return []


def pair_name(path: PurePath) -> str:
    """What two pictures of a pair have in common: their path below their folders, without the suffix."""
    return composed(path.with_suffix("").as_posix())


def composed(name: str) -> str:
    """A name to compare: a Mac writes an accent as a character of its own, and other systems do not."""
    return unicodedata.normalize("NFC", name)


def read_image(path: str | os.PathLike, channels: int) -> np.ndarray:
    """Reads one picture, upright as its EXIF orientation says, in sRGB, transparency laid over white.

    A colour profile is applied to 8 bits a channel. `cut.data.left_out` says what is lost.

    Args:
        path: File of any format of `READ_SUFFIXES`; of several pages or frames the first is read.
        channels: 1 for grayscale, 3 for colour; the picture is converted.

    Returns:
        `(H, W, channels)`, uint8, or uint16 where the file holds more than 8 bits a channel.

    Raises:
        UserError: the file is missing, broken, or of a kind that cannot be shown (32-bit integers, floats).
    """
    # From memory, because Pillow maps an uncompressed file and then misplaces the pixels of a turned TIFF.
    data = read_bytes(path)
    try:
        array = decode(data)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except Image.DecompressionBombError:
        raise UserError(
            f"{path}: refused, larger than {max_megapixels():g} megapixels, the bound of --max-megapixels and "
            "data.max_megapixels"
        ) from None
    except UnidentifiedImageError:
        raise UserError(f"{path}: {unidentified(data)}") from None
    except Exception as error:  # noqa: BLE001  decoders raise SyntaxError, struct.error, OSError, ... on broken files
        raise UserError(f"{path}: cannot be read as a picture ({reason(error)})") from None
    return with_channels(array, channels)


def read_bytes(path: str | os.PathLike) -> bytes:
    """The content of a picture file.

    Raises:
        UserError: it is missing, no regular file, or larger than any picture of the bound's size.
    """
    most = max_megapixels() * 1e6 * _MOST_BYTES_PER_PIXEL + _MOST_OTHER_BYTES
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > most:
                raise UserError(
                    f"{path}: refused, because {size} bytes are more than a picture of {max_megapixels():g} megapixels "
                    "has, the bound of --max-megapixels and data.max_megapixels"
                )
            return file.read()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as a picture ({reason(error)})") from None


@contextlib.contextmanager
def open_header(path: str | os.PathLike) -> Iterator[ImageFile.ImageFile]:
    """Opens a picture without decoding it.

    Raises:
        UserError: it cannot be read as a picture.
    """
    try:
        with open_regular(path) as file, Image.open(file, formats=FORMATS) as picture:
            yield picture
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001  decoders raise SyntaxError, struct.error, OSError, ... on broken files
        raise UserError(f"{path}: cannot be read as a picture ({reason(error)})") from None


def stored_size_px(path: Path) -> tuple[int, int] | None:
    """Width and height as stored, before a turn that EXIF asks for; None where the picture cannot be read."""
    try:
        with open_header(path) as picture:
            return picture.size
    except UserError:
        return None


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
        UserError: the picture cannot be read, or the copy cannot be written.
    """
    data = read_bytes(path)
    try:
        write_whole(copy, data)
    except OSError as error:
        raise UserError(f"{copy}: cannot be written ({reason(error)})") from None


def to_8_bit(picture: np.ndarray) -> np.ndarray:
    """uint16 -> uint8, to the nearest of 0, 257, ..., 65535; uint8 stays as it is."""
    return picture if picture.dtype == np.uint8 else ((picture.astype(np.uint32) + 128) // 257).astype(np.uint8)


def with_channels(array: np.ndarray, channels: int) -> np.ndarray:
    """`(H, W)` or `(H, W, 3)` -> `(H, W, channels)`, same type; colours become gray by their brightness."""
    if array.ndim == 2:
        return np.repeat(array[:, :, None], channels, axis=2)
    if channels == 3:
        return array
    if array.dtype == np.uint8:
        return np.array(Image.fromarray(array).convert("L"))[:, :, None]
    return np.rint(array @ _LUMA).astype(array.dtype)[:, :, None]


def _encode(file: IO[bytes], array: np.ndarray, suffix: str) -> None:
    is_gray, is_map = array.shape[2] == 1, suffix in (".ppm", ".pgm")
    array = array[:, :, 0] if is_gray else array
    if array.dtype == np.uint16 and (is_map or not is_gray):  # which Pillow, or an early one, cannot write
        import cv2

        # Colour and gray stand under both names of portable maps, as Pillow writes and reads them.
        form = (".pgm" if is_gray else ".ppm") if is_map else suffix
        done, data = cv2.imencode(form, array if is_gray else array[..., ::-1])
        assert done, f"OpenCV cannot encode {array.shape} {array.dtype} as {suffix}"
        file.write(data.tobytes())
        return
    kind = Image.registered_extensions()[suffix]
    options: dict[str, dict[str, Any]] = {
        "JPEG": {"quality": 95, "subsampling": 0},
        "WEBP": {"lossless": True},
        "TIFF": {"compression": "tiff_lzw"},
    }
    Image.fromarray(array).save(file, format=kind, **options.get(kind, {}))
