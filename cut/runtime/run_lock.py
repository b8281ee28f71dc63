"""One training per run directory."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cut.errors import UserError, reason
from cut.storage.written import SAFE, remove_leftovers

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # a module or None

_FILE = ".lock"
_MOST_BYTES = 32
_WRITTEN = (".", "checkpoints", "samples")  # folders that a training alone writes


@contextmanager
def run_lock(run_dir: Path) -> Iterator[None]:
    """Inside, no other process that asks for the lock gets it; the system lets it go even where this one is killed.

    Where the system or the file system has no such locks (Windows, some network disks), nothing is locked.

    Raises:
        UserError: another process trains here; or the directory cannot be written, or has a lock of somebody else's.
    """
    path = run_dir / _FILE
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise UserError(f"{path}: is a link or no regular file; remove it, or choose another --run-dir")
        file = os.open(path, os.O_RDWR | os.O_CREAT | SAFE, 0o666)
    except OSError as error:
        raise UserError(f"{run_dir}: cannot be written ({reason(error)}); choose another --run-dir") from None
    try:
        content = os.read(file, _MOST_BYTES)
        if content and not re.fullmatch(rb"pid \d+", content):
            raise UserError(f"{path}: is no lock of a training; rename it, or choose another --run-dir")
        _take(file, run_dir)
        for folder in _WRITTEN:
            remove_leftovers(run_dir / folder)
        yield
    finally:
        os.close(file)  # which lets the lock go; the file stays, for deleting it could let two others in


def _take(file: int, run_dir: Path) -> None:
    if fcntl is None:
        return
    try:
        # Not flock, whose locks forked loader workers share, and so keep for seconds after this process is killed.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        holder = os.pread(file, _MOST_BYTES, 0).decode(errors="replace")
        raise UserError(
            f"{run_dir}: another process{f' ({holder})' if holder else ''} is training here; wait for it, stop it, or "
            "choose another --run-dir"
        ) from None
    except OSError:  # a file system without locks
        return
    os.ftruncate(file, 0)
    os.pwrite(file, f"pid {os.getpid()}".encode(), 0)
