"""Which files this program wrote itself, so that it overwrites and deletes no others.

Each folder keeps a list of what was written into it, `.cut-written`: a line of JSON per file with its name, size in
bytes, time of change in ns, digest, and as what it was written (see `mark`). The list of a folder of pictures lies
beside it, as `.cut-written-FOLDER`, so that whoever lists the folder finds pictures alone (see `list_beside`). The line
comes before the file, so that a kill between the two leaves no file that would count as somebody else's. A file is ours
where a line says what it is now: the user may have changed it, or put another one in its place.
"""

import contextlib
import errno
import hashlib
import os
import re
import secrets
import stat
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from cut.storage.own_list import Known, Line, OwnList

LIST = ".cut-written"
TRANSLATIONS, SCORES = "translations", "scores"  # what a user asks for; all else belongs to runs and comparisons
# Short, so that a name of 255 bytes, the most that file systems take, still has a temporary one; and like no other.
_TEMPORARY = re.compile(r"\.cut-[0-9a-f]{16}\.part")
_FOREIGN = "it is there already, and this command did not write it, or it was changed since"
_FEATURES = "features: "  # begins the kind of a folder's own line
_BLOCK_BYTES, _MOST_NAME_BYTES = 1 << 20, 255
_Value = TypeVar("_Value")

_lists: dict[Path, OwnList] = {}
_places: dict[Path, Path] = {}  # folder, or sheet beside it -> its list
_kinds: dict[Path, str] = {}  # folder or file -> as what it is written
_lock = threading.Lock()


def mark(path: Path, kind: str) -> None:
    """Says as what a file, or all in a folder, is written: what was written as something else is as good as foreign.

    So scores never overwrite a run's own JSON, nor translations its sheets.
    """
    _kinds[_place(path)] = kind


def list_inside(folder: Path) -> None:
    """Keeps the list of a folder with files of a run in it, whatever was said of it and of the folders around it."""
    whole = Path(os.path.realpath(folder))
    for known in (_places, _kinds):
        for path in [path for path in known if path.is_relative_to(whole)]:
            del known[path]
    _places[whole], _kinds[whole] = whole / LIST, ""


def list_beside(folder: Path, sheet: Path | None = None, kind: str = "") -> None:
    """Keeps the list of a folder of pictures, and of the folders in it, beside it: other programs list it too.

    The list goes into the folder itself where that has no name of its own (`.`), is a disk of its own, or the folder
    around it cannot be written.

    Args:
        folder: Folder of pictures; it need not exist.
        sheet: Contact sheet beside it, which goes on the same list.
        kind: As what the pictures are written, see `mark`.
    """
    list_inside(folder)
    whole = Path(os.path.realpath(folder))
    _kinds[whole] = kind
    if sheet:
        _kinds[_place(sheet)] = kind
    if folder.name in ("", "..") or os.path.ismount(folder) or not _is_writable(folder.parent):
        return
    _places[whole] = _list_beside(whole)
    if sheet and _place(sheet).parent == whole.parent:  # not where the folder is a link to elsewhere
        _places[_place(sheet)] = _list_beside(whole)


