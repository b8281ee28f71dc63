"""What a run tells of the code it ran."""

import subprocess

import torch

from cut.runtime import environment


def git(folder, *arguments):
    identity = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
    done = subprocess.run(["git", "-C", folder, *identity, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def revision_of(folder, monkeypatch):
    monkeypatch.setattr(environment, "__file__", str(folder / "cut" / "engine" / "environment.py"))
    return environment.describe_environment(torch.device("cpu"))["git"]


def test_a_checkout_tells_its_revision_and_how_many_files_were_changed_since(tmp_path, monkeypatch):
    git(tmp_path, "init")
    assert revision_of(tmp_path, monkeypatch) is None, "nothing is committed"
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert revision_of(tmp_path, monkeypatch) == {"revision": head, "changed_files": 0}
    (tmp_path / "a.py").write_text("2")
    (tmp_path / "notes.txt").write_text("not part of the code")
    assert revision_of(tmp_path, monkeypatch) == {"revision": head, "changed_files": 1}


def test_an_installed_package_has_no_revision(tmp_path, monkeypatch):
    assert revision_of(tmp_path, monkeypatch) is None
