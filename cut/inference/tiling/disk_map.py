"""A feature map on disk."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from cut.errors import UserError, reason
from cut.inference.tiling.nodes import Node, Region


class DiskMap:
    """The map of a node, in a file that has no name and is gone with the process, however it ends.

    Read and written row by row, channels last, and not mapped into memory: mapped pages would count as the process's
    own, and a full disk would kill it.
    """

    def __init__(self, folder: Path, node: Node):
        self.node = node
        self._row_bytes = node.num_bytes // node.size[0]
        try:
            with contextlib.ExitStack() as undo:
                self._file = undo.enter_context(tempfile.TemporaryFile(dir=folder, buffering=0))
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(self._file.fileno(), 0, node.num_bytes)  # fails at once where there is no room
                undo.pop_all()
        except OSError as error:
            raise UserError(f"{folder}: cannot keep maps of the tiles there ({reason(error)})") from None

    def write(self, region: Region, tile: Tensor) -> None:
        """Puts `(1, C, h, w)` in its place."""
        rows = tile[0].to(self.node.dtype).permute(1, 2, 0).contiguous().cpu()  # (h, w, C)
        self._each_run(region, rows, self._file.write)

    def read(self, region: Region, device: torch.device) -> Tensor:
        """`(1, C, h, w)`, channels last in memory."""
        (top, bottom), (left, right) = region
        rows = torch.empty(bottom - top, right - left, self.node.channels, dtype=self.node.dtype)
        self._each_run(region, rows, self._file.readinto)
        return rows.permute(2, 0, 1)[None].to(device)

    def close(self) -> None:
        """Gives the room back."""
        self._file.close()

    def _each_run(self, region: Region, rows: Tensor, transfer: Callable[[memoryview], int | None]) -> None:
        """Calls `transfer` with each stretch of bytes that lie together in the file."""
        (top, _), (left, right) = region
        pixel_bytes = self._row_bytes // self.node.size[1]
        data = rows.view(torch.uint8).numpy().data.cast("B")
        length = pixel_bytes * (right - left)
        if length == self._row_bytes:  # whole rows
            length *= len(rows)
        for number, start in enumerate(range(0, len(data), length)):
            self._file.seek((top + number) * self._row_bytes + left * pixel_bytes)
            done = 0
            while done < length:
                count = transfer(data[start + done : start + length])
                if not count:
                    raise OSError(errno.EIO, os.strerror(errno.EIO), "the tiles' file")
                done += count


def check_room(folder: Path, needed_bytes: int, name: str) -> None:
    """Refuses what `folder` has no room for.

    Raises:
        UserError: so it is; `name` is the picture's.
    """
    stat = os.statvfs(folder) if hasattr(os, "statvfs") else None
    free_bytes = stat.f_bavail * stat.f_frsize if stat else needed_bytes
    if needed_bytes > free_bytes:
        raise UserError(
            f"{name}: --tile-px needs {needed_bytes / 1e9:.1f} GB on the disk of {folder}, where "
            f"{free_bytes / 1e9:.1f} GB are free; make room, name another --output, or give --precision bf16-mixed"
        )
