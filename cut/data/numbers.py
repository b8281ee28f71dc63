"""Files of numbers: NumPy arrays (.npy), and TIFFs with any number of bands, in one page or in several.

What is read is `(H, W, C)` of the file's own type. Where a domain has a range (`data.range_a`), its numbers become
float32 in [-1, 1], which is what float arrays hold everywhere else.
"""

import io
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from cut.config.bands import COLOURS, MOST_BANDS, Bands
from cut.data.formats import ARRAY_SUFFIX, SUFFIXES_16_BIT
from cut.errors import UserError, reason
from cut.storage.files import open_regular

__all__ = ["COLOURS", "Bands"]  # besides what is defined here

NUMBER_SUFFIXES = (ARRAY_SUFFIX, ".tif", ".tiff")  # hold any number of bands, of any type
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BY_DEPTH = (np.dtype(np.uint8), np.dtype(np.uint16))

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what is wrong with a file is said here, once


@dataclass(frozen=True)
class Numbers:
    """What a file holds, before it is decoded.

    Args:
        shape: Height, width and number of bands.
        dtype: Type of the numbers.
        load: Reads them, `shape`.
        is_picture: Whether it is also an ordinary gray or colour picture, or several of the latter.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype
    load: Callable[[], np.ndarray]
    is_picture: bool = False


def is_array(path: Path) -> bool:
    """Whether a file's name says that it is a NumPy array."""
    return path.suffix.lower() == ARRAY_SUFFIX


def is_tiff(data: bytes) -> bool:
    """Whether a file begins as a TIFF."""
    return data[:4] in _TIFF_MAGIC


def open_array(path: Path) -> Numbers:
    """An array `(H, W)` or `(H, W, C)`, which is mapped into memory, not read.

    Raises:
        ValueError: It is damaged, or no such array.
        OSError: It cannot be read.
    """
    with open_regular(path):  # what is no file would block
        pass
    mapped = np.lib.format.open_memmap(path, mode="r")
    if mapped.ndim not in (2, 3) or not mapped.size:
        raise ValueError(f"its shape is {mapped.shape}; arrays must be (H, W) or (H, W, C)")
    height, width, count = (*mapped.shape, 1)[:3]

    def load() -> np.ndarray:
        with open_regular(path) as file:  # a map would change with its file, and kill the process where that is cut off
            return np.ascontiguousarray(np.load(file, allow_pickle=False).reshape(height, width, count))

    return Numbers((height, width, count), mapped.dtype, load)


def open_tiff(file: IO[bytes]) -> Numbers:
    """The first picture of a TIFF with all its bands, whether they lie in one page or in pages of one size.

    Smaller copies of it and masks do not count. The file must stay open for `load`.

    Raises:
        Exception: It is damaged; the decoder raises many kinds.
    """
    import tifffile  # only here, because it is slow to import

    tiff = tifffile.TiffFile(file, name="picture")  # an open file may have none
    series = next((s for s in tiff.series if not (s.keyframe.is_reduced or s.keyframe.is_mask)), None)
    if series is None or not {"Y", "X"} <= set(series.axes) or not series.size:
        raise ValueError("it is a TIFF without a picture")
    axes, page = series.axes, series.keyframe
    rows, columns = axes.index("Y"), axes.index("X")
    others = [place for place in range(len(axes)) if place not in (rows, columns)]
    height, width = series.shape[rows], series.shape[columns]
    count = math.prod(series.shape[place] for place in others)

    def load() -> np.ndarray:
        return series.asarray().transpose(rows, columns, *others).reshape(height, width, count)

    is_gray = page.photometric in (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.MINISWHITE)
    has_alpha = any(kind != tifffile.EXTRASAMPLE.UNSPECIFIED for kind in page.extrasamples)
    is_one_page, samples, dtype = len(others) == axes.count("S"), page.samplesperpixel, np.dtype(series.dtype)
    is_shown = (samples <= 4 and (has_alpha or not is_gray)) or (samples == 1 and is_one_page)
    is_picture = is_shown and dtype.kind in "bu" and dtype.itemsize <= 2
    return Numbers((height, width, count), dtype, load, is_picture)


def find_numbers(path: Path) -> Numbers | None:
    """What a file says of itself, for looking at only (`load` does not work for a TIFF); None where it is an ordinary
    picture, or cannot be read."""
    if path.suffix.lower() not in NUMBER_SUFFIXES:
        return None
    try:
        if is_array(path):
            return open_array(path)
        with open_regular(path) as file:
            is_known = is_tiff(file.read(4))
            file.seek(0)
            found = open_tiff(file) if is_known else None
        return None if found is None or found.is_picture else found
    except Exception:  # noqa: BLE001  whatever a damaged file makes of it; reading says what is wrong
        return None


def bands_of(path: Path) -> int:
    """Number of bands of an array or of a TIFF that is no ordinary picture; 3 of all others, which can be colours."""
    found = find_numbers(path)
    return found.shape[2] if found else 3