def is_foreign(path: Path) -> bool:
    """Whether there is something at `path` that this program did not write, or that was changed since."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    if not stat.S_ISREG(found.st_mode):
        return True
    known = _known(path)
    if any((size, time) == (found.st_size, found.st_mtime_ns) for size, time, *_ in known):
        return False
    digests = {digest for size, _, digest, _ in known if size == found.st_size}
    return not digests or _digest(path) not in digests  # a copy has another time


def was_written(path: Path) -> bool:
    """Whether there is a file at `path` where this program once wrote one, which may have been changed since."""
    return path.is_file() and not path.is_symlink() and bool(_known(path))


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
    whole = _place(path)
    _add(_list_of(whole), [_line(whole, content)], flush_to_disk)


def record_name(path: Path) -> None:
    """Says that what will stand at `path` is ours, whatever it holds: see `was_written`. A large file is not read.

    Raises:
        OSError: the list cannot be written.
    """
    whole = _place(path)
    _add(_list_of(whole), [(_name_in(_list_of(whole), whole), 0, 0, "", _nearest(_kinds, whole) or "")])


def note_features(folder: Path, features: str) -> None:
    """Notes on the list of a folder of pictures through which pretrained network the discriminator of their run saw.

    Raises:
        OSError: The list cannot be written.
    """
    whole = Path(os.path.realpath(folder))
    place = _list_of(whole / LIST)
    _add(place, [(_name_in(place, whole), 0, 0, "", _FEATURES + features)])


def noted_features(folder: Path) -> list[str]:
    """All that `note_features` was given for a folder, by any run that wrote into it."""
    whole, found = Path(os.path.realpath(folder)), set[str]()
    for place in (whole / LIST, _list_beside(whole)):
        known = OwnList(place)
        known.read()
        kinds = [line[-1] or "" for line in known.files.get(_name_in(place, whole), ())]
        found |= {kind.removeprefix(_FEATURES) for kind in kinds if kind.startswith(_FEATURES)}
    return sorted(found)


def adopt(paths: Iterable[Path]) -> None:
    """Counts files as ours from now on: those of earlier versions, which kept no list, or with the user's consent."""
    by_list: dict[Path, list[Line]] = {}
    for path in paths:
        if path.is_file() and not path.is_symlink():
            whole = _place(path)
            by_list.setdefault(_list_of(whole), []).append(_line(whole, path))
    for place, lines in by_list.items():
        _add(place, lines)


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
    if place := _places.get(Path(os.path.realpath(folder))):
        _shorten(place)
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
        for entry in [entry for entry in os.scandir(folder) if is_leftover(entry.name)]:
            if not entry.is_dir(follow_symlinks=False):  # which another command may fill: see `remove_old_folders`
                Path(entry).unlink(missing_ok=True)


def _place(path: Path) -> Path:
    """The path by which a file is known: that of its folder is followed, its own is not."""
    return Path(os.path.realpath(path.parent), path.name)


def _list_of(whole: Path) -> Path:
    return _nearest(_places, whole) or whole.parent / LIST


def _nearest(values: Mapping[Path, _Value], whole: Path) -> _Value | None:
    return next((values[path] for path in (whole, *whole.parents) if path in values), None)


def _known(path: Path) -> set[Known]:
    """All that was written at `path` as what would be written there now."""
    whole, known = _place(path), set()
    kinds = (_nearest(_kinds, whole) or "", None)
    # The folder may have been part of another one when it was written, or the other way round.
    for place in {_list_of(whole), whole.parent / LIST, *map(_list_beside, whole.parents[:-1])}:
        with _lock:
            written = _lists.setdefault(place, OwnList(place))
            written.read()
            known |= {line for line in written.files.get(_name_in(place, whole), ()) if line[-1] in kinds}
    return known


def _list_beside(folder: Path) -> Path:
    name = f"{LIST}-{folder.name}"
    while len(os.fsencode(name)) > _MOST_NAME_BYTES:
        name = name[:-1]
    return folder.with_name(name)


def _name_in(place: Path, whole: Path) -> str:
    return Path(os.path.relpath(whole, place.parent)).as_posix()


def _is_writable(folder: Path) -> bool:
    while not folder.exists() and folder != folder.parent:  # it will be made
        folder = folder.parent
    return os.access(folder, os.W_OK)


def _shorten(place: Path) -> None:
    """Leaves on a list only what is still there, so that it does not grow for ever."""
    known = OwnList(place)
    known.read()
    lines = [(name, *line) for name, found in known.files.items() if (place.parent / name).exists() for line in found]
    temporary = OwnList(place.with_name(temporary_name()))
    if lines:
        temporary.add(lines, flush_to_disk=False)
        os.replace(temporary.path, place)
    else:
        place.unlink(missing_ok=True)
    with _lock:
        _lists.pop(place, None)


def _add(place: Path, lines: list[Line], flush_to_disk: bool = False) -> None:
    with _lock:
        _lists.setdefault(place, OwnList(place)).add(lines, flush_to_disk)


def _line(whole: Path, content: Path) -> Line:
    found = content.stat()
    kind = _nearest(_kinds, whole) or ""
    return _name_in(_list_of(whole), whole), found.st_size, found.st_mtime_ns, _digest(content), kind


def _digest(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
