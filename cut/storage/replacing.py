"""Gives a file its name, also where another program has the old one open."""

import contextlib
import errno
import os
import time
from pathlib import Path

_SECONDS, _PAUSE_SECONDS = 5.0, 0.1  # a virus scanner or an indexer is done by then
_ON_WINDOWS = os.name == "nt"


def replace(source: Path, target: Path) -> None:
    """As `os.replace`. On Windows, which replaces no file that is open elsewhere, it is tried again for some seconds.

    Raises:
        PermissionError: the file stays open; its `strerror` says so.
        OSError: anything else.
    """
    deadline = time.monotonic() + (_SECONDS if _ON_WINDOWS else 0.0)
    while True:
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if not _ON_WINDOWS:
                raise
            if time.monotonic() > deadline:
                why = "it may not be written, or another program has it open; close it there"
                raise PermissionError(errno.EACCES, why, str(target)) from None
            time.sleep(_PAUSE_SECONDS)


def name_file(error: OSError, path: Path, temporary: Path) -> None:
    """Gives an error the name of the file that is to be written, where it has none, or one at or in `temporary`."""
    if error.strerror and (error.filename is None or str(error.filename).startswith(str(temporary))):
        error.filename = str(path)


def remove_if_free(path: Path) -> None:
    """Deletes a file that is not needed any more; one that is open elsewhere, or may not be deleted, stays."""
    with contextlib.suppress(OSError):
        path.unlink()
