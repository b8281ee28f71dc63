"""Fetches a file from a server that may break off, be slow, or be hostile: bounded in bytes and in time."""

import contextlib
import os
import re
import socket
import stat
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from tqdm import tqdm

from cut.errors import UserError, printable
from cut.storage.files import open_regular, write_whole
from cut.storage.own_list import SAFE

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # a module or None

_BLOCK_BYTES = 1 << 20
_TIMEOUT_SECONDS = 30.0  # without a single byte
_WATCH_SECONDS, _LEAST_BYTES = 60.0, 60_000  # that must arrive in this time: whatever keeps a line open, it is too slow
_RETRIES = 5
_RETRY_SECONDS = 2.0
_EARNED_BYTES = 1 << 16  # that have to arrive for new retries
_MOST_TAG_BYTES = 1000
_LENGTH = re.compile(r"\d{1,18}", re.ASCII)


class _BrokenConnectionError(Exception):
    """The connection failed; what has arrived is kept, and the next request continues it."""


def fetch(address: str, path: Path, max_bytes: int, progress: bool) -> None:
    """Fetches a file, whole or not at all; what arrives meanwhile is kept as `.part` and continued the next time.

    Args:
        address: Its URL, http or https.
        path: File to write.
        max_bytes: Most bytes that it may have.
        progress: Whether to show a bar on stderr.

    Raises:
        UserError: no network, too slow, too large, the server refuses, another process fetches the same file, or what
            has the name of a part of it is none.
        OSError: the disk fails.
    """
    part = path.with_name(f"{path.name}.part")
    tag = path.with_name(f"{path.name}.part.tag")
    for mine in (part, tag):
        if os.path.lexists(mine) and not stat.S_ISREG(mine.lstat().st_mode):  # a link leads elsewhere, a pipe hangs
            raise UserError(f"{mine}: is in the way, and no regular file; delete it")
    furthest, retries = num_bytes(part), 0  # bytes that arrive earn the retries: without network there is none
    while True:
        try:
            _receive(address, part, tag, max_bytes, progress)
            break
        except _BrokenConnectionError as error:
            arrived = num_bytes(part) - furthest
            retries = _RETRIES if arrived >= (_EARNED_BYTES if retries else 1) else retries - 1
            furthest = max(furthest, num_bytes(part))
            if retries <= 0:
                raise UserError(
                    f"{address}: cannot be fetched ({error}), {furthest / 1e6:.1f} MB are kept; run the same command "
                    f"again to go on, or save the file by hand as {path} and run it then"
                ) from None
            time.sleep(_RETRY_SECONDS)
    os.replace(part, path)
    tag.unlink(missing_ok=True)


def num_bytes(path: Path) -> int:
    """Of a file; 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


class _Watch:
    """Shuts a connection down as soon as too little has arrived in the last minute.

    A server can keep a line open for ever without a pause that a timeout would see: a byte a minute, or answers that
    say that the answer follows.
    """

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.gave_up = False
        self._arrived, self._deadline = 0, time.monotonic() + _WATCH_SECONDS
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "_Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._done.set()
        self._thread.join()

    def arrived(self, count: int) -> None:
        """Notes that so many bytes have arrived."""
        self._arrived += count
        if self._arrived >= _LEAST_BYTES:
            self._arrived, self._deadline = 0, time.monotonic() + _WATCH_SECONDS

    def _watch(self) -> None:
        while not self._done.wait(min(0.5, _WATCH_SECONDS / 4)):
            if time.monotonic() > self._deadline and self.socket is not None:
                self.gave_up = True
                with contextlib.suppress(OSError):  # it has ended by itself
                    self.socket.shutdown(socket.SHUT_RDWR)
                return

    def check(self, reason: object) -> None:
        """Raises a `_BrokenConnectionError` with the true reason."""
        slow = f"less than {_LEAST_BYTES // 1000} kB arrived in {_WATCH_SECONDS:g} s"
        raise _BrokenConnectionError(slow if self.gave_up else reason) from None


class _WatchedHandler(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    """Opens connections that a watch knows."""

    def __init__(self, watch: _Watch):
        super().__init__()
        self.watch = watch

    def http_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(self._watched(HTTPConnection), request)

    def https_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(self._watched(HTTPSConnection), request)

    def _watched(self, kind: type[HTTPConnection]) -> Callable[..., HTTPConnection]:
        def make(host: str, **how: Any) -> HTTPConnection:
            connection = kind(host, **how)
            connect = connection.connect

            def connect_and_tell() -> None:
                connect()
                self.watch.socket = connection.sock

            connection.connect = connect_and_tell  # type: ignore[method-assign]
            return connection

        return make


def _open(address: str, headers: dict[str, str], watch: _Watch) -> Any:
    """The server's response; a refused range (416) is one too."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        _WatchedHandler(watch),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),  # a redirection to anything but http and https
    ):
        opener.add_handler(handler)
    try:
        return opener.open(urllib.request.Request(address, headers=headers), timeout=_TIMEOUT_SECONDS)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code == 416 and "Range" in headers:
            return error
        with error:
            raise UserError(
                f"{address}: the server answers {error.code} {error.reason}; try later, or --base-url"
            ) from None
    except (OSError, HTTPException, ValueError) as error:
        return watch.check(getattr(error, "reason", error))


