import contextlib
import dataclasses
import errno
import fcntl
import gzip
import hashlib
import io
import os
import socket
import stat
import struct
import tarfile
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cut.datasets import fetch, unpack
from cut.datasets.catalogue import DATASETS, fetch_command
from cut.datasets.download import download_dataset
from cut.errors import UserError


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.requests.append(self.headers)
        server.paths.append(self.path)
        if server.status != 200:
            return self.send_error(server.status)
        start, asked = 0, self.headers.get("Range")
        if asked and server.knows_ranges and self.headers.get("If-Range") in (None, server.etag):
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if start >= len(server.body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(server.body)}")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.body) - 1}/{len(server.body)}")
        if server.etag:
            self.send_header("ETag", server.etag)
        self.send_header("Content-Length", str(len(server.body) - start))
        self.end_headers()
        stop = server.breaks.pop(0) if server.breaks else None
        stop = None if stop is None else start + stop
        self.wfile.write(server.body[start:stop])  # HTTP/1.0: the connection closes here, early or not

    def log_message(self, *_):
        pass


class _Server(ThreadingHTTPServer):
    """Serves `body` under every path; each request takes one of `breaks`: the bytes after which it closes."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/sets"
        self.body, self.etag, self.status, self.knows_ranges = b"", '"first"', 200, True
        self.breaks, self.requests, self.paths = [], [], []


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(fetch, "_RETRY_SECONDS", 0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with _Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class _Raw:
    """A server that answers every request with these bytes, and then with drops every 50 ms."""

    def __init__(self):
        self.answer, self.drip = b"", b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/sets"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._answer, args=(self._listener.accept()[0],), daemon=True).start()

    def _answer(self, line):
        with contextlib.suppress(OSError), line:
            line.recv(65536)
            line.sendall(self.answer)
            while self.drip:
                time.sleep(0.05)
                line.sendall(self.drip)

    def close(self):
        self.drip = b""
        self._listener.close()


@pytest.fixture
def raw(monkeypatch):
    monkeypatch.setattr(fetch, "_RETRY_SECONDS", 0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = _Raw()
    yield server
    server.close()


def _zip(files, link=None):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        if link:
            info = zipfile.ZipInfo(link)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, "/etc/passwd")
    return buffer.getvalue()


def _tar(files, odd=None):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        if odd:
            info = tarfile.TarInfo("odd")
            info.type, info.linkname = odd, "/etc/passwd"
            archive.addfile(info)
    return buffer.getvalue()


HORSES = {"horse2zebra/trainA/1.jpg": bytes(range(256)) * 20, "horse2zebra/trainB/2.jpg": b"zebra"}


def _get(server, root, name="horse2zebra", **options):
    return download_dataset(name, root, base_url=server.url, progress=False, **options)


def _refused(server, root, **options):
    with pytest.raises(UserError) as caught:
        _get(server, root, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _names(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def _assert_horses(root, *beside):
    assert _names(root) == sorted([*HORSES, *beside])
    assert all((root / name).read_bytes() == content for name, content in HORSES.items())


def test_zip_with_one_top_folder_becomes_the_set_and_the_archive_is_gone(server, tmp_path):
    server.body = _zip(HORSES)
    assert _get(server, tmp_path / "datasets") == tmp_path / "datasets/horse2zebra"
    _assert_horses(tmp_path / "datasets")
    assert [headers["Range"] for headers in server.requests] == [None]


def test_top_folder_of_another_name_becomes_the_set(server, tmp_path):
    server.body = _tar({"facades/train/1.jpg": b"pair"})
    _get(server, tmp_path, name="facades_aligned")
    assert _names(tmp_path) == ["facades_aligned/train/1.jpg"]


def test_archive_without_a_top_folder_is_unpacked_into_one(server, tmp_path):
    server.body = _zip({"trainA/2005-06-26 14:04:52.jpg": b"a", "trainB/1.jpg": b"b", "__MACOSX/x": b""})
    _get(server, tmp_path)
    assert _names(tmp_path) == ["horse2zebra/trainA/2005-06-26 14:04:52.jpg", "horse2zebra/trainB/1.jpg"]


def test_broken_connection_is_continued_where_it_broke(server, tmp_path):
    server.body, server.breaks = _zip(HORSES), [200, 100]
    _get(server, tmp_path)
    _assert_horses(tmp_path)
    assert [headers["Range"] for headers in server.requests] == [None, "bytes=200-", "bytes=300-"]


def test_next_run_continues_what_the_first_one_gave_up(server, tmp_path):
    server.body, server.breaks = _zip(HORSES), [200] + [0] * (fetch._RETRIES)
    assert "run the same command again" in _refused(server, tmp_path)
    assert (tmp_path / "horse2zebra.zip.part").stat().st_size == 200
    _get(server, tmp_path)
    _assert_horses(tmp_path)
    assert (server.requests[-1]["Range"], server.requests[-1]["If-Range"]) == ("bytes=200-", '"first"')


def test_server_that_ignores_ranges_is_asked_from_the_start_again(server, tmp_path):
    server.body, server.breaks, server.knows_ranges = _zip(HORSES), [200], False
    _get(server, tmp_path)
    _assert_horses(tmp_path)


def test_server_that_always_breaks_at_the_same_byte_is_given_up(server, tmp_path):
    server.body, server.breaks, server.knows_ranges = _zip(HORSES), [200] * 99, False
    _refused(server, tmp_path)
    assert len(server.requests) == 1 + fetch._RETRIES


@pytest.mark.parametrize("etag", ['"second"', None])
def test_file_that_changed_on_the_server_is_fetched_anew(server, tmp_path, etag):
    server.body, server.etag = _zip(HORSES), etag
    (tmp_path / "horse2zebra.zip.part").write_bytes(b"x" * 200)
    (tmp_path / "horse2zebra.zip.part.tag").write_text('"first"')
    _get(server, tmp_path)
    _assert_horses(tmp_path)


def test_part_longer_than_the_file_on_the_server_is_fetched_anew(server, tmp_path):
    server.body = _zip(HORSES)
    (tmp_path / "horse2zebra.zip.part").write_bytes(b"x" * (len(server.body) + 1))
    _get(server, tmp_path)
    _assert_horses(tmp_path)


def test_part_that_is_complete_is_not_fetched_again(server, tmp_path):
    server.body = _zip(HORSES)
    (tmp_path / "horse2zebra.zip.part").write_bytes(server.body)
    _get(server, tmp_path)
    _assert_horses(tmp_path)
    assert len(server.requests) == 1


def test_archive_saved_by_hand_needs_no_network(server, tmp_path, capsys):
    (tmp_path / "horse2zebra.zip").write_bytes(_zip(HORSES))
    _get(server, tmp_path)
    _assert_horses(tmp_path, "horse2zebra.zip")  # which is the user's, and stays
    assert not server.requests and f"{tmp_path / 'horse2zebra.zip'}: kept" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"not a zip", _zip(HORSES)[:-30], _zip(HORSES, link="horse2zebra/link")])
def test_an_archive_saved_by_hand_is_not_deleted_where_it_is_refused(server, tmp_path, content):
    (tmp_path / "horse2zebra.zip").write_bytes(content)
    line = _refused(server, tmp_path)
    assert "refused, damaged or not safe to unpack" in line and "replace it, or try another --base-url" in line
    assert (tmp_path / "horse2zebra.zip").read_bytes() == content and _names(tmp_path) == ["horse2zebra.zip"]


def test_missing_file_on_the_server_is_one_line_with_the_address(server, tmp_path):
    server.status = 404
    assert f"{server.url}/horse2zebra.zip: the server answers 404" in _refused(server, tmp_path)


def test_no_network_is_one_line_with_the_address_at_once(server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "_RETRY_SECONDS", 999)
    with pytest.raises(UserError, match="http://127.0.0.1:9/horse2zebra.zip: cannot be fetched"):
        download_dataset("horse2zebra", tmp_path, base_url="http://127.0.0.1:9", progress=False)


def test_existing_set_is_left_alone_and_said_so(server, tmp_path, capsys):
    (tmp_path / "horse2zebra").mkdir()
    (tmp_path / "horse2zebra" / "mine.txt").write_text("mine")
    assert _get(server, tmp_path) == tmp_path / "horse2zebra"
    assert "there already" in capsys.readouterr().err
    assert not server.requests


def test_unknown_name_tells_the_nearest_and_all_known_ones(tmp_path):
    with pytest.raises(UserError, match=r"did you mean horse2zebra\? known names: horse2zebra, .*night2day"):
        download_dataset("horse2zbra", tmp_path)


@pytest.mark.parametrize("name", ["/etc/passwd", "../horse2zebra", "datasets\\maps"])
def test_path_instead_of_a_name_is_refused(tmp_path, name):
    with pytest.raises(UserError, match="a path was given where a name belongs"):
        download_dataset(name, tmp_path)


def test_cityscapes_tells_where_to_register(tmp_path):
    with pytest.raises(UserError, match=r"https://www\.cityscapes-dataset\.com.*gtFine_trainvaltest\.zip"):
        download_dataset("cityscapes", tmp_path)


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "..\\evil", "C:\\evil"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_entry_that_leads_outside_is_refused_and_nothing_is_left(server, tmp_path, kind, name):
    server.body = (_zip if kind == "zip" else _tar)({"a/good.jpg": b"", name: b"evil"})
    line = _refused(server, tmp_path / "root", name="horse2zebra" if kind == "zip" else "maps_aligned")
    assert "leads outside" in line and server.url in line
    assert not _names(tmp_path) and not list((tmp_path / "root").iterdir())


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_whose_parts_unpack_at_once_is_refused_before_they_are(server, tmp_path, method):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("horse2zebra/trainA/1.jpg", bytes(10_000_000))
    server.body = buffer.getvalue()
    assert len(server.body) < 10_000
    assert "packed by another method than deflate" in _refused(server, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_zip_that_claims_more_than_the_bound_in_all_is_refused_before_a_file_is_written(tmp_path):
    (tmp_path / "x.zip").write_bytes(_zip({f"a/{n}": bytes(400_000) for n in range(3)}))
    with pytest.raises(UserError, match="unpacks to more than the bound"):
        unpack._extract(tmp_path / "x.zip", tmp_path, 1_000_000)
    assert _names(tmp_path) == ["x.zip"]


@pytest.mark.parametrize("is_zip64", [False, True])
def test_a_zip_whose_list_of_entries_is_enormous_is_refused_before_it_is_read(tmp_path, is_zip64):
    size = unpack._MOST_DIRECTORY_BYTES + 1
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 9, 9, 0xFFFFFFFF if is_zip64 else size, 0, 0)
    if is_zip64:
        end = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, 9, 9, size, 0) + bytes(20) + end
    (tmp_path / "x.zip").write_bytes(end)
    with pytest.raises(ValueError, match="list of entries"):
        list(unpack._zip_entries(tmp_path / "x.zip", 1000))


def _tar_of(*headers):
    """A tar of these members, `(type, name, content, size if it is not that of the content)`, written byte by byte."""
    data = b""
    for kind, name, content, *claimed in headers:
        info = tarfile.TarInfo(name)
        info.type, info.size = kind, *(claimed or [len(content)])
        data += info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)
    return data + bytes(1024)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ([(tarfile.XGLTYPE, "x", b"9000 comment=" + b"a" * 8987)] * 8, "in all"),
        ([(tarfile.GNUTYPE_LONGNAME, "x", b"a" * 9000)] * 8, "in all"),
        ([(tarfile.GNUTYPE_SPARSE, "x", b"a" * 512)], "sparse"),
        ([(tarfile.XHDTYPE, "x", b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n")], "sparse"),
        ([(tarfile.XHDTYPE, "x", b"", -1)], "claims -1 bytes"),
    ],
    ids=["texts for all", "texts for one", "old sparse", "new sparse", "negative"],
)
def test_what_a_tar_says_of_its_files_is_bounded_in_sum(tmp_path, headers, reason):
    whole = _tar_of(*headers, (tarfile.REGTYPE, "a/1.jpg", b"x"))
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(whole))
    with pytest.raises(ValueError, match=reason):
        list(unpack._tar_entries(tmp_path / "x.tar.gz", 10**9))


def test_zeros_behind_the_end_of_a_tar_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(unpack, "_MOST_OVERHEAD_BYTES", 1_000_000)
    for zeros, fits in ((500_000, True), (1_500_000, False)):
        data = _tar_of((tarfile.REGTYPE, "a/1.jpg", b"x")) + bytes(zeros)
        (tmp_path / "x.tar.gz").write_bytes(gzip.compress(data))
        names = []
        with contextlib.nullcontext() if fits else pytest.raises(UserError, match="bound"):
            names += [name for name, _ in unpack._tar_entries(tmp_path / "x.tar.gz", 1000)]
        assert (names == ["a/1.jpg"]) == fits


def test_long_names_and_attributes_of_ordinary_length_are_read(tmp_path):
    name, buffer = f"a/{'n' * 150}.jpg", io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        for number in range(40):
            info = tarfile.TarInfo(f"{number}{name}")
            info.pax_headers = {"SCHILY.xattr.user": "v" * 5000}
            archive.addfile(info)
    (tmp_path / "x.tar.gz").write_bytes(buffer.getvalue())
    assert [n for n, _ in unpack._tar_entries(tmp_path / "x.tar.gz", 0)] == [f"{n}{name}" for n in range(40)]


def test_link_in_a_zip_is_refused(server, tmp_path):
    server.body = _zip(HORSES, link="horse2zebra/link")
    assert "is a link or a device" in _refused(server, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("odd", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_link_or_device_in_a_tar_is_refused(server, tmp_path, odd):
    server.body = _tar({"maps/train/1.jpg": b""}, odd=odd)
    assert "is a link or a device" in _refused(server, tmp_path, name="maps_aligned")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["horse2zebra", "maps_aligned"])
def test_bomb_is_stopped_at_the_bound_and_the_archive_kept_for_a_higher_one(server, tmp_path, name):
    server.body = (_zip if name == "horse2zebra" else _tar)({"a/zeros": bytes(3_000_000), "b": b"end"})
    assert "unpacks to more than the bound" in _refused(server, tmp_path, name=name, max_bytes=1_000_000)
    assert len(_names(tmp_path)) == 1
    _get(server, tmp_path, name=name, max_bytes=4_000_000)
    archive = "horse2zebra.zip" if name == "horse2zebra" else "maps_aligned.tar.gz"
    assert _names(tmp_path) == [archive, f"{name}/a/zeros", f"{name}/b"] and len(server.requests) == 1


def test_archive_above_the_bound_is_refused_before_it_is_fetched(server, tmp_path):
    server.body = _zip(HORSES)
    assert "above the bound" in _refused(server, tmp_path, max_bytes=100)
    assert not list(tmp_path.iterdir())


def test_too_many_entries_are_refused(server, tmp_path, monkeypatch):
    monkeypatch.setattr(unpack, "MAX_ENTRIES", 1)
    server.body = _zip(HORSES)
    assert "more than 1 files" in _refused(server, tmp_path)


@pytest.mark.parametrize(
    "body", [b"<html>please log in</html>", _zip(HORSES)[:-30], _zip({})], ids=["page", "cut", "empty"]
)
def test_what_is_no_whole_archive_is_refused_and_deleted(server, tmp_path, body):
    server.body = body
    assert "refused and deleted" in _refused(server, tmp_path)
    assert not list(tmp_path.iterdir())


def test_damaged_file_inside_the_archive_is_found(server, tmp_path):
    body = bytearray(_tar({"maps/noise": bytes(range(256)) * 40}))
    body[-8] ^= 1  # gzip's checksum of the content
    server.body = bytes(body)
    assert "refused and deleted" in _refused(server, tmp_path, name="maps_aligned")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("length", ["9" * 19, "9" * 400, "9" * 5000, "1000000000000"])
def test_a_length_above_any_bound_is_refused_on_one_short_line(raw, tmp_path, length):
    raw.answer = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nx".encode()
    line = _refused(raw, tmp_path, max_bytes=10**9)
    assert "above the bound of 1 GB (--max-gb)" in line and len(line) < 300


@pytest.mark.parametrize("length", ["-1", "1e3", "many", "", "\u0663"])
def test_a_length_that_is_no_number_counts_for_nothing(raw, tmp_path, length):
    raw.answer = b"HTTP/1.1 200 OK\r\nContent-Length: " + length.encode() + b"\r\n\r\n" + _zip(HORSES)
    _get(raw, tmp_path)
    _assert_horses(tmp_path)


@pytest.mark.parametrize("tag", [b"\xff\xfe", b"a\r\nX-Header: b", b"", b"x" * 5000, "\u0663".encode()])
def test_a_tag_that_is_no_header_starts_the_file_again(server, tmp_path, tag):
    server.body = _zip(HORSES)
    (tmp_path / "horse2zebra.zip.part").write_bytes(server.body[:200][::-1])
    (tmp_path / "horse2zebra.zip.part.tag").write_bytes(tag)
    _get(server, tmp_path)
    _assert_horses(tmp_path)
    assert [headers["Range"] for headers in server.requests] == [None]


@pytest.mark.parametrize(
    "drip",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n",
    ],
    ids=["continue", "header", "body", "trailer"],
)
def test_a_server_that_keeps_the_line_open_without_sending_much_is_given_up(raw, tmp_path, monkeypatch, drip):
    monkeypatch.setattr(fetch, "_WATCH_SECONDS", 0.4)
    monkeypatch.setattr(fetch, "_RETRIES", 2)
    raw.answer, raw.drip = drip, drip if b"100" in drip else b"y: z\r\n" if b"chunked" in drip else b"x"
    start = time.monotonic()
    line = _refused(raw, tmp_path)
    assert "less than 60 kB arrived in 0.4 s" in line and "run the same command again" in line
    assert time.monotonic() - start < 15


def test_a_slow_line_that_sends_enough_is_waited_for(raw, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "_WATCH_SECONDS", 0.6)
    monkeypatch.setattr(fetch, "_LEAST_BYTES", 1)
    raw.answer, raw.drip = b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n", b"x"
    fetch.fetch(f"{raw.url}/x", tmp_path / "x", 1000, progress=False)  # takes 1.5 s
    assert (tmp_path / "x").read_bytes() == b"x" * 30


def test_a_redirection_to_anything_but_the_web_is_not_followed(raw, tmp_path):
    for address in ("ftp://127.0.0.1/x", "file:///etc/passwd"):
        raw.answer = f"HTTP/1.1 302 Found\r\nLocation: {address}\r\nContent-Length: 0\r\n\r\n".encode()
        assert "cannot be fetched" in _refused(raw, tmp_path) or "server answers 302" in _refused(raw, tmp_path)


def test_full_disk_is_one_line_with_the_address(server, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    server.body = _zip(HORSES)
    monkeypatch.setattr(unpack, "_extract", full)
    line = _refused(server, tmp_path)
    assert "No space left" in line and server.url in line and "make room" in line
    assert _names(tmp_path) == ["horse2zebra.zip"]


def test_interrupted_unpacking_leaves_nothing_half(server, tmp_path, monkeypatch):
    def interrupted(archive, folder, max_bytes):
        (folder / "1.jpg").write_bytes(b"")
        raise KeyboardInterrupt

    server.body = _zip(HORSES)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(unpack, "_extract", interrupted)
        _get(server, tmp_path)
    assert _names(tmp_path) == ["horse2zebra.zip"]
    old, now, mine = tmp_path / f".cut-{0:016x}.part", tmp_path / f".cut-{1:016x}.part", tmp_path / ".mine.unpacking"
    for folder in (old, now, mine):
        folder.mkdir()
    os.utime(old, (0, 0))  # what a kill would leave
    _get(server, tmp_path)
    _assert_horses(tmp_path, "horse2zebra.zip")
    assert not old.exists() and now.exists() and mine.exists()


@pytest.mark.parametrize("end", ["", ".tag"])
def test_what_a_part_links_to_stays_and_a_pipe_does_not_hang(server, tmp_path, end):
    server.body, part = _zip(HORSES), tmp_path / "sets" / f"horse2zebra.zip.part{end}"
    part.parent.mkdir()
    (tmp_path / "precious").write_text("precious")
    part.symlink_to(tmp_path / "precious")
    line = _refused(server, part.parent)
    assert line == f"{part}: is in the way, and no regular file; delete it"
    assert (tmp_path / "precious").read_text() == "precious"
    part.unlink()
    os.mkfifo(part)
    assert _refused(server, part.parent) == line
    part.unlink()
    _get(server, part.parent)
    _assert_horses(part.parent)


def test_an_archive_that_is_none_is_named_and_stays(server, tmp_path):
    server.body, archive = _zip(HORSES), tmp_path / "horse2zebra.zip"
    archive.symlink_to(archive)
    assert "horse2zebra.zip: Too many levels of symbolic links; delete it, so that" in _refused(server, tmp_path)
    assert archive.is_symlink()
    archive.unlink()
    os.mkfifo(archive)
    assert "horse2zebra.zip: it is a pipe, not a regular file; delete it" in _refused(server, tmp_path)


def test_two_processes_do_not_write_one_part(server, tmp_path):
    server.body = _zip(HORSES)
    with open(tmp_path / "horse2zebra.zip.part", "wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert "another process is fetching it, into " in _refused(server, tmp_path)
    _get(server, tmp_path)
    _assert_horses(tmp_path)


def test_output_that_is_a_file_is_one_line(server, tmp_path):
    (tmp_path / "file").touch()
    assert "cannot be written" in _refused(server, tmp_path / "file")


def test_base_url_must_be_of_the_web(tmp_path):
    with pytest.raises(UserError, match="must start with http"):
        download_dataset("maps", tmp_path, base_url="file:///etc")


def test_every_archive_is_fetched_by_https_and_every_single_file_has_a_checksum():
    for name, dataset in DATASETS.items():
        if dataset.files:  # without https the checksums are what guards it
            assert len(dataset.files) == (4 if dataset.layout == "idx" else 2)
            assert all(len(md5) == 32 for md5 in dataset.files.values())
        elif name != "cityscapes":
            assert dataset.address.startswith("https://")
            assert dataset.address.endswith(".zip" if dataset.layout == "unpaired" else ".tar.gz")
    assert DATASETS["maps_aligned"].address.endswith("/maps.tar.gz")


@pytest.mark.parametrize(
    ("root", "command"),
    [
        ("datasets/horse2zebra", "cut-data download horse2zebra"),
        ("./datasets/maps/", "cut-data download maps"),
        ("/my data/maps", "cut-data download maps --output '/my data'"),
        ("facades", "cut-data download facades --output ."),
        ("datasets/earth2map", "cut-data earth2map --output datasets/earth2map"),
        ("/tmp/earth2map", "cut-data earth2map --output /tmp/earth2map"),
        ("datasets/mine", None),
    ],
)
def test_fetch_command_names_what_puts_the_data_into_root(root, command):
    assert fetch_command(root) == command


@pytest.fixture
def digits(monkeypatch):
    """Makes the data set mnist four files of the server's one body; returns its checksum."""

    def publish(body):
        files = dict.fromkeys(DATASETS["mnist"].files, hashlib.md5(body).hexdigest())
        monkeypatch.setitem(DATASETS, "mnist", dataclasses.replace(DATASETS["mnist"], files=files))

    return publish


