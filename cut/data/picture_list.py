"""What pictures a run learns from, in a few bytes: kept with the run, and compared between its processes.

A list is `{folder: [number of pictures, digest]}`, plain values as a checkpoint holds them.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cut.errors import shortened

PictureList = dict[str, list[Any]]
_FOLDERS_SHOWN = 6
OTHER_RUN = "so the run is no longer the one that began"  # the end of a remark on a resumed run whose list has changed


def entry_of_files(paths: Sequence[Path], root: Path) -> list[Any]:
    """Number of pictures, and a digest of their names below `root` and of their sizes in bytes.

    What is inside is not read, which would take as long as an epoch: a picture that gives way to another one of the
    same name and the same number of bytes is not noticed.
    """
    names_and_sizes = (f"{path.relative_to(root).as_posix()}\0{_size(path)}\0" for path in paths)
    return [len(paths), _digest(text.encode("utf-8", "surrogateescape") for text in names_and_sizes)]


def entry_of_content(count: int, content: bytes | memoryview) -> list[Any]:
    """Number of pictures, and a digest of what is inside, where that is one file."""
    return [count, _digest([content])]


def changes_of_pictures(before: Any, now: PictureList) -> list[str]:
    """What differs between two lists, a text for each folder, such as `trainA: 2 -> 5 pictures`, and how many more.

    Args:
        before: List, as a checkpoint holds it. What is none, as in checkpoints of old versions, differs in nothing.
        now: List of today; an empty one says nothing either.
    """
    known = {str(name): entry for name, entry in before.items() if _is_entry(entry)} if isinstance(before, dict) else {}
    changes = []
    for name in dict.fromkeys([*known, *now]) if known and now else []:
        (old, old_digest), (new, new_digest) = (entries.get(name, [0, ""]) for entries in (known, now))
        if old != new:
            changes.append(f"{shortened(name)}: {old} -> {new} pictures")
        elif old_digest != new_digest:
            changes.append(f"{shortened(name)}: as many pictures as before ({new}), but other ones")
    more = len(changes) - _FOLDERS_SHOWN
    return [*changes[:_FOLDERS_SHOWN], *([f"and {more} more folders"] if more > 0 else [])]


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, list) and [type(part) for part in entry] == [int, str] and 0 <= entry[0] < 2**63


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError:  # reported when it is read
        return -1


def _digest(parts: Iterable[bytes | memoryview]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
