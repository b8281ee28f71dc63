"""Sets in the IDX format of MNIST and its relatives (Y. LeCun, "The MNIST database", section "file formats").

A file is a header, big-endian: two zero bytes, the type of its numbers (8: unsigned bytes), the number of dimensions,
and each dimension in 4 bytes; then the numbers, the last dimension fastest.
"""

import gzip
import math
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cut.config import IDXDataConfig
from cut.data.images import evenly_chosen
from cut.data.picture_list import PictureList, entry_of_content
from cut.data.stream import SampleStream, noise_rows
from cut.data.transforms import resized, to_float
from cut.datasets.catalogue import fetch_command
from cut.errors import UserError, reason
from cut.storage.files import open_regular

MAX_BYTES = 4_000_000_000  # of numbers in a file, unless the config says otherwise; MNIST has 47 million
_BLOCK_BYTES = 1 << 20
_UNSIGNED_BYTE = 8
_NUMBERS = {8: "unsigned bytes", 9: "signed bytes", 11: "16-bit integers", 12: "32-bit integers"}
_NUMBERS |= {13: "32-bit floats", 14: "64-bit floats"}
_NAME = re.compile(r".+-images[-.]idx3-ubyte(\.gz)?")
_SHOWN = 5  # splits that an error names


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
        path, command = _find(config), fetch_command(config.root)
        try:
            self.pictures = read_idx(path, num_dimensions=3, max_bytes=max_bytes)  # (count, H, W)
        except UserError as error:
            again = f"; for the published files delete {config.root} and run: {command}" if command else ""
            raise UserError(f"{error}{again}") from None
        self.num_pictures = len(self.pictures)
        self.labels = read_labels(config, path, self.num_pictures) if config.classes else None

    @classmethod
    def find_classes(cls, config: IDXDataConfig) -> tuple[str, ...]:  # type: ignore[override]
        """The labels, from 0 to the largest."""
        path = _find(config)
        labels = read_labels(config, path, _shape_of(path, 3)[0])
        return tuple(str(label) for label in range(int(labels.max()) + 1))

    def __getitem__(self, n: int) -> dict[str, Any]:
        """`real` `(C, H, W)` in [-1, 1], and `label` where the config has classes."""
        place = self.picture_of(n)
        label = {} if self.labels is None else {"label": torch.tensor(int(self.labels[place]))}
        return {"real": self._image(place), **label}

    def _image(self, place: int) -> Tensor:
        picture = np.repeat(self.pictures[place][:, :, None], self.config.num_channels, axis=2)
        return to_float(resized(picture, (self.config.crop_px, self.config.crop_px)))

    def picture_list(self) -> PictureList:
        # Files of this kind have a size that depends on the number of pictures alone.
        return {"pictures": entry_of_content(self.num_pictures, self.pictures.reshape(-1).data)}

    def fixed_samples(self, count: int) -> list[dict[str, Any]]:
        if self.labels is None or self.config.classes is None:
            return noise_rows(count)
        labels, names = self.labels.tolist(), self.config.classes
        by_class = sorted(range(self.num_pictures), key=lambda place: labels[place])
        return [
            {"real_a": self._image(place), "label": torch.tensor(labels[place]), "name": names[labels[place]]}
            for place in evenly_chosen(by_class, count)
        ]


def read_labels(config: IDXDataConfig, pictures: Path, count: int) -> np.ndarray:
    """The labels `(count,)` beside a file of pictures.

    Args:
        config: Data that they belong to.
        pictures: File of the pictures.
        count: Number of pictures.

    Raises:
        UserError: They are missing or damaged, too many or too few, or one has no name in `data.classes`.
    """
    name = pictures.name.removesuffix(".gz").replace("-images", "-labels").replace("idx3", "idx1")
    names = (name, f"{name}.gz")
    path = next((pictures.with_name(n) for n in names if pictures.with_name(n).is_file()), pictures.with_name(name))
    if (found := _shape_of(path, 1)[0]) != count:  # before they are read: a small packed file can hold any number
        raise UserError(f"{path}: holds {found} labels for {count} pictures; take the two files of one set")
    labels = read_idx(path, num_dimensions=1)
    if config.classes and labels.max() >= len(config.classes):
        raise UserError(
            f"data.classes: has {len(config.classes)} names, but {path} a label {labels.max()}; name all, or leave it "
            "out"
        )
    return labels


def is_idx(path: Path) -> bool:
    """Whether a file's name says that it is one."""
    return path.name.removesuffix(".gz").endswith(("-ubyte", ".idx"))


