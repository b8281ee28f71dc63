"""The user's cache folder, and files in it that several processes write at once."""

import contextlib
import os
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any


def user_cache(name: str) -> Path:
    """`cut/<name>` in the user's cache folder: `$XDG_CACHE_HOME`, or `.cache` in the home folder.

    A user without a home has the folder for temporary files instead.
    """
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "cut" / name
    try:
        return Path.home() / ".cache" / "cut" / name
    except RuntimeError:
        return Path(tempfile.gettempdir()) / "cut" / name


def write_whole(path: Path, write: Callable[[Any], object]) -> None:
    """Writes a file whole or not at all, whoever else writes it at the same time; makes its folder.

    Args:
        path: of the file; replaced if it exists.
        write: is given the open file.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.part")
    try:
        with open(temporary, "wb") as file:
            write(file)
        try:
            os.replace(temporary, path)
        except PermissionError:  # Windows, while another process reads the same entry: theirs is as good
            if not path.exists():
                raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
