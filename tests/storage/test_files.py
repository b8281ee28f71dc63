"""Files are written whole or not at all, under names that meet no other, and only regular ones are read."""

import errno
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from programs import told

from cut.data.images import read_image, write_image
from cut.storage.files import new_file, open_regular, user_cache, why_unreadable, write_json, write_whole
from cut.storage.written import LIST, is_foreign, is_leftover, remove_leftovers, temporary_name

LONGEST = "k" * 251 + ".png"  # 255 bytes, the most that file systems take
POSIX = pytest.mark.skipif(os.name != "posix", reason="links, modes and pipes of POSIX")


@pytest.mark.parametrize("content", ["text\n", b"text\n", lambda file: file.write(b"text\n")])
def test_every_kind_of_content_is_written_and_nothing_else_is_left(content, tmp_path):
    write_whole(tmp_path / "new" / "file.txt", content)
    assert (tmp_path / "new" / "file.txt").read_bytes() == b"text\n"
    assert sorted(os.listdir(tmp_path / "new")) == [LIST, "file.txt"]


def test_text_that_holds_the_name_of_a_file_in_another_encoding_stays_utf_8(tmp_path):
    write_whole(tmp_path / "file.txt", os.fsdecode(b"caf\xe9"))
    assert (tmp_path / "file.txt").read_text(encoding="utf-8") == "caf\\udce9"


def test_what_fails_leaves_the_old_content_and_no_temporary_file(tmp_path):
    path = tmp_path / "file.txt"
    write_whole(path, "old")

    def fail(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_whole(path, fail)
    assert path.read_text() == "old" and sorted(os.listdir(tmp_path)) == [LIST, "file.txt"]
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"loss": float("nan")})
    assert path.read_text() == "old"


def test_the_longest_name_can_be_written(tmp_path):
    write_whole(tmp_path / LONGEST, b"x")
    write_image(tmp_path / LONGEST, np.zeros((4, 4, 3), np.uint8))
    assert read_image(tmp_path / LONGEST, 3).shape == (4, 4, 3)


def test_writers_of_one_file_do_not_meet(tmp_path):
    contents = [bytes([n]) * 50_000 for n in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: write_whole(tmp_path / "file", content), contents))
    assert (tmp_path / "file").read_bytes() in contents and sorted(os.listdir(tmp_path)) == [LIST, "file"]
    assert not is_foreign(tmp_path / "file")


@POSIX
def test_what_a_link_points_to_stays(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "link").symlink_to(tmp_path / "precious")
    with pytest.raises(FileExistsError):
        write_whole(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    write_whole(tmp_path / "link", "new", checked=False)
    assert (tmp_path / "precious").read_text() == "precious"
    assert not (tmp_path / "link").is_symlink() and (tmp_path / "link").read_text() == "new"


@POSIX
@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_the_mode_is_what_the_umask_says(umask, tmp_path):
    before = os.umask(umask)
    try:
        write_whole(tmp_path / "file", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~umask


def test_what_a_kill_left_is_known_by_its_name_and_removed(tmp_path):
    code = "import os, sys; from pathlib import Path; from cut.storage.files import write_whole\n"
    code += "write_whole(Path(sys.argv[1]), lambda file: (file.write(b'half'), file.flush(), os._exit(9)))"
    killed = subprocess.run([sys.executable, "-c", code, tmp_path / "file.txt"], check=False)
    assert killed.returncode == 9
    (left,) = tmp_path.iterdir()  # no list yet: the file was not whole
    assert is_leftover(left.name) and not is_leftover("file.txt") and not is_leftover(".mine.part")
    for name in ("file.txt", ".mine.part", ".tmpAbCdEf"):
        (tmp_path / name).write_text("mine")
    (tmp_path / temporary_name()).mkdir()  # which another process may fill
    remove_leftovers(tmp_path)
    (folder,) = [name for name in os.listdir(tmp_path) if is_leftover(name)]
    (tmp_path / folder).rmdir()
    assert sorted(os.listdir(tmp_path)) == [".mine.part", ".tmpAbCdEf", "file.txt"]
    remove_leftovers(tmp_path / "missing")


@POSIX
@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder"])
def test_only_regular_files_are_opened(kind, tmp_path):
    path = {"device": Path("/dev/zero"), "folder": tmp_path}.get(kind, tmp_path / "file")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        import socket

        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
    with pytest.raises(OSError) as caught:
        open_regular(path)
    expected = "Is a directory" if kind == "folder" else f"it is a {kind}, not a regular file"
    assert caught.value.strerror == expected and caught.value.filename == str(path)


def test_a_regular_file_is_opened_also_through_a_link(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    for name in ("file", "link"):
        with open_regular(tmp_path / name) as file:
            assert file.read() == b"content"
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "missing")


@POSIX
def test_a_user_without_a_home_has_a_cache_that_nobody_else_can_write(tmp_path, monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    own = tmp_path / f"cut-{os.getuid()}"
    assert user_cache("pictures") == own / "pictures"
    assert stat.S_IMODE(own.stat().st_mode) == 0o700
    own.chmod(0o777)
    with pytest.raises(PermissionError, match="only this user"):
        user_cache("pictures")
    own.rmdir()
    (tmp_path / "other").mkdir(mode=0o700)
    own.symlink_to(tmp_path / "other")
    with pytest.raises(PermissionError, match="only this user"):
        user_cache("pictures")
    own.unlink()
    own.mkdir(mode=0o700)
    user = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: user + 1)
    own.rename(tmp_path / f"cut-{user + 1}")
    with pytest.raises(PermissionError, match="only this user"):
        user_cache("pictures")


@POSIX
def test_a_home_that_others_can_write_holds_no_cache(tmp_path, monkeypatch):
    """Where a home is `/tmp`, anybody could have put pictures there."""
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    cache = tmp_path / ".cache" / "cut" / "pictures"
    assert user_cache("pictures") == cache
    cache.mkdir(parents=True)
    assert user_cache("pictures") == cache
    for folder in (cache, cache.parent, cache.parent.parent):
        folder.chmod(0o1777)
        with pytest.raises(PermissionError, match="somebody else, or everybody may write there") as caught:
            user_cache("pictures")
        assert caught.value.filename == str(folder)
        folder.chmod(0o700)
    user = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: user + 1)
    with pytest.raises(PermissionError, match="belongs to somebody else"):
        user_cache("pictures")


@POSIX
def test_an_empty_home_is_none(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert user_cache("pictures") == tmp_path / f"cut-{os.getuid()}" / "pictures"


@POSIX
def test_a_pipe_is_not_called_missing(tmp_path):
    pipe, output = tmp_path / "pipe.pt", ("--output", tmp_path / "out")
    os.mkfifo(pipe)
    assert why_unreadable(tmp_path / "none.pt") == "no such file"
    for given in (("--checkpoint", pipe), ("--import", pipe, "--input", pipe), ("--checkpoint", pipe, "--input", pipe)):
        assert told("test", *given, *output) == f"{pipe}: it is a pipe, not a regular file"


def test_an_error_names_the_file_that_was_to_be_written(tmp_path):
    """Not a temporary one, nor none at all, as the system does where a disk is full."""
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fail(file):
        raise full

    with pytest.raises(OSError) as caught:
        write_whole(tmp_path / "x.txt", fail)
    assert caught.value is full and full.filename == str(tmp_path / "x.txt")
    with pytest.raises(OSError) as caught, new_file(tmp_path / "x.mp4") as path:
        (path / "x").read_bytes()
    assert caught.value.filename == str(tmp_path / "x.mp4")
