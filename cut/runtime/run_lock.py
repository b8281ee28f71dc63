"""One process at a time that writes into a directory: one training per run, one comparison per output."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cut.errors import UserError, reason
from cut.storage.own_list import SAFE
from cut.storage.written import remove_leftovers

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # a module or None

_FILE = ".lock"
_WRITTEN = (".", "checkpoints", "samples")  # folders that a training alone writes


@contextmanager
def run_lock(
    folder: Path, activity: str = "training", option: str = "--run-dir", written: Sequence[str] = _WRITTEN
) -> Iterator[None]:
    """Inside, no other process that asks for the lock gets it; the system lets it go even where this one is killed.

    Where the system or the file system has no such locks (Windows, some network disks), nothing is locked.

    Args:
        folder: Directory to lock; it is made.
        activity: What the holder of the lock does, for errors.
        option: The option that names the directory, for errors.
        written: Folders in it that the holder alone writes, in which a killed one may have left temporary files.

    Raises:
        UserError: another process holds the lock; or the directory cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder / _FILE, os.O_RDWR | os.O_CREAT | SAFE, 0o666)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({reason(error)}); choose another {option}") from None
    try:
        if holder := _take(file):
            raise UserError(f"{folder}: {holder} is {activity} here; wait for it, stop it, or choose another {option}")
        _sign(file)
        for part in written:
            remove_leftovers(folder / part)
        yield
    finally:
        os.close(file)  # which lets the lock go; the file stays, for deleting it could let two others in


def lock_holder(folder: Path) -> str | None:
    """Who holds the lock of a directory, such as `another process (pid 7)`; None where nobody does."""
    try:
        file = os.open(folder / _FILE, os.O_RDWR | SAFE)
    except OSError:
        return None
    try:
        return _take(file)
    finally:
        os.close(file)


def _take(file: int) -> str | None:
    """Takes the lock, until the file is closed; or returns who has it."""
    if fcntl is None:
        return None
    try:
        # Not flock, whose locks forked loader workers share, and so keep for seconds after this process is killed.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        holder = os.read(file, 32).decode(errors="replace").strip()
        return f"another process{f' ({holder})' if holder.startswith('pid ') else ''}"
    except OSError:  # a file system without locks
        pass
    return None


def _sign(file: int) -> None:
    """Writes down who holds the lock; not into somebody's own file of that name, which can be locked all the same."""
    if os.read(file, 4) in (b"", b"pid "):
        os.ftruncate(file, 0)
        os.lseek(file, 0, os.SEEK_SET)
        os.write(file, f"pid {os.getpid()}".encode())
