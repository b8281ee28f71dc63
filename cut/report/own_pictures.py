"""Which pictures a page may show: those of the run, and those of the data that its config names.

A run directory may come from a stranger. Without this, its evaluation.json or a link in it would put any picture of
this disk on a page that is then handed on.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cut.report.read_run import Run


def may_show(run: "Run", path: Path) -> bool:
    """Whether the page of a run may show a picture; a note says why not."""
    try:
        if _is_of_run(run, path):
            return True
    except (OSError, ValueError):  # what is no path
        pass
    note = f"{path}: is not shown, because it lies neither in the run nor in the data of its config"
    if note not in run.notes:
        run.notes.append(note)
    return False


def _is_of_run(run: "Run", path: Path) -> bool:
    """Whether a picture lies in the run directory, in the comparison that the run is of, or in the data of the run's
    config; links are followed."""
    place = os.path.abspath(path)
    for folder in filter(None, (run.path, run.comparison)):
        if _is_inside(os.path.abspath(path), os.path.abspath(folder)):
            place = os.path.realpath(path)
            if _is_inside(place, os.path.realpath(folder)):
                return True
    return any(_is_data(place, name) for name in _data_paths(run))


def _data_paths(run: "Run") -> list[str]:
    """`data.root`, or the single pictures `data.a` and `data.b`."""
    data = run.config.get("data")
    found = [data.get(key) for key in ("root", "a", "b")] if isinstance(data, dict) else []
    return [os.path.expandvars(os.path.expanduser(name)) for name in found if isinstance(name, str) and name]


def _is_data(place: str, name: str) -> bool:
    """Whether `place` is the picture `name`, or lies in that folder: where it is now, or where it was for the training,
    which may have run in another folder; or in what a link in it points to."""
    parts = os.path.normpath(name).split(os.sep)
    is_relative = not os.path.isabs(name) and parts[0] not in (os.curdir, os.pardir)
    if is_relative and any(place.split(os.sep)[at : at + len(parts)] == parts for at in range(place.count(os.sep))):
        return True
    folder = os.path.abspath(name)
    if any(_is_inside(place, root) for root in (folder, os.path.realpath(folder))):
        return True
    links = [entry.path for entry in os.scandir(folder) if entry.is_symlink()] if os.path.isdir(folder) else []
    return any(_is_inside(place, os.path.realpath(link)) for link in links)


def _is_inside(place: str, folder: str) -> bool:
    return place == folder or place.startswith(folder.rstrip(os.sep) + os.sep)