MNIST_FILES = sorted(f"mnist/{name}" for name in DATASETS["mnist"].files)


def test_single_files_become_the_set_when_all_are_there(server, tmp_path, digits):
    server.body, server.breaks = b"digits" * 100, [200]
    digits(server.body)
    assert _get(server, tmp_path, name="mnist") == tmp_path / "mnist"
    assert _names(tmp_path) == MNIST_FILES and len(server.requests) == 5
    assert server.paths[0] == "/sets/train-images-idx3-ubyte.gz"
    assert server.requests[1]["Range"] == "bytes=200-"


def test_single_files_that_an_earlier_run_fetched_are_kept(server, tmp_path, digits):
    server.body = b"digits" * 100
    digits(server.body)
    server.breaks = [None, 100, *[0] * fetch._RETRIES]
    assert "run the same command again" in _refused(server, tmp_path, name="mnist")
    assert not (tmp_path / "mnist").exists()
    requests = len(server.requests)
    _get(server, tmp_path, name="mnist")
    assert _names(tmp_path) == MNIST_FILES
    assert [r["Range"] for r in server.requests[requests:]] == ["bytes=100-", None, None]


def test_single_file_of_another_checksum_is_refused_and_deleted(server, tmp_path, digits):
    server.body = b"<html>please log in</html>"
    digits(b"digits")
    line = _refused(server, tmp_path, name="mnist")
    assert f"{server.url}/train-images-idx3-ubyte.gz: refused and deleted, not the published file" in line
    assert not _names(tmp_path)


