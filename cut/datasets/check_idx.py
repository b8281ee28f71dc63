"""The part of `cut-data check` that knows sets in MNIST's format."""

import dataclasses
from pathlib import Path

from cut.data.idx import is_idx, measure_idx
from cut.datasets.check_report import Folder, Report
from cut.errors import UserError


def with_idx_files(report: Report) -> Report:
    """The report on a folder without pictures, in which its IDX files stand as the folders; other reports unchanged."""
    root = Path(report.root)
    paths = sorted(path for path in root.rglob("*") if is_idx(path) and path.is_file())
    if report.layout != "nothing" or not paths:
        return report
    folders, broken = [], {}
    for path in paths:
        try:
            shape = measure_idx(path)
        except UserError as error:
            broken[path.relative_to(root).as_posix()] = str(error).removeprefix(f"{path}: ")
            continue
        if len(shape) == 3:
            folders.append(_folder(path.relative_to(root).as_posix(), *shape))
    empty = [] if folders or broken else [". (labels without pictures)"]
    ignored = {
        suffix: count for suffix, count in report.ignored.items() if suffix not in (".gz", "(no suffix)", ".idx")
    }
    return dataclasses.replace(report, layout="idx", folders=folders, broken=broken, empty=empty, ignored=ignored)


def _folder(name: str, count: int, height: int, width: int) -> Folder:
    size = (width, height)
    return Folder(name, count, 0, size, size, size, size, count, {"L": count})
