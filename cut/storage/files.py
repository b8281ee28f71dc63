"""The one way to write a file and the one way to open one that others may have put there."""

import contextlib
import errno
import json
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from cut.storage.replacing import replace

# Short, so that a name of 255 bytes, the most that file systems take, still has a temporary one; and like no other.
_TEMPORARY = re.compile(r"\.cut-[0-9a-f]{16}\.part")
Content = str | bytes | Callable[[IO[bytes]], object]


def write_whole(path: Path, content: Content, flush_to_disk: bool = False) -> None:
    """Writes a file whole or not at all, whoever else writes it at the same time, and makes its folder.

    A link at `path` is replaced, and what it points to stays as it is. The mode is what the umask says.

    Args:
        path: File to write; replaced if it exists.
        content: Bytes, text (UTF-8), or a function that is given the open file, whose `name` is its path.
        flush_to_disk: Whether the file must survive a failure of the machine right after.

    Raises:
        OSError: the file cannot be written; what was there stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".cut-{secrets.token_hex(8)}.part")
    try:
        with open(temporary, "x+b") as file:  # x: never a file or a link that is there
            if callable(content):
                content(file)
            else:
                # Names of files, and so texts with them, need be no valid text.
                file.write(content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace"))
            if flush_to_disk:
                file.flush()
                os.fsync(file.fileno())
        replace(temporary, path)
        if flush_to_disk and os.name == "posix":
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)  # the new name must reach the disk too
            finally:
                os.close(folder)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()  # what a failure left; a whole file has its own name by now


def write_entry(path: Path, content: Content) -> None:
    """Writes what other processes may write and read at the same time, because its name says all of its content."""
    try:
        write_whole(path, content)
    except PermissionError:  # on Windows, while another process reads the same entry: theirs is as good
        if not path.exists():
            raise


def write_json(path: Path, value: Any, indent: int = 1) -> None:
    """Writes plain values as JSON, as `write_whole` does.

    Raises:
        OSError: the file cannot be written.
        ValueError: a number is not finite, which JSON does not know.
    """
    write_whole(path, json.dumps(value, indent=indent, allow_nan=False) + "\n")


def remove_leftovers(folder: Path) -> None:
    """Deletes what a process that was killed inside `write_whole` left in a folder where nobody else writes."""
    with contextlib.suppress(OSError):
        for path in [Path(entry) for entry in os.scandir(folder) if is_leftover(entry.name)]:
            path.unlink(missing_ok=True)


def is_leftover(name: str) -> bool:
    """Whether a file's name is a temporary one of `write_whole`."""
    return _TEMPORARY.fullmatch(name) is not None


def open_regular(path: str | os.PathLike) -> IO[bytes]:
    """Opens a file for reading; a pipe, which would hang, and a device, which may never end, are refused.

    Raises:
        OSError: the file is missing, cannot be read, or is no regular file; its `strerror` says so in words.
    """
    _require_regular(os.stat(path).st_mode, path)  # first, because opening alone may hang or start a device
    file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _require_regular(os.fstat(file).st_mode, path)  # again, because it may be another one by now
        return os.fdopen(file, "rb")
    except BaseException:
        os.close(file)
        raise


def _require_regular(mode: int, path: str | os.PathLike) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
        what = kinds.get(stat.S_IFMT(mode), "a device")
        raise OSError(errno.EINVAL, f"it is {what}, not a regular file", os.fspath(path))


def user_cache(name: str) -> Path:
    """`cut/<name>` in the user's cache folder: `$XDG_CACHE_HOME`, or `.cache` in the home folder.

    A user without a home has a folder of their own among the temporary files instead, which nobody else can write:
    what others put there would change trainings and scores.

    Raises:
        OSError: that folder belongs to somebody else, or others can use it.
    """
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "cut" / name
    try:
        return Path.home() / ".cache" / "cut" / name
    except RuntimeError:
        return _private_folder() / name


def _private_folder() -> Path:
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"cut-{user}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    is_private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077 and found.st_uid == user
    if not is_private and os.name == "posix":
        raise PermissionError(errno.EPERM, "it is no folder that only this user can use", str(folder))
    return folder