def test_bound_holds_for_the_sum_of_single_files(server, tmp_path, digits):
    server.body = b"digits" * 100
    digits(server.body)
    assert "above the bound" in _refused(server, tmp_path, name="mnist", max_bytes=1500)
    assert len(_names(tmp_path)) == 2
    _get(server, tmp_path, name="mnist", max_bytes=2400)


def test_mnist_checksums_are_those_that_torchvision_publishes():
    from torchvision.datasets import MNIST, FashionMNIST

    for name, published in (("mnist", MNIST), ("fashion_mnist", FashionMNIST)):
        assert dict(DATASETS[name].files) == dict(published.resources)
        assert f"{DATASETS[name].address}/" in published.mirrors
    assert fetch_command("datasets/fashion_mnist") == "cut-data download fashion_mnist"


def test_single_files_go_into_their_folders(server, tmp_path, monkeypatch):
    dataset = DATASETS["single_image_monet_etretat"]
    server.body = b"picture" * 10
    files = dict.fromkeys(dataset.files, hashlib.md5(server.body).hexdigest())
    monkeypatch.setitem(DATASETS, dataset.name, dataclasses.replace(dataset, files=files))
    _get(server, tmp_path, name=dataset.name)
    names = ["trainA/monet.jpg", "trainB/etretat-normandy-france.jpg"]
    assert _names(tmp_path) == [f"{dataset.name}/{name}" for name in names]
    assert server.paths == [f"/sets/{name}" for name in names]
