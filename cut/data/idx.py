"""Sets in the IDX format of MNIST and its relatives (Y. LeCun, "The MNIST database", section "file formats").

A file is a header, big-endian: two zero bytes, the type of its numbers (8: unsigned bytes), the number of dimensions,
and each dimension in 4 bytes; then the numbers, the last dimension fastest.
"""

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from cut.config import IDXDataConfig
from cut.data.picture_list import PictureList, entry_of_content
from cut.data.stream import SampleStream, noise_rows
from cut.data.transforms import resized, to_float
from cut.datasets.catalogue import fetch_command
from cut.errors import UserError, reason
from cut.storage.files import open_regular

MAX_BYTES = 4_000_000_000  # of numbers in a file, unless the config says otherwise; MNIST has 47 million
_BLOCK_BYTES = 1 << 20
_UNSIGNED_BYTE = 8


class IDXStream(SampleStream):
    """Every picture of the file once per epoch, in an order that depends on (seed, n) alone.

    Args:
        config: the file and the images' size.
        seed: of the run.
        batches_per_step: that a step of training takes.

    Raises:
        UserError: the file is missing or broken.
    """

    config: IDXDataConfig

    def __init__(self, config: IDXDataConfig, seed: int, batches_per_step: int = 1):
        super().__init__(config, seed, batches_per_step)
        max_bytes = int(config.max_megapixels * 1e6)
        self.pictures = read_idx(_find(config), num_dimensions=3, max_bytes=max_bytes)  # (count, H, W)
        self.num_pictures = len(self.pictures)

    def __getitem__(self, n: int) -> dict[str, Any]:
        """`real` `(C, H, W)` in [-1, 1]."""
        picture = np.repeat(self.pictures[self.picture_of(n)][:, :, None], self.config.num_channels, axis=2)
        return {"real": to_float(resized(picture, (self.config.crop_px, self.config.crop_px)))}

    def picture_list(self) -> PictureList:
        # Files of this kind have a size that depends on the number of pictures alone.
        return {"pictures": entry_of_content(self.num_pictures, self.pictures.reshape(-1).data)}

    def fixed_samples(self, count: int) -> list[dict[str, Any]]:
        return noise_rows(count)


def is_idx(path: Path) -> bool:
    """Whether a file's name says that it is one."""
    return path.name.removesuffix(".gz").endswith(("-ubyte", ".idx"))


def read_idx(path: Path, num_dimensions: int | None = None, max_bytes: int = MAX_BYTES) -> np.ndarray:
    """All numbers of one file, packed (.gz) or not.

    Args:
        path: of the file.
        num_dimensions: 3 for pictures `(count, H, W)`, 1 for labels; None takes any.
        max_bytes: refuse more numbers than this: a packed file of some kilobytes can hold any.

    Returns:
        uint8, of the header's shape.

    Raises:
        UserError: the file is missing, of another kind, or its length does not fit its header.
    """
    try:
        with open_regular(path) as raw, gzip.open(raw) if path.suffix == ".gz" else raw as file:
            shape = _read_shape(file, num_dimensions, max_bytes)
            expected = math.prod(shape)
            data = bytearray()  # it grows with what arrives, whatever the header promises
            while len(data) <= expected and (block := file.read(min(_BLOCK_BYTES, expected + 1 - len(data)))):
                data += block
        if len(data) != expected:
            got = f"{len(data)} bytes follow" if len(data) < expected else "more follow"
            raise ValueError(f"its header promises {'x'.join(map(str, shape))} = {expected} bytes, {got}")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error, ValueError) as error:  # gzip.BadGzipFile is an OSError
        raise UserError(
            f"{path}: not a whole IDX file of unsigned bytes ({reason(error)}); delete it and fetch it again"
        ) from None
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)


def _read_shape(file: Any, num_dimensions: int | None, max_bytes: int) -> tuple[int, ...]:
    """Reads the header, of which nothing is believed that the format does not allow."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise ValueError(f"it begins with the bytes '{magic.hex(' ')}' instead of '00 00 08'")
    kind, dimensions = magic[2], magic[3]
    if kind != _UNSIGNED_BYTE:
        raise ValueError(f"its numbers are of type {kind:#04x} instead of 0x08")
    if dimensions not in (1, 2, 3) or num_dimensions not in (None, dimensions):
        raise ValueError(f"it has {dimensions} dimensions instead of {num_dimensions or '1 to 3'}")
    sizes = file.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise ValueError("it ends inside its header")
    shape = tuple(int(size) for size in np.frombuffer(sizes, dtype=">u4"))
    if not 0 < math.prod(shape) <= max_bytes:
        bound = f"1 to {max_bytes}, the bound of data.max_megapixels"
        raise ValueError(f"its header promises {'x'.join(map(str, shape))} bytes; allowed: {bound}")
    return shape


def _find(config: IDXDataConfig) -> Path:
    """The file of the config's pictures."""
    root, command = Path(config.root), fetch_command(config.root)
    # Some collections have a dot in the place of the second hyphen.
    names = [f"{config.split}-images{mark}idx3-ubyte{suffix}" for mark in "-." for suffix in ("", ".gz")]
    found = next((root / name for name in names if (root / name).is_file()), None)
    if found:
        return found
    how = f"fetch it with: {command}" if command else "set data.root to a folder of IDX files"
    if not root.is_dir():
        raise UserError(f"data.root: {root}: {'is no folder' if root.exists() else 'no such folder'}; {how}")
    splits = sorted({path.name.partition("-images")[0] for path in root.glob("*-images[-.]idx3-ubyte*")})
    if splits:
        how = f"data.split can be {' or '.join(splits)} here"
    raise UserError(f"data.split: {root} holds neither {names[0]} nor {names[1]}; {how}")