def read_idx(path: Path, num_dimensions: int | None = None, max_bytes: int = MAX_BYTES) -> np.ndarray:
    """All numbers of one file, packed by gzip or not, whatever its name says.

    Args:
        path: File to read.
        num_dimensions: 3 for pictures `(count, H, W)`, 1 for labels; None takes any.
        max_bytes: Most numbers to read: a packed file of some kilobytes can hold any.

    Returns:
        uint8, of the header's shape.

    Raises:
        UserError: the file is missing, of another kind, or its length does not fit its header.
    """
    data = bytearray()  # it grows with what arrives, whatever the header promises
    shape = _read(path, num_dimensions, max_bytes, data.extend)
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)


def measure_idx(path: Path) -> tuple[int, ...]:
    """The shape of one file, of which all numbers are there; they are read, and not kept.

    Raises:
        UserError: see `read_idx`.
    """
    return _read(path, None, MAX_BYTES, lambda block: None)


def _shape_of(path: Path, num_dimensions: int) -> tuple[int, ...]:
    """The shape that a file's header promises."""
    return _read(path, num_dimensions, MAX_BYTES, None)


def _read(
    path: Path, num_dimensions: int | None, max_bytes: int, take: Callable[[bytes], object] | None
) -> tuple[int, ...]:
    """The shape; the numbers go to `take`, and are not read where it is None."""
    try:
        with open_regular(path) as raw:
            packed = raw.read(2) == b"\x1f\x8b"  # some browsers unpack a file and let it keep its name
            raw.seek(0)
            with gzip.open(raw) if packed else raw as file:
                shape = _read_shape(file, num_dimensions, max_bytes, path)
                if take is None:
                    return shape
                expected, count = math.prod(shape), 0
                while count <= expected and (block := file.read(min(_BLOCK_BYTES, expected + 1 - count))):
                    count += len(block)
                    take(block)
        if count != expected:
            got = f"{count} bytes follow" if count < expected else "more follow"
            raise ValueError(f"its header promises {'x'.join(map(str, shape))} = {expected} bytes, {got}")
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error, ValueError) as error:  # gzip.BadGzipFile is an OSError
        raise UserError(f"{path}: not a whole IDX file ({reason(error)}); replace it by a whole one") from None
    return shape


def _read_shape(file: Any, num_dimensions: int | None, max_bytes: int, path: Path) -> tuple[int, ...]:
    """Reads the header, of which nothing is believed that the format does not allow."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _NUMBERS:
        raise ValueError(f"it begins with the bytes '{magic.hex(' ')}' instead of '00 00 08'")
    kind, dimensions = magic[2], magic[3]
    if kind != _UNSIGNED_BYTE:
        raise UserError(f"{path}: holds {_NUMBERS[kind]}, and only unsigned bytes are read; scale them to 0 to 255")
    if dimensions not in (1, 2, 3) or num_dimensions not in (None, dimensions):
        raise UserError(
            f"{path}: has {dimensions} dimensions instead of {num_dimensions or '1 to 3'}; gray pictures have 3"
        )
    sizes = file.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise ValueError("it ends inside its header")
    shape = tuple(int(size) for size in np.frombuffer(sizes, dtype=">u4"))
    if not math.prod(shape):
        raise UserError(f"{path}: holds no number ({'x'.join(map(str, shape))})")
    if math.prod(shape) > max_bytes:
        raise UserError(
            f"{path}: its header promises {'x'.join(map(str, shape))} bytes, more than {max_bytes}, the bound of "
            "data.max_megapixels"
        )
    return shape


def _find(config: IDXDataConfig) -> Path:
    """The file of the config's pictures: in `root`, or in a folder of its name there, as Kaggle packs it."""
    root, command = Path(config.root), fetch_command(config.root)
    # Some collections have a dot in the place of the second hyphen.
    names = [f"{config.split}-images{mark}idx3-ubyte{suffix}" for mark in "-." for suffix in ("", ".gz")]
    places = [root, *(root / name for name in names)]
    found = next((place / name for place in places for name in names if (place / name).is_file()), None)
    if found:
        return found
    how = f"fetch it with: {command}" if command else "set data.root to a folder of IDX files"
    if not root.is_dir():
        raise UserError(f"data.root: {root}: {'is no folder' if root.exists() else 'no such folder'}; {how}")
    below = sorted(path for path in root.rglob("*") if _NAME.fullmatch(path.name) and path.is_file())
    splits = sorted({path.name.partition("-images")[0] for path in below if path.parent == root})
    if splits:
        how = f"data.split can be {' or '.join(splits[:_SHOWN])} here"
    elif below:
        how = f"there is {below[0].name} in {below[0].parent}; set data.root to that folder"
    raise UserError(f"data.split: {root} holds neither {names[0]} nor {names[1]}; {how}")
