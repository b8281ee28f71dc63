"""The border between picture files and arrays.

Inside the package images are float tensors `(C, H, W)` in [-1, 1]. Files are read into `(H, W, C)` arrays, uint8 or,
where the file holds 16 bits a channel, uint16, and written from the same.
"""

import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from cut.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
SUFFIXES_16_BIT = (".png", ".tif", ".tiff")
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601-2, the weights of Pillow's own conversion
_EXIF_ORIENTATION = 0x0112


def list_images(folder: str | os.PathLike) -> list[Path]:
    """All picture files below `folder`, nested folders included, sorted by path.

    Raises:
        UserError: the folder does not exist, is a file, or holds no picture.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "no such folder"
        raise UserError(f"{folder}: {what}")
    paths = [p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
    if not paths:
        raise UserError(
            f"{folder}: holds no picture (looked for {', '.join(s[1:] for s in SUFFIXES)}, also in folders below)"
        )
    return sorted(paths)


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
        with Image.open(path) as picture:
            array = _decode(picture, path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except Image.DecompressionBombError as error:
        raise UserError(f"{path}: refused, {error}") from None
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001  decoders raise SyntaxError, struct.error, OSError, ... on broken files
        raise UserError(f"{path}: cannot be read as a picture ({_first_line(error)})") from None
    return _with_channels(array, channels)


def write_image(path: str | os.PathLike, array: np.ndarray) -> None:
    """Writes `(H, W, 1 or 3)` uint8 or uint16 in the format that the file's suffix names, whole or not at all.

    uint16 stays 16 bits in PNG and TIFF and becomes 8 bits in formats that hold no more.

    Raises:
        UserError: the suffix names no known format, or the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"{path}: no picture format {suffix or '(none)'}; known: {', '.join(SUFFIXES)}")
    if array.dtype == np.uint16 and suffix not in SUFFIXES_16_BIT:
        array = (array // 257).astype(np.uint8)
    temporary = path.with_name(f".{path.stem}.part{suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _encode(temporary, array, suffix)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from None


def _decode(picture: Image.Image, path: str | os.PathLike) -> np.ndarray:
    """The upright pixels, (H, W) or (H, W, 3), uint8 or uint16."""
    raw_mode = str(picture.tile[0].args) if picture.tile else ""
    if ";16" in raw_mode and picture.mode in ("RGB", "RGBA", "LA"):  # Pillow would drop the low byte
        return _decode_16_bit_colour(path, picture.getexif().get(_EXIF_ORIENTATION, 1))
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I;16"):
        return np.array(picture, dtype=np.uint16)
    if picture.mode in ("I", "F"):
        raise UserError(
            f"{path}: holds 32-bit {'integers' if picture.mode == 'I' else 'floats'}; save it with 8 or 16 bits"
        )
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    elif picture.mode not in ("L", "RGB"):
        picture = picture.convert("L" if picture.mode == "1" else "RGB")
    return np.array(picture)  # a copy, for a view would be read-only


def _decode_16_bit_colour(path: str | os.PathLike, orientation: int) -> np.ndarray:
    import cv2  # only here, for it is slow to import

    array = cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None:
        raise OSError("damaged 16-bit data")
    if array.ndim == 3 and array.shape[2] == 4:
        colour, alpha = array[..., :3].astype(np.float64), array[..., 3:] / 65535.0
        array = np.rint(colour * alpha + 65535.0 * (1.0 - alpha)).astype(np.uint16)
    array = array[..., ::-1] if array.ndim == 3 else array  # OpenCV's order is blue, green, red
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


def _encode(path: Path, array: np.ndarray, suffix: str) -> None:
    if array.shape[2] == 1:
        array = array[:, :, 0]
    elif array.dtype == np.uint16:
        import cv2

        done, data = cv2.imencode(suffix, array[..., ::-1])
        assert done, f"OpenCV cannot encode {array.shape} {array.dtype} as {suffix}"
        path.write_bytes(data.tobytes())
        return
    options = {
        ".jpg": {"quality": 95, "subsampling": 0},
        ".webp": {"lossless": True},
        ".tif": {"compression": "tiff_lzw"},
    }
    options |= {".jpeg": options[".jpg"], ".tiff": options[".tif"]}
    Image.fromarray(array).save(path, **options.get(suffix, {}))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
