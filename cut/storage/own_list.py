"""One list of what this program wrote, see `cut.storage.written`."""

import contextlib
import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path

# For os.open: neither a link, which would lead elsewhere, nor a pipe, which would hang; and bytes as they are.
SAFE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
Known = tuple[int, int, str, str | None]  # size, time, digest, kind; None in lists of earlier versions: any
Line = tuple[str, int, int, str, str | None]
_HEAD_BYTES = 256


class OwnList:
    """A list, as far as it was read; other processes may add to it."""

    def __init__(self, path: Path):
        self.path = path
        self.forget()

    def forget(self) -> None:
        self._head, self._offset = b"", 0
        self.files: dict[str, set[Known]] = {}  # name -> what was written

    def read(self) -> None:
        """Takes in what was added."""
        try:
            file = os.fdopen(os.open(self.path, os.O_RDONLY | SAFE), "rb")
        except OSError:  # none, or no list of ours: then nothing in this folder is
            self.forget()
            return
        with file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return
            # A new list may have the inode of a deleted one, and be as long; but its first line says another time.
            if file.read(len(self._head)) != self._head:
                self.forget()
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):  # cut off by a kill, or not whole yet
                    break
                self._offset += len(line)
                with contextlib.suppress(ValueError, TypeError, RecursionError):
                    name, size, time, digest, *kind = json.loads(line)
                    self.files.setdefault(name, set()).add((size, time, digest, kind[0] if kind else None))
            file.seek(0)
            self._head = file.read(min(self._offset, _HEAD_BYTES))

    def add(self, lines: Iterable[Line], flush_to_disk: bool) -> None:
        """Writes lines; each begins anew, because the last one there may have been cut off."""
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | SAFE, 0o666)
        try:
            os.write(file, b"".join(b"\n" + json.dumps(line).encode() + b"\n" for line in lines))
            if flush_to_disk:
                os.fsync(file)
        finally:
            os.close(file)
