"""The one way to write a file and the one way to open one that others may have put there."""

import contextlib
import errno
import json
import os
import shutil
import stat
import tempfile
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from cut.errors import UserError
from cut.storage.replacing import name_file, replace
from cut.storage.written import is_leftover, record, require_own, temporary_name

_ABANDONED_SECONDS = 86_400.0
_MOST_JSON_BYTES = 1 << 26
Content = str | bytes | Callable[[IO[bytes]], object]


def write_whole(path: Path, content: Content, flush_to_disk: bool = False, checked: bool = True) -> None:
    """Writes a file whole or not at all, whoever else writes it at the same time, and makes its folder.

    What was there is replaced if this program wrote it. The mode is what the umask says.

    Args:
        path: File to write.
        content: Bytes, text (UTF-8), or a function that is given the open file, whose `name` is its path.
        flush_to_disk: Whether the file must survive a failure of the machine right after.
        checked: Whether to refuse to replace what is not ours; not needed in a cache and in a folder made just now.

    Raises:
        FileExistsError: there is something that this program did not write.
        OSError: the file cannot be written; what was there stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(temporary_name())
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
        if checked:
            require_own(path)
            record(path, temporary, flush_to_disk)
        replace(temporary, path)
        if flush_to_disk and os.name == "posix":
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)  # the new name must reach the disk too
            finally:
                os.close(folder)
    except OSError as error:
        name_file(error, path, temporary)
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()  # what a failure left; a whole file has its own name by now


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A file to write, with the suffix of `path`, whose name it takes in the end, or it vanishes on an error.

    Raises:
        FileExistsError: there is something at `path` that this program did not write.
        OSError: the file cannot be written; what was there stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = path.with_name(temporary_name())
    try:
        remove_old_folders(path.parent)
        folder.mkdir()
        yield folder / f"whole{path.suffix}"
        require_own(path)
        record(path, folder / f"whole{path.suffix}")
        replace(folder / f"whole{path.suffix}", path)
    except OSError as error:
        name_file(error, path, folder)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_entry(path: Path, content: Content) -> None:
    """Writes what other processes may write and read at the same time, because its name says all of its content."""
    try:
        write_whole(path, content, checked=False)
    except PermissionError:  # on Windows, while another process reads the same entry: theirs is as good
        if not path.exists():
            raise


def write_json(path: Path, value: Any, indent: int = 1, **options: bool) -> None:
    """Writes plain values as JSON; the options are those of `write_whole`.

    Raises:
        OSError: the file cannot be written.
        ValueError: a number is not finite, which JSON does not know.
    """
    write_whole(path, json.dumps(value, indent=indent, allow_nan=False) + "\n", **options)


def read_json(path: Path) -> dict[str, Any]:
    """The mapping that a JSON file holds; empty where there is none, or it is damaged."""
    try:
        with open_regular(path) as file:
            content = json.loads(file.read(_MOST_JSON_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


@contextlib.contextmanager
def new_folders(*folders: Path) -> Iterator[list[Path]]:
    """Folders to fill, which take the names of `folders` in the end, or vanish on an error.

    Raises:
        FileExistsError: one of `folders` exists, and is not an empty folder.
    """
    resolved = [real_path(folder) for folder in folders]  # "." and ".." have no name
    temporary = [folder.with_name(temporary_name()) for folder in resolved]
    for folder in resolved:  # before they are filled, which may take long
        if os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir())):
            raise FileExistsError(errno.EEXIST, "it is there already", str(folder))
    try:
        for folder in temporary:
            folder.parent.mkdir(parents=True, exist_ok=True)
            remove_old_folders(folder.parent)
            folder.mkdir()
        yield temporary
        for made, folder in zip(temporary, resolved, strict=True):
            if os.path.lexists(folder):
                folder.rmdir()  # an empty one, made by hand; another is an error
            made.rename(folder)
    finally:
        for folder in temporary:
            shutil.rmtree(folder, ignore_errors=True)


def remove_old_folders(parent: Path) -> None:
    """Deletes folders of a temporary name that a killed process left; not what another one fills just now."""
    with contextlib.suppress(OSError):
        for entry in [entry for entry in os.scandir(parent) if is_leftover(entry.name)]:
            if entry.is_dir(follow_symlinks=False) and time.time() - entry.stat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(entry.path, ignore_errors=True)


def find_collision(names: Sequence[Path], folder: Path) -> tuple[int, int] | None:
    """The numbers of two relative paths that would be one file below `folder`; None if there are none.

    Some disks tell neither capital letters nor forms of Unicode apart; whether this one does is tried.
    """
    taken: dict[str, int] = {}
    for index, name in enumerate(names):
        first = taken.setdefault(unicodedata.normalize("NFC", str(name)).casefold(), index)
        if first != index and (names[first] == name or _is_one_file(folder, str(names[first]), str(name))):
            return first, index
    return None


def _is_one_file(folder: Path, name: str, other: str) -> bool:
    while not folder.exists():
        folder = folder.parent
    trial = folder / temporary_name()
    trial.mkdir()
    try:
        (trial / name).parent.mkdir(parents=True, exist_ok=True)
        (trial / name).touch()
        return (trial / other).exists()
    except OSError:  # no file can have such a name, which writing it will report
        return False
    finally:
        shutil.rmtree(trial, ignore_errors=True)


def given_path(path: str | os.PathLike[str], what: str) -> Path:
    """The path that a caller gives.

    Args:
        path: Path, which must not be empty: `pathlib.Path` takes that for the current folder. A leading `~` is home.
        what: What the caller calls it.

    Raises:
        UserError: It is empty.
    """
    if not os.fspath(path).strip():
        raise UserError(f"{what}: is empty; name a file or a folder (the current one is '.')")
    return Path(at_home(os.fspath(path)))


def at_home(path: str) -> str:
    """The path with the home folder in place of a leading `~`, which shells leave in `--output=~/x` as it is.

    A folder of the name `~` is `./~`, as for a shell.
    """
    return os.path.expanduser(path) if path == "~" or path.startswith(("~/", f"~{os.sep}")) else path


def real_path(path: str | os.PathLike) -> Path:
    """The path with all links followed; one that leads in a circle, or that no file can have, stays as it is."""
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError):
        return Path(path)


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


def why_unreadable(path: str | os.PathLike) -> str:
    """Why there is no file to be read, such as `no such file`, or `it is a pipe, not a regular file`."""
    try:
        open_regular(path).close()
    except FileNotFoundError:
        return "no such file"
    except (OSError, ValueError) as error:  # ValueError: what is no path
        return str(getattr(error, "strerror", None) or error)
    return "it cannot be read"


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
        OSError: the folder belongs to somebody else, or others can write there.
    """
    if os.environ.get("XDG_CACHE_HOME"):
        return Path(os.environ["XDG_CACHE_HOME"]) / "cut" / name
    try:
        home = Path.home()
    except RuntimeError:
        return _private_folder() / name
    if not os.environ.get("HOME", "unset"):  # set, and empty
        return _private_folder() / name
    folder = home / ".cache" / "cut"
    for place in (folder.parent, folder, folder / name):
        _refuse_of_others(place)
    return folder / name


def _refuse_of_others(folder: Path) -> None:
    """Refuses a folder that somebody else owns, or that everybody may write, as where a home is `/tmp`.

    Raises:
        PermissionError: it is such a folder.
    """
    if os.name != "posix" or not folder.exists():
        return
    found = folder.stat()
    if found.st_uid != os.getuid() or found.st_mode & stat.S_IWOTH:
        raise PermissionError(errno.EPERM, "it belongs to somebody else, or everybody may write there", str(folder))


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
