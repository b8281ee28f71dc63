"""Which pictures a folder holds, and what of it is left out."""

import os
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path

from cut.data.formats import ARRAY_SUFFIX, GET_HEIF, HAS_HEIF, HEIF_SUFFIXES, READ_SUFFIXES
from cut.errors import UserError, reason, shortened

_SUFFIXES_SHOWN, _PATHS_SHOWN = 5, 2
# How names begin that systems, and this program, add by themselves.
_CLUTTER = ("._", ".DS_Store", ".directory", ".localized", ".cut-")


@dataclass
class Listing:
    """The files below a folder.

    Args:
        folder: Where they are.
        paths: Pictures by their names, sorted; links to nowhere count, because reading them says what is wrong. Arrays
            (.npy) are pictures where there are no others.
        others: Suffix -> number of files that are no pictures by their names.
        hidden: Names of files and folders that begin with a dot, but for those that systems add by themselves.
        known_links: Linked folders that lead to a folder that is listed anyway, or to one around it: in a circle.
        unreadable: Folders that cannot be listed -> why.
    """

    folder: Path
    paths: list[Path] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    hidden: list[Path] = field(default_factory=list)
    known_links: list[Path] = field(default_factory=list)
    unreadable: dict[Path, str] = field(default_factory=dict)

    def take(self, path: Path) -> list[os.DirEntry[str]]:
        """Counts the files of one folder, and returns the folders in it, by their names."""
        try:
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except OSError as error:
            self.unreadable[path] = reason(error)
            return []
        folders = []
        for entry in entries:
            suffix = (path / entry.name).suffix.lower()
            if entry.name.startswith("."):
                self.hidden += [path / entry.name] * (not entry.name.startswith(_CLUTTER))
            elif _is_folder(entry):
                folders.append(entry)
            elif suffix in READ_SUFFIXES:
                self.paths.append(path / entry.name)
            else:
                self.others[shortened(suffix, 20) or "(no suffix)"] += 1
        return folders

    def settle(self) -> None:
        """Sorts the pictures, when all are found, and leaves arrays out where they lie beside other pictures."""
        arrays = [path for path in self.paths if path.suffix.lower() == ARRAY_SUFFIX]
        if 0 < len(arrays) < len(self.paths):
            self.paths = [path for path in self.paths if path.suffix.lower() != ARRAY_SUFFIX]
            self.others[ARRAY_SUFFIX] += len(arrays)
        self.paths.sort()

    def left_out(self) -> list[str]:
        """What is not used, in words."""
        return [*describe_others(self.others), *self.passed_over(self.folder)]

    def passed_over(self, root: Path) -> list[str]:
        """What is not looked into, in words, by its path below `root`."""
        found = []
        if self.hidden:
            found.append(f"{_named(self.hidden, root)}, hidden by a dot")
        if self.known_links:
            found.append(f"{_named(self.known_links, root)}, linked to a folder that is listed anyway")
        if self.unreadable:
            why = next(iter(self.unreadable.values()))
            found.append(f"{_named(list(self.unreadable), root)}, which cannot be listed ({why})")
        return found


def list_folder(folder: str | os.PathLike) -> Listing:
    """Everything below `folder`, nested folders and linked ones included.

    Raises:
        UserError: the folder does not exist or is a file.
    """
    folder = Path(folder)
    _require_folder(folder)
    listing, seen = Listing(folder), set[str]()
    waiting, links = [folder], deque[Path]()
    while waiting or links:  # links last, so that a folder is listed under its own path wherever it has one below
        path = waiting.pop() if waiting else links.popleft()
        real = os.path.realpath(path)
        if real in seen or (seen and _is_around(path, folder)):
            listing.known_links.append(path)
            continue
        seen.add(real)
        for entry in listing.take(path):
            (links if entry.is_symlink() else waiting).append(path / entry.name)
    listing.settle()
    return listing


def list_by_top(root: Path) -> dict[str, Listing]:
    """What lies in `root` itself, as `.`, and in each folder there with what is below it; links are followed.

    Raises:
        UserError: the folder does not exist or is a file.
    """
    _require_folder(root)
    found = {".": Listing(root)}
    for entry in found["."].take(root):
        if _is_around(root / entry.name, root):
            found["."].known_links.append(root / entry.name)
        else:
            found[entry.name] = list_folder(root / entry.name)
    found["."].settle()
    return found


def list_images(folder: str | os.PathLike) -> list[Path]:
    """All picture files below `folder`, sorted by path; see `Listing` for what counts.

    Raises:
        UserError: the folder does not exist, is a file, or holds no picture.
    """
    listing = list_folder(folder)
    if not listing.paths:
        known = ", ".join(suffix[1:] for suffix in READ_SUFFIXES)
        beside = "".join(f"; there are {what}" for what in listing.left_out()[:1])
        raise UserError(f"{folder}: holds no picture (looked for {known}, also in folders below{beside})")
    return listing.paths


def describe_others(counts: Counter[str]) -> list[str]:
    """A text about files that are no pictures by their names, which says what would read some of them."""
    is_unread = not HAS_HEIF and any(counts[suffix] for suffix in HEIF_SUFFIXES)
    how = f" (HEIC is read after: {GET_HEIF})" if is_unread else ""
    return [f"{count_suffixes(counts)}, which are not read as pictures{how}"] if counts else []


def count_suffixes(counts: Counter[str]) -> str:
    """`30 .heic files, 1 .txt file`, the most frequent ones."""
    shown = [f"{count} {suffix} file{'s' * (count > 1)}" for suffix, count in counts.most_common(_SUFFIXES_SHOWN)]
    rest = sum(counts.values()) - sum(count for _, count in counts.most_common(_SUFFIXES_SHOWN))
    return ", ".join([*shown, *([f"{rest} others"] if rest else [])])


def _require_folder(folder: Path) -> None:
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "no such folder"
        raise UserError(f"{folder}: {what}")


def _is_around(path: Path, folder: Path) -> bool:
    """Whether `path` leads to `folder` itself or to one that holds it."""
    outer, inner = os.path.realpath(path), os.path.realpath(folder)
    return f"{inner}{os.sep}".startswith(f"{outer.rstrip(os.sep)}{os.sep}")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links in a circle; reading the file will say so
        return False


def _named(paths: list[Path], folder: Path) -> str:
    """`sub/link and 3 more`."""
    shown = ", ".join(shortened(path.relative_to(folder).as_posix(), 80) for path in paths[:_PATHS_SHOWN])
    return f"{shown} and {len(paths) - _PATHS_SHOWN} more" if len(paths) > _PATHS_SHOWN else shown
