"""The border between picture files and arrays.

Inside the package images are float tensors `(C, H, W)` in [-1, 1]. Files are read into `(H, W, C)` arrays, uint8 or,
where the file holds 16 bits a channel, uint16, and written from the same.
"""

import contextlib
import errno
import os
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import IO, Any, TypeVar

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from cut.config.bands import Bands
from cut.data.bounds import check_size, max_megapixels, most_bytes
from cut.data.decode import decode
from cut.data.folders import list_images
from cut.data.formats import (
    ARRAY_SUFFIX,
    READ_SUFFIXES,
    SUFFIXES,
    SUFFIXES_16_BIT,
    WRITTEN_SUFFIXES,
    open_picture,
    unidentified,
)
from cut.data.numbers import (
    NUMBER_SUFFIXES,
    Numbers,
    decode_tiff,
    describe_mismatch,
    encode_numbers,
    find_numbers,
    is_array,
    is_tiff,
    open_array,
    to_inside,
)
from cut.errors import NoRoomError, UserError, reason
from cut.storage.files import open_regular, write_whole

__all__ = ["READ_SUFFIXES", "SUFFIXES", "list_images", "read_image", "write_image"]

Item = TypeVar("Item")
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601-2, the weights of Pillow's own conversion
_NO_ROOM = (errno.ENOSPC, errno.EROFS, getattr(errno, "EDQUOT", None))

# About oddities that do not keep Pillow from reading a picture. A filter set once, for setting one per picture would
# make every other warning of the process appear again.
warnings.filterwarnings("ignore", module=r"PIL\.")


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


def read_image(path: str | os.PathLike, channels: int | Bands, content: bytes | None = None) -> np.ndarray:
    """Reads one picture, upright as its EXIF orientation says, in sRGB, transparency laid over white.

    A colour profile is applied to 8 bits a channel. `cut.data.left_out` says what is lost. Where a domain has a
    range, or neither 1 nor 3 channels, all bands of a TIFF are read, as numbers.

    Args:
        path: File of any format of `READ_SUFFIXES`; of several pages or frames the first is read.
        channels: 1 for grayscale, 3 for colour, and the picture is converted; or what the files of a domain hold.
        content: The file's bytes, where they are read already, and `path` is only a name; None reads them.

    Returns:
        `(H, W, channels)`, uint8, uint16 where the file holds more than 8 bits a channel, or float32 in [-1, 1] where
        the domain has a range.

    Raises:
        UserError: the file is missing, broken, of a kind that cannot be shown (32-bit integers, floats), or has
            another number of bands.
    """
    bands = channels if isinstance(channels, Bands) else Bands(channels)
    path, data = Path(path), b""
    try:
        if content is None and is_array(path):
            found = open_array(path)
            _check_numbers(found, bands)
            array = found.load()
        else:
            # From memory, because Pillow maps an uncompressed file and then misplaces the pixels of a turned TIFF.
            data = read_bytes(path) if content is None else content
            if is_tiff(data) and not bands.are_plain:
                array = decode_tiff(data, lambda found: _check_numbers(found, bands))
            else:
                array = decode(data)
        return with_channels(to_inside(array, bands), bands)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UserError as error:
        raise UserError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None
    except Image.DecompressionBombError:
        raise UserError(
            f"{path}: refused, larger than {max_megapixels():g} megapixels, the bound of --max-megapixels and "
            "data.max_megapixels"
        ) from None
    except UnidentifiedImageError:
        numbers = find_numbers(path) if bands.domain and content is None else None
        why = numbers and describe_mismatch(numbers.shape, bands)
        raise UserError(f"{path}: {why or unidentified(data)}") from None
    except Exception as error:  # noqa: BLE001  decoders raise SyntaxError, struct.error, OSError, ... on broken files
        raise UserError(f"{path}: cannot be read as a picture ({reason(error)})") from None


def _check_numbers(found: Numbers, bands: Bands) -> None:
    check_size(found)
    if why := describe_mismatch(found.shape, bands):
        raise UserError(why)


def read_bytes(path: str | os.PathLike) -> bytes:
    """The content of a picture file.

    Raises:
        UserError: it is missing, no regular file, or larger than any picture of the bound's size.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > most_bytes():
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
        with open_regular(path) as file, open_picture(file) as picture:
            yield picture
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001  decoders raise SyntaxError, struct.error, OSError, ... on broken files
        raise UserError(f"{path}: cannot be read as a picture ({reason(error)})") from None


def stored_size_px(path: Path) -> tuple[int, int] | None:
    """Width and height as stored, before a turn that EXIF asks for; None where the picture cannot be read."""
    if found := find_numbers(path):
        return found.shape[1], found.shape[0]
    try:
        with open_header(path) as picture:
            return picture.size
    except UserError:
        return None


def write_image(path: str | os.PathLike, array: np.ndarray, checked: bool = False) -> None:
    """Writes `(H, W, 1 or 3)` uint8 or uint16 in the format that the file's suffix names, whole or not at all.

    uint16 stays 16 bits in PNG, TIFF, PPM and PGM and becomes 8 bits in formats that hold no more. TIFF and .npy hold
    any number of bands, and floats.

    Args:
        path: File to write, and replace.
        array: Pixels, `(H, W, C)`.
        checked: Whether to refuse to replace what this program did not write, see `write_whole`.

    Raises:
        UserError: the suffix names no known format, or the file cannot be written; a `NoRoomError` where no other
            file could be either.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in WRITTEN_SUFFIXES:
        raise UserError(f"{path}: no picture format {suffix or '(none)'}; known: {', '.join(WRITTEN_SUFFIXES)}")
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
    """uint16 -> uint8, to the nearest of 0, 257, ..., 65535; floats in [-1, 1] likewise; uint8 stays as it is."""
    if picture.dtype == np.float32:
        return np.rint((picture + 1.0) * 127.5).astype(np.uint8)
    return picture if picture.dtype == np.uint8 else ((picture.astype(np.uint32) + 128) // 257).astype(np.uint8)


def with_channels(array: np.ndarray, channels: int | Bands) -> np.ndarray:
    """`(H, W)` or `(H, W, C)` -> `(H, W, channels)`, same type; colours become gray by their brightness.

    Raises:
        UserError: it has another number of bands, but for gray and colours; the line lacks the file's name.
    """
    bands = channels if isinstance(channels, Bands) else Bands(channels)
    array = array[:, :, None] if array.ndim == 2 else array
    if why := describe_mismatch(array.shape, bands):
        raise UserError(why)
    if array.shape[2] == bands.count:
        return array
    if array.shape[2] == 1:
        return np.repeat(array, bands.count, axis=2)
    if array.dtype == np.uint8:
        return np.array(Image.fromarray(array).convert("L"))[:, :, None]
    gray = array @ _LUMA
    return (gray if array.dtype == np.float32 else np.rint(gray)).astype(array.dtype)[:, :, None]


def _encode(file: IO[bytes], array: np.ndarray, suffix: str) -> None:
    is_picture = array.shape[2] in (1, 3) and array.dtype in (np.uint8, np.uint16)
    if suffix == ARRAY_SUFFIX or (suffix in NUMBER_SUFFIXES and not is_picture):
        encode_numbers(file, array, suffix)
        return
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
