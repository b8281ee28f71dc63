"""Colour profiles (ICC): what a picture's numbers mean, where they are not sRGB as everything here takes them to be."""

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

_MOST_BYTES = 4_000_000  # of a profile; those of printers have two million
_MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # a profile's kind of colours -> Pillow's mode
_SAME = 2  # of 255, the most by which sRGB differs from itself through a profile's tables


def to_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """The picture with the colours that its profile says, relative to white and with black kept black.

    Args:
        picture: L, RGB or CMYK.
        profile: From the file, or None.

    Returns:
        L or RGB; L stays L, and a picture without a profile that says something else than sRGB stays as it is, but for
        CMYK, which is converted as well as is known without one.
    """
    found = find_transform(profile, picture.mode) if profile else None
    if not isinstance(found, ImageCms.ImageCmsTransform):
        return picture.convert("RGB") if picture.mode == "CMYK" else picture
    converted = found.apply(picture.convert(found.input_mode))
    return converted.convert("L") if picture.mode == "L" else converted


@lru_cache(maxsize=32)
def find_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | str | None:
    """From a profile's colours to sRGB; None where they are the same, and the reason where the profile cannot be used.

    Args:
        profile: As files hold it.
        mode: Of the picture: L, RGB or CMYK.
    """
    try:
        if len(profile) > _MOST_BYTES:
            return f"of more than {_MOST_BYTES} bytes"
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        kind = opened.profile.xcolor_space
        source = _MODES.get(kind)
        if source is None or (source != mode and (source, mode) != ("RGB", "L")):  # gray may have one for colours
            return f"for {kind.strip()} colours"
        transform = ImageCms.buildTransform(
            opened,
            ImageCms.createProfile("sRGB"),
            source,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except ImportError:  # a Pillow without LittleCMS
        return "not applied by this Pillow"
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return "damaged"
    return None if source != "CMYK" and _is_identity(transform, source) else transform


def _is_identity(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    levels = np.linspace(0, 255, 18).round().astype(np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(18, -1, 3)
    if mode == "L":
        colours = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    picture = Image.fromarray(colours if mode == "RGB" else colours[..., 0])
    return bool(np.abs(np.array(transform.apply(picture)).astype(int) - colours).max() <= _SAME)
