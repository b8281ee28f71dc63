"""Archives from elsewhere, unpacked so that a hostile one does no harm."""

import gzip
import os
import shutil
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import IO, Any, TypeAlias

from cut.errors import UserError
from cut.storage.files import open_regular, remove_old_folders
from cut.storage.written import temporary_name

MAX_ENTRIES = 1_000_000  # the largest public set, edges2handbags, has about 140,000
_MOST_HEADER_BYTES = 1 << 16  # of what a tar says of one file, names and attributes, and of what it says of all files
_MOST_DIRECTORY_BYTES = 1 << 25  # of a zip's list of entries, which is read at once
_MOST_OVERHEAD_BYTES = 1 << 29  # of a tar besides the contents of its files
ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others unpack all of a block at once
_BLOCK_BYTES = 1 << 20
_Entry: TypeAlias = tuple[str, Callable[[], IO[bytes]] | None]  # name and how to open it; None for a folder


def unpack(archive: Path, target: Path, address: str, max_bytes: int, is_ours: bool = True) -> None:
    """Unpacks beside `target` and moves it there in one step.

    Args:
        archive: Zip, or else a gzipped tar.
        target: Folder to make.
        address: Where the archive comes from, for errors.
        max_bytes: Most bytes of all files together.
        is_ours: Whether the archive was fetched by this program, which then deletes it where it is refused.

    Raises:
        UserError: the archive is damaged, too large or not safe.
        OSError: the disk fails.
    """
    remove_old_folders(target.parent)
    temporary = target.with_name(temporary_name())
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
        if is_ours:
            archive.unlink()
        done, how = ("refused and deleted", "run the same command again") if is_ours else ("refused", "replace it")
        raise UserError(
            f"{archive} from {address}: {done}, damaged or not safe to unpack ({error}); "
            f"{how}, or try another --base-url"
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
    entries = _zip_entries if archive.suffix == ".zip" else _tar_entries
    for name, open_entry in entries(archive, max_bytes):
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
                    raise _too_large(max_bytes)
                file.write(block)
    if not num_entries:
        raise ValueError("it is empty")


def _too_large(max_bytes: int) -> UserError:
    return UserError(f"unpacks to more than the bound of {max_bytes / 1e9:g} GB (--max-gb)")


def _zip_entries(archive: Path, max_bytes: int) -> Iterator[_Entry]:
    with open_regular(archive) as file, _checked_zip(file) as source:
        infos = source.infolist()
        for info in infos:
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ValueError(f"its entry {info.filename!r} is a link or a device")
            if info.compress_type not in ZIP_METHODS:
                raise ValueError(f"its entry {info.filename!r} is packed by another method than deflate")
        if sum(info.file_size for info in infos) > max_bytes:  # as it claims; what comes out is counted again
            raise _too_large(max_bytes)
        for info in infos:
            yield info.filename, None if info.is_dir() else partial(source.open, info)


def _checked_zip(file: IO[bytes]) -> zipfile.ZipFile:
    """Raises a ValueError where a zip's list of entries is larger than that of any data set (PKWARE APPNOTE 4.3.14)."""
    size = os.fstat(file.fileno()).st_size
    file.seek(max(0, size - 22 - 65535 - 20 - 56))  # the end's record, its comment, and what zip64 puts before it
    end = file.read()
    claimed = [struct.unpack_from("<I", end, place + 12)[0] for place in _places(end, b"PK\5\6", 22)]
    claimed += [struct.unpack_from("<Q", end, place + 40)[0] for place in _places(end, b"PK\6\6", 56)]
    if any(_MOST_DIRECTORY_BYTES < each != 0xFFFFFFFF for each in claimed):  # that number refers to zip64
        raise ValueError(f"its list of entries takes more than {_MOST_DIRECTORY_BYTES} bytes")
    return zipfile.ZipFile(file)


def _places(data: bytes, mark: bytes, size: int) -> Iterator[int]:
    """Where a record of `size` bytes that begins with `mark` may stand."""
    place = data.find(mark)
    while 0 <= place <= len(data) - size:
        yield place
        place = data.find(mark, place + 1)


class _BoundedReader:
    """A stream of which no more than so many bytes are read, whatever it is that they say."""

    def __init__(self, file: gzip.GzipFile, most_bytes: int, error: UserError):
        self._file, self._left, self._error = file, most_bytes, error

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise self._error
        return data


class _BoundedTarInfo(tarfile.TarInfo):
    """Of names and attributes, which are read at once and kept, only a sensible length is believed.

    A tar may say any number of them of one file, and of all files that follow.
    """

    pending_bytes = 0  # said of the next file
    global_bytes = 0  # said of all files

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Any:
        info = super().frombuf(buf, encoding, errors)
        if info.type == tarfile.GNUTYPE_SPARSE:  # whose list of holes has no bound
            raise ValueError(f"its entry {info.name!r} is a sparse file")
        if info.size < 0:
            raise ValueError(f"its entry {info.name!r} claims {info.size} bytes")
        cls.pending_bytes = cls.pending_bytes + info.size if info.type in _TAR_TEXTS else 0
        cls.global_bytes += info.size if info.type == tarfile.XGLTYPE else 0
        if max(cls.pending_bytes, cls.global_bytes) > _MOST_HEADER_BYTES:
            raise ValueError(f"a header claims {info.size} bytes, more than {_MOST_HEADER_BYTES} in all")
        return info

    def _proc_gnusparse_00(self, *_: Any) -> None:
        raise ValueError("a file in it is sparse")

    _proc_gnusparse_01 = _proc_gnusparse_10 = _proc_gnusparse_00


_TAR_TEXTS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


def _tar_entries(archive: Path, max_bytes: int) -> Iterator[_Entry]:
    class Info(_BoundedTarInfo):  # which counts for this archive alone
        pass

    with open_regular(archive) as file, gzip.open(file) as unpacked:
        stream = _BoundedReader(unpacked, max_bytes + _MOST_OVERHEAD_BYTES, _too_large(max_bytes))
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=Info) as source:  # type: ignore[call-overload]
            for member in source:
                # Else all of them are kept, with whatever they claim of themselves.
                source.members = []
                if not (member.isfile() or member.isdir()):
                    raise ValueError(f"its entry {member.name!r} is a link or a device")
                yield member.name, partial(source.extractfile, member) if member.isfile() else None
        while stream.read(_BLOCK_BYTES):  # gzip compares its checksum at the very end
            pass
