"""Files that are open elsewhere, as Windows has it, where they can be neither replaced nor deleted."""

import errno
import os
import time
from pathlib import Path

import pytest

from cut.errors import UserError
from cut.storage import replacing
from cut.storage.checkpoint import save_checkpoint
from cut.storage.files import write_whole


@pytest.fixture
def open_elsewhere(monkeypatch):
    """Lets `os.replace` and `Path.unlink` refuse the files of these names, so many times each."""
    monkeypatch.setattr(replacing, "_PAUSE_SECONDS", 0.01)
    left = {}

    def refusing(call, place):
        def tried(*arguments, **settings):
            name = Path(arguments[place]).name
            if left.get(name, 0) > 0:
                left[name] -= 1
                raise PermissionError(errno.EACCES, "Access is denied", name)
            return call(*arguments, **settings)

        return tried

    monkeypatch.setattr(os, "replace", refusing(os.replace, 1))
    monkeypatch.setattr(Path, "unlink", refusing(Path.unlink, 0))
    return left


def test_on_windows_a_file_that_is_open_for_a_moment_is_replaced_after_it(open_elsewhere, tmp_path, monkeypatch):
    monkeypatch.setattr(replacing, "_ON_WINDOWS", True)
    write_whole(tmp_path / "losses.png", "old")
    open_elsewhere["losses.png"] = 3
    write_whole(tmp_path / "losses.png", "new")
    assert (tmp_path / "losses.png").read_text() == "new" and open_elsewhere["losses.png"] == 0
    assert not list(tmp_path.glob("*.part"))


def test_on_windows_a_file_that_stays_open_is_an_error_that_says_so(open_elsewhere, tmp_path, monkeypatch):
    monkeypatch.setattr(replacing, "_ON_WINDOWS", True)
    monkeypatch.setattr(replacing, "_SECONDS", 0.05)
    open_elsewhere["step_00000002.pt"] = 1000
    with pytest.raises(UserError) as told:
        save_checkpoint(tmp_path, 2, {}, keep=1)
    assert "another program has it open; close it there); run the same command again" in str(told.value)
    assert not list(tmp_path.glob("*.p*"))  # no half file


def test_elsewhere_what_may_not_be_written_is_told_at_once(open_elsewhere, tmp_path):
    open_elsewhere["file"] = 1000
    start = time.monotonic()
    with pytest.raises(PermissionError, match="Access is denied"):
        write_whole(tmp_path / "file", "new")
    assert time.monotonic() - start < 1 and open_elsewhere["file"] == 999


def test_an_old_checkpoint_that_is_open_elsewhere_stays_until_the_next_save(open_elsewhere, tmp_path):
    save_checkpoint(tmp_path, 1, {}, keep=1)
    open_elsewhere["step_00000001.pt"] = 1
    save_checkpoint(tmp_path, 2, {}, keep=1)
    assert len(list(tmp_path.glob("step_*.pt"))) == 2
    save_checkpoint(tmp_path, 3, {}, keep=1)
    assert [path.name for path in tmp_path.glob("step_*.pt")] == ["step_00000003.pt"]
