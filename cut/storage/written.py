"""Which files this program wrote itself, so that it overwrites and deletes no others.

Each folder keeps a list of what was written into it, `.cut-written`: a line of JSON per file with its name, size in
bytes, time of change in ns and digest. The line comes before the file, so that a kill between the two leaves no file
that would count as somebody else's. A file is ours where a line says what it is now: the user may have changed it, or
put another one in its place.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import stat
import threading
from collections.abc import Iterable
from pathlib import Path

LIST = ".cut-written"
# Short, so that a name of 255 bytes, the most that file systems take, still has a temporary one; and like no other.
_TEMPORARY = re.compile(r"\.cut-[0-9a-f]{16}\.part")
_FOREIGN = "it is there already, and this program did not write it, or it was changed since"
_BLOCK_BYTES, _HEAD_BYTES = 1 << 20, 256
# For os.open: neither a link, which would lead elsewhere, nor a pipe, which would hang; and bytes as they are.
SAFE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_Line = tuple[str, int, int, str]  # name, size, time, digest


class _Folder:
    """The list of one folder, as far as it was read; other processes may add to it."""

    def __init__(self, folder: Path):
        self.path = folder / LIST
        self._forget()

    def _forget(self) -> None:
        self._head, self._offset = b"", 0
        self.files: dict[str, set[tuple[int, int, str]]] = {}  # name -> (size, time, digest) of what was written

    def read(self) -> None:
        """Takes in what was added."""
        try:
            file = os.fdopen(os.open(self.path, os.O_RDONLY | SAFE), "rb")
        except OSError:  # none, or no list of ours: then nothing in this folder is
            self._forget()
            return
        with file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return
            # A new list may have the inode of a deleted one, and be as long; but its first line says another time.
            if file.read(len(self._head)) != self._head:
                self._forget()
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):  # cut off by a kill, or not whole yet
                    break
                self._offset += len(line)
                with contextlib.suppress(ValueError, TypeError, RecursionError):
                    name, size, time, digest = json.loads(line)
                    self.files.setdefault(name, set()).add((size, time, digest))
            file.seek(0)
            self._head = file.read(min(self._offset, _HEAD_BYTES))

    def add(self, lines: Iterable[_Line], flush_to_disk: bool) -> None:
        """Writes lines; each begins anew, because the last one there may have been cut off."""
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | SAFE, 0o666)
        try:
            os.write(file, b"".join(b"\n" + json.dumps(line).encode() + b"\n" for line in lines))
            if flush_to_disk:
                os.fsync(file)
        finally:
            os.close(file)


_folders: dict[str, _Folder] = {}
_lock = threading.Lock()


def is_foreign(path: Path) -> bool:
    """Whether there is something at `path` that this program did not write, or that was changed since."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    if not stat.S_ISREG(found.st_mode):
        return True
    with _lock:
        folder = _folder(path.parent)
        folder.read()
        known = set(folder.files.get(path.name, ()))
    if any((size, time) == (found.st_size, found.st_mtime_ns) for size, time, _ in known):
        return False
    digests = {digest for size, _, digest in known if size == found.st_size}
    return not digests or _digest(path) not in digests  # a copy has another time


def require_own(path: Path) -> None:
    """Refuses to overwrite what is foreign.

    Raises:
        FileExistsError: it is; its `strerror` says so in words.
    """
    if is_foreign(path):
        raise FileExistsError(errno.EEXIST, _FOREIGN, str(path))


def record(path: Path, content: Path, flush_to_disk: bool = False) -> None:
    """Says that the file `content` is what will stand at `path` in a moment.

    Raises:
        OSError: the list cannot be written, or `content` cannot be read.
    """
    _add(path.parent, [_line(path.name, content)], flush_to_disk)


def adopt(paths: Iterable[Path]) -> None:
    """Counts files as ours from now on: those of earlier versions, which kept no list, or with the user's consent."""
    by_folder: dict[Path, list[_Line]] = {}
    for path in paths:
        if path.is_file() and not path.is_symlink():
            by_folder.setdefault(path.parent, []).append(_line(path.name, path))
    for folder, lines in by_folder.items():
        _add(folder, lines)


def remove_own(folder: Path) -> list[Path]:
    """Deletes what this program wrote below a folder into which no other process writes now.

    Returns:
        The files that stay, because they are foreign.

    Raises:
        OSError: a file cannot be deleted.
    """
    foreign: list[Path] = []
    for root, _, names in os.walk(folder):
        for path in (Path(root) / name for name in names if name != LIST):
            if not is_leftover(path.name) and is_foreign(path):
                foreign.append(path)
            else:
                path.unlink()
        if LIST in names:  # last, so that a kill leaves nothing that is unknown
            (Path(root) / LIST).unlink()
    return foreign


def temporary_name() -> str:
    """A name for a file that is not whole yet, which nobody else has."""
    return f".cut-{secrets.token_hex(8)}.part"


def is_leftover(name: str) -> bool:
    """Whether a file's name is a temporary one, so that the file was left by a kill, or is just being written."""
    return _TEMPORARY.fullmatch(name) is not None


def remove_leftovers(folder: Path) -> None:
    """Deletes what a killed process left half written in a folder into which nobody writes now."""
    with contextlib.suppress(OSError):
        for path in [Path(entry) for entry in os.scandir(folder) if is_leftover(entry.name)]:
            path.unlink(missing_ok=True)


def _folder(path: Path) -> _Folder:
    whole = os.path.abspath(path)
    return _folders.setdefault(whole, _Folder(Path(whole)))


def _add(folder: Path, lines: list[_Line], flush_to_disk: bool = False) -> None:
    with _lock:
        _folder(folder).add(lines, flush_to_disk)


def _line(name: str, content: Path) -> _Line:
    found = content.stat()
    return name, found.st_size, found.st_mtime_ns, _digest(content)


def _digest(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