def _receive(address: str, part: Path, tag: Path, max_bytes: int, progress: bool) -> None:
    """One request: appends to `part` what it lacks, or starts it again where the server cannot continue it.

    `tag` keeps the version that `part` belongs to (the ETag, or else the date); the server compares it (If-Range).
    """
    done = num_bytes(part)
    headers = {"User-Agent": "cut-data"}
    if done and tag.exists():
        version = _read_tag(tag)
        if version is None:  # nobody can say what `part` is a part of
            done = 0
        else:
            headers["If-Range"] = version
    if done:
        headers["Range"] = f"bytes={done}-"
    with _Watch() as watch, _open(address, headers, watch) as response:
        given_range = response.headers.get("Content-Range", "")
        if response.status == 416 and given_range == f"bytes */{done}":
            return  # all of it had arrived
        if done and (
            response.status == 416 or (response.status == 206 and not given_range.startswith(f"bytes {done}-"))
        ):
            part.unlink()  # not the range that was asked for: nothing to append to, so ask for the whole
            _receive(address, part, tag, max_bytes, progress)
            return
        done = done if response.status == 206 else 0
        total = _total_bytes(address, response.headers.get("Content-Length", ""), done, max_bytes)
        with _open_part(part, done, address) as file, _bar(part.stem, total, done, progress) as bar:
            if not done:
                _write_tag(tag, response.headers)
            for block in _blocks(response, watch):
                done += len(block)
                if done > max_bytes:
                    raise UserError(f"{address}: above the bound of {max_bytes / 1e9:g} GB (--max-gb)")
                file.write(block)
                bar.update(len(block))
                if done == total:  # some servers keep the connection open
                    break
    if total is not None and done != total:
        raise _BrokenConnectionError(f"the connection broke after {done} of {total} bytes")


def _open_part(part: Path, done: int, address: str) -> IO[bytes]:
    """The part, to be continued after `done` bytes; no other process may write it meanwhile.

    Raises:
        UserError: another one does.
    """
    file = os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | SAFE, 0o666), "wb")
    try:
        if fcntl is not None:
            _lock(file, f"{address}: another process is fetching it, into {part}; wait for it")
        file.truncate(done)
        file.seek(done)
        return file
    except BaseException:
        file.close()
        raise


def _lock(file: IO[bytes], refusal: str) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(refusal) from None
    except OSError:  # a file system without locks
        pass


def _total_bytes(address: str, length: str, done: int, max_bytes: int) -> int | None:
    """How long the whole file is, where the server says so."""
    if not length.strip().isdecimal():
        return None
    is_number = _LENGTH.fullmatch(length.strip())
    total = done + int(length) if is_number else None
    if total is None or total > max_bytes:
        size = f"{total / 1e9:.2f} GB" if total else f"a length of {len(length)} digits"
        raise UserError(f"{address}: {size}, above the bound of {max_bytes / 1e9:g} GB (--max-gb)")
    return total


def _blocks(response: Any, watch: _Watch) -> Iterator[bytes]:
    """What arrives; only here does an OSError mean the network, elsewhere it means the disk."""
    while True:
        try:
            block = response.read1(_BLOCK_BYTES)  # not read: it would lose what came before the connection broke
        except (OSError, HTTPException, ValueError) as error:
            watch.check(error)
        if watch.gave_up:
            watch.check("")
        if not block:
            return
        watch.arrived(len(block))
        yield block


def _bar(name: str, total: int | None, done: int, shown: bool) -> tqdm:
    settings = {"unit": "B", "unit_scale": True, "mininterval": 0.5}
    return tqdm(desc=printable(name), total=total, initial=done, disable=not shown, **settings)


def _read_tag(tag: Path) -> str | None:
    """The version as it was written, or None where the file holds anything else."""
    with open_regular(tag) as file:
        data = file.read(_MOST_TAG_BYTES + 1)
    is_header = 0 < len(data) <= _MOST_TAG_BYTES and data.isascii() and data.decode("ascii").isprintable()
    return data.decode("ascii") if is_header else None


def _write_tag(tag: Path, headers: Mapping[str, str]) -> None:
    etag = headers.get("ETag", "")
    version = headers.get("Last-Modified") if not etag or etag.startswith("W/") else etag  # If-Range takes no weak ETag
    if version and version.isascii() and version.isprintable() and len(version) <= _MOST_TAG_BYTES:
        write_whole(tag, version, checked=False)
    else:
        tag.unlink(missing_ok=True)
