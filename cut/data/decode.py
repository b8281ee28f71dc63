"""From the bytes of a picture file to its pixels.

Pillow reads all, but keeps 16 bits of gray pictures only; for the others OpenCV reads the file once more.
"""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageFile, ImageOps, features

from cut.data.colour import to_srgb
from cut.data.formats import jpeg2000_bits, open_picture
from cut.errors import UserError

# What is kept of pictures depends on it: raise the number when other pixels are read from a file.
VERSION = f"2, LittleCMS {features.version('littlecms2')}"
_EXIF_ORIENTATION = 0x0112
_TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_PLANAR, _TIFF_EXTRA_SAMPLES, _TIFF_NUMBERS = 258, 262, 284, 338, 339
_SIGNED = 2  # of a TIFF's numbers
_HOW = "save it with 8 or 16 bits, unsigned, or give its range (data.range_a, data.range_b)"


def decode(data: bytes) -> np.ndarray:
    """The upright pixels in sRGB, transparency laid over white: `(H, W)` or `(H, W, 3)`, uint8 or uint16.

    Raises:
        UserError: it holds numbers that are no brightness; the text lacks the file's name.
        PIL.UnidentifiedImageError: it is damaged, or of no kind that is known here.
        Exception: it is damaged; decoders raise many kinds.
    """
    with open_picture(io.BytesIO(data)) as file:
        tags, full = tiff_tags(file), _full_scale(file, data)
        if _SIGNED in tags.get(_TIFF_NUMBERS, ()) and max(tags.get(_TIFF_BITS, (1,))) <= 16:
            raise UserError(f"holds signed integers; {_HOW}")
        is_16_bit_gray = file.mode.startswith("I;16") or (file.mode == "I" and file.format == "PPM")
        file.load()  # says what is wrong with a damaged file; OpenCV would print it
        if full and not is_16_bit_gray:
            return _decode_16_bits(data, file, full)
        picture: Image.Image = ImageOps.exif_transpose(file)
    if is_16_bit_gray:
        array = np.array(picture).astype(np.uint16)
        if "transparency" in picture.info:  # the one gray that stands for it
            array[array == picture.info["transparency"]] = 65535
        if file.format == "JPEG2000":  # Pillow has filled up the lower bits with zeros
            array >>= 16 - (full or 65535).bit_length()
        array = _to_full_scale(array, full or 65535)
        return 65535 - array if tags.get(_TIFF_PHOTOMETRIC) == 0 else array  # 0 is white; Pillow inverts 8 bits only
    return _pixels(picture, file.info.get("icc_profile"))


def pixels_of(picture: Image.Image) -> np.ndarray:
    """What `decode` gives, of a picture that Pillow has opened or made: `(H, W)` or `(H, W, 3)`, 8 bits, or 16 of gray.

    Raises:
        UserError: it holds numbers that are no brightness.
    """
    if picture.mode.startswith("I;16"):
        return np.array(ImageOps.exif_transpose(picture)).astype(np.uint16)
    return _pixels(ImageOps.exif_transpose(picture), picture.info.get("icc_profile"))


def _pixels(picture: Image.Image, profile: bytes | None) -> np.ndarray:
    if picture.mode in ("I", "F"):
        kind = "32-bit integers" if picture.mode == "I" else "32-bit floats"
        raise UserError(f"holds {kind}; {_HOW}")
    return np.array(_to_colours(picture, profile))  # a copy, because a view would be read-only


def _to_colours(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """L or RGB."""
    if not picture.has_transparency_data:
        picture = picture if picture.mode in ("L", "RGB", "CMYK") else picture.convert("RGB")
        return to_srgb(picture, profile)
    picture = picture.convert("RGBA")
    if profile:
        colours = to_srgb(picture.convert("RGB"), profile)
        colours.putalpha(picture.getchannel("A"))
        picture = colours
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def tiff_tags(picture: Image.Image) -> Mapping[int, Any]:
    """The tags of a TIFF; nothing of other files."""
    return getattr(picture, "tag_v2", {}) if picture.format == "TIFF" else {}


def _full_scale(picture: ImageFile.ImageFile, data: bytes) -> int | None:
    """The number of full brightness, where a file has more than 8 bits and Pillow would not bring them to 16."""
    if picture.format == "TIFF":
        bits = max(tiff_tags(picture).get(_TIFF_BITS, (1,)))
        return 2**bits - 1 if 8 < bits <= 16 and picture.mode != "CMYK" else None
    if picture.format == "JPEG2000":
        bits = jpeg2000_bits(data) or 8
        return 2**bits - 1 if 8 < bits <= 16 else None
    arguments = picture.tile[0][3] if picture.tile else None
    if picture.mode not in ("RGB", "RGBA", "LA"):
        return None
    if picture.format == "PNG":
        return 65535 if ";16" in str(arguments) else None
    if picture.format == "PPM" and isinstance(arguments, tuple):
        return arguments[1] if arguments[1] > 255 else None
    return None


def _to_full_scale(array: np.ndarray, full: int) -> np.ndarray:
    """uint16 of 0 to `full` -> of 0 to 65535."""
    return array if full == 65535 else np.rint(array * (65535.0 / full)).clip(0, 65535).astype(np.uint16)


def _decode_16_bits(data: bytes, picture: ImageFile.ImageFile, full: int) -> np.ndarray:
    """`data` once more, by OpenCV; `picture` is what Pillow made of it."""
    import cv2  # only here, because it is slow to import

    tags = tiff_tags(picture)
    if tags.get(_TIFF_PLANAR) == 2:  # Pillow and OpenCV both return nonsense
        raise UserError("holds 16-bit colours in separate planes; save it with interleaved channels")
    array = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None or array.dtype != np.uint16:
        raise UserError("holds colours of more than 8 bits of a kind that is not read; save it as PNG")
    array = _to_full_scale(array, full)
    if array.ndim == 3 and array.shape[2] == 4:
        colour, alpha = array[..., :3].astype(np.float64), array[..., 3:].astype(np.float64) / 65535.0
        if not is_alpha(tags.get(_TIFF_EXTRA_SAMPLES, ())):
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


def is_alpha(extra_samples: tuple[int, ...]) -> bool:
    """Whether the fourth sample of a TIFF says how opaque a pixel is; where nothing is said, it does."""
    return not extra_samples or extra_samples[0] != 0