def decode_tiff(data: bytes, check: Callable[[Numbers], None]) -> np.ndarray:
    """All bands of a TIFF, `(H, W, C)`.

    Args:
        data: Content of the file.
        check: Refuses, by a `UserError`, what is not to be decoded.

    Raises:
        UserError: `check` refuses it, or it is compressed in a way that only another package reads.
        Exception: It is damaged; the decoder raises many kinds.
    """
    found = open_tiff(io.BytesIO(data))
    check(found)
    try:
        return found.load()
    except ValueError as error:
        if "imagecodecs" in str(error):
            raise UserError(f"{reason(error)}; pip install imagecodecs, or save it without compression") from None
        raise


def check_real(kind: np.dtype[Any]) -> None:
    """Raises a UserError, which lacks the file's name, where values of a type are no real numbers, such as texts."""
    if kind.kind not in "buif":
        raise UserError(f"holds {kind.name} values, which are no real numbers")


def describe_mismatch(shape: tuple[int, ...], bands: Bands) -> str | None:
    """Which other number of bands a file has than expected, and what to do; None where it fits, as gray and colours
    do, which become each other.

    Args:
        shape: Height, width and number of bands.
        bands: What is expected.
    """
    height, width, count = shape
    if count == bands.count or (bands.are_of_pictures and Bands(count).are_of_pictures):
        return None
    key, order = f"data.channels_{bands.domain}", " as (H, W, C)" if height == bands.count else ""
    expected = f"{key} is {bands.count}" if bands.domain else f"{bands.count} expected"
    or_train = f", or train with {key} {count}" if bands.domain and count <= MOST_BANDS else ""
    return f"holds {Bands(count)} of {width}x{height} px, {expected}; give {Bands(bands.count)}{order}{or_train}"


def to_inside(array: np.ndarray, bands: Bands) -> np.ndarray:
    """A file's numbers as the package takes them: uint8 and uint16 as they are, or float32 in [-1, 1].

    Numbers outside of the range become its ends.

    Raises:
        UserError: Their range is not known, or they are no numbers; the line lacks the file's name.
    """
    check_real(array.dtype)
    if bands.limits is None:
        if array.dtype in _BY_DEPTH:
            return array.astype(array.dtype.newbyteorder("="), copy=False)
        key = f"data.range_{bands.domain}: [lowest, highest]" if bands.domain else "--range LOWEST HIGHEST"
        raise UserError(f"holds {array.dtype.name} numbers, whose range is not known; give {key}")
    low, high = bands.limits
    has_more_digits = array.dtype.itemsize > (4 if array.dtype.kind == "f" else 2)
    exact = np.dtype(np.float64 if has_more_digits else np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        values = (array.astype(exact) - low) * (2.0 / (high - low)) - 1.0
    if not np.isfinite(values).all():
        raise UserError("holds numbers that are not finite (NaN or infinity); replace them first")
    return values.clip(-1.0, 1.0).astype(np.float32)


def to_stored(array: np.ndarray, bands: Bands, like: np.dtype[Any]) -> np.ndarray:
    """Inverse of `to_inside`, for a file.

    Args:
        array: `(H, W, C)` uint8, uint16, or float32 in [-1, 1].
        bands: What the file will hold.
        like: Type of the input's numbers, which is kept if it holds the range.
    """
    if array.dtype != np.float32 or bands.limits is None:
        return array
    low, high = bands.limits
    values = (array.astype(np.float64) + 1.0) * ((high - low) / 2.0) + low
    return np.rint(values).astype(like) if _holds(like, low, high) else values.astype(np.float32)


def _holds(kind: np.dtype[Any], low: float, high: float) -> bool:
    """Whether a type of integers has the range, and steps that are fine enough for it."""
    if kind.kind not in "ui" or high - low < 255:
        return False
    limits = np.iinfo(kind)
    return bool(limits.min <= low and high <= limits.max)


def can_hold(suffix: str, bands: Bands) -> bool:
    """Whether a format holds the files of a domain: a picture format one or three bands, of whole numbers from 0 on."""
    if suffix.lower() in NUMBER_SUFFIXES:
        return True
    low, high = bands.limits or (0, 65535)
    is_deep_enough = bands.limits is None or suffix.lower() in SUFFIXES_16_BIT
    return bands.are_of_pictures and is_deep_enough and low >= 0 and 255 <= high <= 65535


def suffix_for(bands: Bands) -> str:
    """The format of files that nobody has chosen a format for: PNG, or .npy where that cannot hold them."""
    return ".png" if can_hold(".png", bands) else ARRAY_SUFFIX


def number_type(path: Path) -> np.dtype[Any]:
    """Type of the numbers in a file, as far as it is not that of ordinary pictures, which are 16 bits at most."""
    found = find_numbers(path)
    return found.dtype if found else np.dtype(np.uint16)


def encode_numbers(file: IO[bytes], array: np.ndarray, suffix: str) -> None:
    """Writes `(H, W, C)` as .npy, of one band `(H, W)`, or as a TIFF of one page, compressed without loss."""
    array = array[:, :, 0] if array.shape[2] == 1 else array
    if suffix == ARRAY_SUFFIX:
        np.save(file, array, allow_pickle=False)
        return
    import tifffile

    options: dict[str, Any] = {"planarconfig": "contig"} if array.ndim == 3 else {}
    tifffile.imwrite(
        file, array, photometric="minisblack", compression="zlib", metadata=None, software="cut", **options
    )
