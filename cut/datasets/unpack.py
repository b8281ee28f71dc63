"""Archives from elsewhere, unpacked so that a hostile one does no harm."""

import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import IO, Any, TypeAlias

from cut.errors import UserError

MAX_ENTRIES = 1_000_000  # the largest public set, edges2handbags, has about 140,000
_MOST_HEADER_BYTES = 1 << 20  # of what a tar says of one file: names and attributes
_BLOCK_BYTES = 1 << 20
_Entry: TypeAlias = tuple[str, Callable[[], IO[bytes]] | None]  # name and how to open it; None for a folder


def unpack(archive: Path, target: Path, address: str, max_bytes: int) -> None:
    """Unpacks beside `target` and moves it there in one step; a refused archive is deleted."""
    temporary = target.with_name(f".{target.name}.unpacking")
    shutil.rmtree(temporary, ignore_errors=True)  # left by a process that was killed
    temporary.mkdir()
    try:
        _extract(archive, temporary, max_bytes)
        shutil.rmtree(temporary / "__MACOSX", ignore_errors=True)  # what a Mac adds to archives
        tops = list(temporary.iterdir())
        os.replace(tops[0] if len(tops) == 1 and tops[0].is_dir() else temporary, target)
    except UserError as error:  # kept: with a higher bound it need not be fetched again
        raise UserError(f"{archive} from {address}: {error}") from None
    except Exception as error:  # zipfile and tarfile raise many kinds on broken archives
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the archive
        archive.unlink()
        raise UserError(
            f"{archive} from {address}: refused and deleted, damaged or not safe to unpack ({error}); "
            "run the same command again, or try another --base-url"
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _extract(archive: Path, folder: Path, max_bytes: int) -> None:
    """Writes the files of `archive` below `folder`, counting the bytes that come out, not those that a header claims.

    Raises:
        UserError: too many files or bytes.
        ValueError: an entry that would be written outside `folder`, or that is neither a file nor a folder.
    """
    num_entries = num_bytes = 0
    for name, open_entry in _zip_entries(archive) if archive.suffix == ".zip" else _tar_entries(archive):
        num_entries += 1
        path = PureWindowsPath(name)  # takes both / and \ as separators, and knows drive letters
        if path.anchor or ".." in path.parts:
            raise ValueError(f"its entry {name!r} leads outside the folder")
        if num_entries > MAX_ENTRIES:
            raise UserError(f"holds more than {MAX_ENTRIES} files")
        destination = folder.joinpath(*path.parts)
        (destination if open_entry is None else destination.parent).mkdir(parents=True, exist_ok=True)
        if open_entry is None:
            continue
        with open_entry() as stream, open(destination, "wb") as file:
            while block := stream.read(_BLOCK_BYTES):
                num_bytes += len(block)
                if num_bytes > max_bytes:
                    raise UserError(f"unpacks to more than the bound of {max_bytes / 1e9:g} GB (--max-gb)")
                file.write(block)
    if not num_entries:
        raise ValueError("it is empty")


def _zip_entries(archive: Path) -> Iterator[_Entry]:
    with zipfile.ZipFile(archive) as source:
        for info in source.infolist():
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ValueError(f"its entry {info.filename!r} is a link or a device")
            yield info.filename, None if info.is_dir() else partial(source.open, info)


class _BoundedTarInfo(tarfile.TarInfo):
    """Of a name or an attribute, which is read at once, only a sensible length is believed."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Any:
        info = super().frombuf(buf, encoding, errors)
        if info.type in _TAR_TEXTS and info.size > _MOST_HEADER_BYTES:
            raise ValueError(f"a header claims {info.size} bytes")
        return info


_TAR_TEXTS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


def _tar_entries(archive: Path) -> Iterator[_Entry]:
    with tarfile.open(archive, tarinfo=_BoundedTarInfo) as source:
        for member in source:
            # Else all of them are kept, with whatever they claim of themselves.
            source.members = []  # type: ignore[attr-defined]
            if not (member.isfile() or member.isdir()):
                raise ValueError(f"its entry {member.name!r} is a link or a device")
            # extractfile gives None for no file only
            yield member.name, partial(source.extractfile, member) if member.isfile() else None  # type: ignore[misc]
        while source.fileobj.read(_BLOCK_BYTES):  # gzip compares its checksum at the very end
            pass
