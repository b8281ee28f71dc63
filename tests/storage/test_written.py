"""What this program wrote is known, and everything else is the user's."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cut.storage.files import write_whole
from cut.storage.written import LIST, adopt, is_foreign, list_beside, list_inside, mark, record, remove_own, require_own


def test_only_what_was_written_here_and_is_still_the_same_is_ours(tmp_path):
    ours, theirs = tmp_path / "ours.txt", tmp_path / "theirs.txt"
    write_whole(ours, "one")
    theirs.write_text("one")
    assert not is_foreign(ours) and is_foreign(theirs) and not is_foreign(tmp_path / "missing" / "x")
    with pytest.raises(FileExistsError, match="this command did not write it") as caught:
        write_whole(theirs, "two")
    assert caught.value.filename == str(theirs) and theirs.read_text() == "one"
    write_whole(ours, "two")
    assert ours.read_text() == "two"


def test_a_file_that_was_changed_or_exchanged_is_the_users(tmp_path):
    path = tmp_path / "x.txt"
    write_whole(path, "one")
    path.write_text("two")  # as long, but of another time and content
    assert is_foreign(path)
    path.write_text("longer")
    assert is_foreign(path)
    path.unlink()
    write_whole(path, "three")
    path.rename(tmp_path / "kept.txt")  # a copy under a name of the user's own
    assert is_foreign(tmp_path / "kept.txt") and not is_foreign(path)


def test_a_copied_folder_is_still_known(tmp_path):
    write_whole(tmp_path / "a" / "x.txt", "one")
    shutil.copytree(tmp_path / "a", tmp_path / "b", copy_function=shutil.copyfile)
    os.utime(tmp_path / "b" / "x.txt", (0, 0))
    assert not is_foreign(tmp_path / "b" / "x.txt")


@pytest.mark.skipif(os.name != "posix", reason="links and pipes of POSIX")
@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "folder"])
def test_what_is_no_regular_file_is_the_users(kind, tmp_path):
    path = tmp_path / "x"
    write_whole(tmp_path / "ours", "one")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("ours" if kind == "link" else "nowhere")
    assert is_foreign(path)
    adopt([path])
    assert is_foreign(path)
    with pytest.raises(FileExistsError):
        require_own(path)


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
def test_a_list_that_is_a_link_or_a_folder_is_not_written_through(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LIST).symlink_to(tmp_path / "precious")
    with pytest.raises(OSError):
        write_whole(tmp_path / "run" / "x.txt", "one")
    assert (tmp_path / "precious").read_text() == "precious" and os.listdir(tmp_path / "run") == [LIST]


def test_lines_that_a_kill_or_somebody_spoiled_are_passed_over(tmp_path):
    write_whole(tmp_path / "a.txt", "one")
    with open(tmp_path / LIST, "ab") as file:
        file.write(b'\n["x"]\nnull\n{"a": 1}\n[[],1,2,"d"]\n' + b"[" * 5000 + b"\n\xff\xfe\n" + b'["b.txt", 3, ')
    write_whole(tmp_path / "b.txt", "two")
    assert not is_foreign(tmp_path / "a.txt") and not is_foreign(tmp_path / "b.txt")


def test_what_another_process_wrote_is_ours_too(tmp_path):
    write_whole(tmp_path / "x.txt", "one")  # the list is read by now
    code = "import sys; from pathlib import Path; from cut.storage.files import write_whole\n"
    code += "write_whole(Path(sys.argv[1]), 'two')"
    subprocess.run([sys.executable, "-c", code, tmp_path / "x.txt"], check=True)
    assert (tmp_path / "x.txt").read_text() == "two" and not is_foreign(tmp_path / "x.txt")
    (tmp_path / LIST).unlink()
    assert is_foreign(tmp_path / "x.txt")


def test_a_kill_between_the_line_and_the_file_leaves_nothing_foreign(tmp_path):
    path, new = tmp_path / "x.txt", tmp_path / "new"
    write_whole(path, "one")
    new.write_text("two")
    record(path, new)  # and then the process ends
    assert not is_foreign(path)
    new.rename(path)
    assert not is_foreign(path)


def test_only_ours_is_removed(tmp_path):
    folder = tmp_path / "folder"
    for name in ("x.png", "sub/y.png", "sub/changed.png"):
        write_whole(folder / name, name)
    for name in ("theirs.png", "sub/changed.png"):
        (folder / name).write_text("mine")
    (folder / f".cut-{0:016x}.part").write_text("half")
    assert sorted(remove_own(folder)) == [folder / "sub" / "changed.png", folder / "theirs.png"]
    left = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert left == ["sub/changed.png", "theirs.png"]
    assert remove_own(tmp_path / "missing") == []


def test_a_name_in_any_encoding_is_kept(tmp_path):
    name = os.fsdecode(b"caf\xe9\n.txt") if os.name == "posix" else "caf\u00e9.txt"
    write_whole(tmp_path / name, "one")
    lines = [line for line in (tmp_path / LIST).read_text(encoding="ascii").splitlines() if line]
    assert len(lines) == 1 and json.loads(lines[0])[0] == name and not is_foreign(tmp_path / name)


def test_a_new_list_in_place_of_a_deleted_one_is_read_from_its_beginning(tmp_path):
    """Its inode and length may be those of the deleted one."""
    for _ in range(20):
        for name in ("a.png", "b.png"):
            write_whole(tmp_path / "folder" / name, b"x")
            assert not is_foreign(tmp_path / "folder" / name)
        assert not remove_own(tmp_path / "folder")


def test_the_list_of_a_folder_of_pictures_lies_beside_it(tmp_path):
    folder, sheet = tmp_path / "out", tmp_path / "out_sheet.png"
    list_beside(folder, sheet)
    for path in (folder / "a.png", folder / "sub" / "b.png", sheet):
        write_whole(path, "one")
        assert not is_foreign(path)
    (folder / "theirs.png").write_text("one")
    assert is_foreign(folder / "theirs.png")
    assert sorted(os.listdir(folder)) == ["a.png", "sub", "theirs.png"] and os.listdir(folder / "sub") == ["b.png"]
    assert sorted(os.listdir(tmp_path)) == [f"{LIST}-out", "out", "out_sheet.png"]
    shutil.copytree(tmp_path, tmp_path / "moved")
    assert not is_foreign(tmp_path / "moved" / "out" / "sub" / "b.png")
    list_beside(tmp_path / "moved" / "out" / "sub")  # by itself, later
    assert not is_foreign(tmp_path / "moved" / "out" / "sub" / "b.png")
    assert remove_own(folder) == [folder / "theirs.png"]
    assert not is_foreign(sheet) and (tmp_path / f"{LIST}-out").read_bytes().count(b"\n[") == 1
    sheet.unlink()
    remove_own(folder)
    assert not (tmp_path / f"{LIST}-out").exists()


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
def test_a_folder_behind_a_link_has_one_list(tmp_path):
    (tmp_path / "disk" / "big").mkdir(parents=True)
    (tmp_path / "out").symlink_to(tmp_path / "disk" / "big")
    list_beside(tmp_path / "out", tmp_path / "out_sheet.png")
    write_whole(tmp_path / "out" / "a.png", "one")
    write_whole(tmp_path / "out_sheet.png", "one")
    assert os.listdir(tmp_path / "disk" / "big") == ["a.png"] and not is_foreign(tmp_path / "out_sheet.png")
    assert not is_foreign(tmp_path / "out" / "a.png") and not is_foreign(tmp_path / "disk" / "big" / "a.png")


def test_where_no_list_can_lie_beside_a_folder_it_lies_inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "disk").mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path).name == "disk")
    for folder in (Path(), tmp_path / "disk", tmp_path / ("x" * 255)):
        list_beside(folder)
        write_whole(folder / "a.png", "one")
        assert not is_foreign(folder / "a.png")
    assert {LIST, "a.png", "disk"} < set(os.listdir(tmp_path)) and sorted(os.listdir("disk")) == [LIST, "a.png"]
    assert os.listdir("x" * 255) == ["a.png"]


def test_what_was_written_as_something_else_is_foreign(tmp_path):
    scores, sheet, old = (tmp_path / "run" / name for name in ("environment.json", "samples/1.png", "old.json"))
    write_whole(scores, "{}")
    write_whole(sheet, "one")
    write_whole(old, "{}")
    lines = [json.loads(line) for line in (old.parent / LIST).read_text().splitlines() if line]
    lines = [line[:4] if line[0] == old.name else line for line in lines]  # earlier versions wrote no more
    (old.parent / LIST).write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    mark(scores, "scores")
    mark(old, "scores")
    list_beside(tmp_path / "run", kind="translations")
    assert is_foreign(scores) and is_foreign(sheet) and not is_foreign(old)
    list_inside(tmp_path / "run")  # a training again
    assert not is_foreign(sheet) and not is_foreign(scores)
