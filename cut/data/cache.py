"""Scaled pictures kept on disk: decoding and scaling is most of what a sample costs, and the same in every epoch.

Files, for loader workers and later runs share them, and the memory in which the system keeps those that are in use is
free again when others need it. What is read equals what would be made anew, bit for bit, or is not used.
"""

import contextlib
import hashlib
import math
import os
import re
import shutil
import struct
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from cut.config import TransformConfig
from cut.config.bands import Bands
from cut.data import decode
from cut.data.images import read_image
from cut.data.transforms import scaled
from cut.errors import about, reason
from cut.storage.files import open_regular, user_cache, write_entry
from cut.terminal import say

# What decides how pictures are read and scaled besides the config; raise the number when our own code changes.
_VERSION = decode.VERSION, PIL.__version__, torch.__version__, torch.backends.cpu.get_cpu_capability()
_HEADER = struct.Struct("<16sI")  # a digest of what the entry was made from; the checksum of all that follows
_SHAPE = struct.Struct("<4I")  # bytes per number, channels, height, width; then the numbers
_SET = re.compile(r"[0-9a-f]{32}")  # its digest
_IDLE_SECONDS = 600.0  # a set that was not used for so long makes room for others
_TOUCH_SECONDS = 60.0
_MOST_AT_ONCE = 16 * 2**20  # bytes that a process writes before it looks at the sum again


class PictureCache:
    """The scaled pictures of one data set, in a folder of its own, and all sets together at most `cache_mib` large.

    A picture that changes replaces its entry. Where the folder cannot be written, pictures are made anew each time, and
    one line says so.

    Args:
        config: the data set, how its pictures are scaled, and the bound.

    Attributes:
        is_written: whether new pictures are kept.
    """

    def __init__(self, config: TransformConfig):
        self.config, self._most_bytes = config, config.cache_mib * 2**20
        self._is_read = self.is_written = config.cache_mib > 0
        own = (getattr(config, "a", None), getattr(config, "b", None)) if not config.root else ()
        where = [os.path.abspath(folder) for folder in own if folder] or os.path.abspath(config.root)
        recipe = [_VERSION, where, config.preprocess, config.load_px, config.crop_px]
        self._room_bytes = 0  # that this process may write before it looks again
        self._checked: set[str] = set()  # entries whose checksum this process has seen to be right
        self._next_touch = 0.0
        try:
            self._folder = user_cache("pictures") / _digest(recipe).hex()
        except OSError as error:
            self._is_read = False
            self._give_up(error, Path(error.filename))

    def scaled(self, path: Path, channels: int | Bands, whole: bool) -> Tensor:
        """`cut.data.transforms.scaled` of a picture file.

        Raises:
            UserError: it cannot be read.
        """
        recipe = [channels, whole] if isinstance(channels, int) else [channels.count, whole, *(channels.limits or ())]

        def make() -> Tensor:
            picture = read_image(path, channels)
            with about(path):
                return scaled(picture, self.config, whole)

        return self.get([path], recipe, make)

    def get(self, paths: Sequence[Path], recipe: Sequence[Any], make: Callable[[], Tensor]) -> Tensor:
        """What `make` returns, `(C, H, W)` uint8 or float32, from the cache if it is there.

        Args:
            paths: of the files that it is made from.
            recipe: what else decides it, besides the config's scaling.
            make: makes it anew.
        """
        if not self._is_read:
            return make()
        try:
            stats = [os.stat(path) for path in paths]
        except OSError:
            return make()  # says what is wrong
        made_from = _digest([(s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in stats])
        name = _digest([*map(os.path.abspath, paths), *recipe]).hex()
        pixels = self._load(name, made_from)
        if pixels is None:
            pixels = make()
            if self.is_written:
                self._save(name, made_from, pixels)
        return pixels

    def _load(self, name: str, made_from: bytes) -> Tensor | None:
        """An entry, if it is there, whole, and of this very file."""
        try:
            with open_regular(self._folder / name) as file:
                if not _HEADER.size + _SHAPE.size < os.fstat(file.fileno()).st_size <= self._most_bytes:
                    return None
                data = np.fromfile(file, dtype=np.uint8)
            self._touch()
        except OSError:
            return None
        origin, checksum = _HEADER.unpack_from(data.data)
        if origin != made_from:
            return None
        if name not in self._checked:  # once is enough: it finds what a crash of the machine left
            if zlib.crc32(data[_HEADER.size :].data) != checksum:
                return None
            self._checked.add(name)
        size, *shape = _SHAPE.unpack_from(data.data, _HEADER.size)
        numbers = data[_HEADER.size + _SHAPE.size :]
        if size not in (1, 4) or math.prod(shape) * size != len(numbers):
            return None
        return torch.from_numpy(numbers if size == 1 else numbers.view(np.float32)).view(shape)

    def _save(self, name: str, made_from: bytes, pixels: Tensor) -> None:
        numbers = pixels.numpy().reshape(-1).view(np.uint8)
        shape = _SHAPE.pack(pixels.element_size(), *pixels.shape)
        header = _HEADER.pack(made_from, zlib.crc32(numbers.data, zlib.crc32(shape))) + shape
        try:
            if len(numbers) > self._room_bytes:
                self._room_bytes = self._find_room()
                self.is_written = len(numbers) <= self._room_bytes
            if self.is_written:
                write_entry(self._folder / name, lambda file: (file.write(header), file.write(numbers.data)))
                self._room_bytes -= len(numbers)
        except OSError as error:
            self._give_up(error, self._folder)

    def _give_up(self, error: OSError, folder: Path) -> None:
        """Writes no more, and says so once."""
        worker, was_written, self.is_written = get_worker_info(), self.is_written, False
        if was_written and (worker is None or worker.id == 0):
            say(
                f"data.cache_mib: {folder}: pictures cannot be kept there ({reason(error)}), which costs speed "
                "alone; set XDG_CACHE_HOME to another folder, or data.cache_mib=0"
            )

    def _find_room(self) -> int:
        """Bytes for this process: a part of what is left, for others write too. Sets that nobody uses make room."""
        self._folder.mkdir(parents=True, exist_ok=True)
        sizes = {}
        for folder in filter(_is_set, self._folder.parent.iterdir()):
            with contextlib.suppress(OSError):  # another process deletes it
                sizes[folder.stat().st_mtime, folder] = sum(map(_size, os.scandir(folder)))
        total = sum(sizes.values())
        for (used, folder), size in sorted(sizes.items()):
            is_idle = folder != self._folder and time.time() - used > _IDLE_SECONDS
            if is_idle and total > self._most_bytes * 7 // 8:
                shutil.rmtree(folder, ignore_errors=True)
                total -= size
        return min(self._most_bytes - total, shutil.disk_usage(self._folder).free // 2, 4 * _MOST_AT_ONCE) // 4

    def _touch(self) -> None:
        """Says that the set is in use."""
        if time.monotonic() > self._next_touch:
            self._next_touch = time.monotonic() + _TOUCH_SECONDS
            with contextlib.suppress(OSError):  # a cache that may only be read
                os.utime(self._folder)


def _is_set(folder: Path) -> bool:
    """Whether a folder's name is that of a data set here: nothing else is counted, or deleted."""
    return _SET.fullmatch(folder.name) is not None


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except OSError:  # another process has just renamed it
        return 0


def _digest(values: Sequence[Any]) -> bytes:
    return hashlib.blake2b(repr(values).encode(), digest_size=16).digest()
