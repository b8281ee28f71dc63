"""How large a picture this process reads, in pixels and in bytes: a small file can claim any size."""

import math

from PIL import Image

from cut.data.numbers import Numbers
from cut.errors import UserError

_MOST_BYTES_PER_PIXEL, _MOST_OTHER_BYTES = 8, 64_000_000  # of a file: four channels of 16 bits, and what describes them


def set_max_megapixels(megapixels: float) -> None:
    """Sets how large a picture this process reads.

    Pillow's own setting is used, so that its other readers keep to it too; it refuses twice what it is set to.
    """
    Image.MAX_IMAGE_PIXELS = max(1, int(megapixels * 1e6 / 2))


def max_megapixels() -> float:
    """The bound in force."""
    return (Image.MAX_IMAGE_PIXELS or math.inf) * 2 / 1e6  # None: another part of the process wants no bound


def check_size(found: Numbers) -> None:
    """Refuses numbers of too many pixels or bytes before they are decoded: a file of 200 bytes can claim any number.

    Raises:
        DecompressionBombError: They are more pixels than a picture may have, as Pillow says it.
        UserError: They are more bytes than a file of so many pixels may have; the line lacks the file's name.
    """
    height, width, count = found.shape
    if height * width > max_megapixels() * 1e6:
        raise Image.DecompressionBombError(f"larger than {max_megapixels():g} megapixels")
    if (num_bytes := height * width * count * found.dtype.itemsize) > most_bytes():
        raise UserError(
            f"refused, because {count} bands of {width}x{height} px in {found.dtype.name} are {num_bytes} bytes, more "
            f"than a picture of {max_megapixels():g} megapixels has, the bound of --max-megapixels and "
            "data.max_megapixels"
        )


def most_bytes() -> float:
    """The largest size of a picture file, and of the numbers in one."""
    return max_megapixels() * 1e6 * _MOST_BYTES_PER_PIXEL + _MOST_OTHER_BYTES
