"""Reads the folder of a comparison, as cut-compare leaves it, of which any part may be missing, cut off or damaged."""

import csv
import io
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cut.data.images import READ_SUFFIXES, images_if_any, pair_name
from cut.errors import UserError, shortened
from cut.report.own_pictures import may_show
from cut.report.read_run import PARTS, Run, read_mapping, read_part, read_run, read_runs

_TABLE = "table.csv"  # by which a comparison is known
_BEST = re.compile(r"(.+), best [^,]+")  # the row of a run's best.pt
_BOLD = re.compile(r"\*\*(.+?)\*\*")


@dataclass(frozen=True)
class Cell:
    """A cell of the table; `is_best` where no other row has a better mean."""

    text: str
    is_best: bool


@dataclass(frozen=True)
class Comparison:
    """What is known of a comparison.

    `whole` is its folder, whose notes tell what could not be read. `runs` are one per row: its first run that has not
    failed. `table` has the header first, `remarks` are what stands below it.
    """

    whole: Run
    runs: list[Run]
    table: list[list[Cell]]
    remarks: list[str]

    @property
    def sheet(self) -> Path | None:
        """The pictures of all rows, side by side; None where images are drawn from noise."""
        has_inputs = any("input" in entry for run in self.runs for entry in run.evaluation["pictures"])
        path = self.whole.path / "sheet.png"
        return path if (has_inputs or path.exists()) and may_show(self.whole, path) else None


def read_folders(paths: Sequence[Path]) -> tuple[list[Run], Comparison | None]:
    """Reads run directories, or the folder of one comparison.

    Raises:
        UserError: a folder is neither, is given twice, or a comparison is given with others.
    """
    comparisons = [path for path in map(Path, paths) if _is_comparison(path)]
    if not comparisons:
        return read_runs(paths), None
    if len(paths) > 1:
        raise UserError(
            f"{comparisons[0]}: is a comparison, which fills a page; give it alone, or name runs of it, such as "
            f"{comparisons[0] / 'cut' / 'seed_0'}"
        )
    found = _read_comparison(comparisons[0])
    return found.runs, found


def _is_comparison(path: Path) -> bool:
    return (path / _TABLE).exists() and not any((path / part).exists() for part in PARTS)


def _read_comparison(path: Path) -> Comparison:
    whole = Run(path, path.resolve().name)
    chosen = _choose(whole)
    if not chosen:
        why = "; ".join(whole.notes) or f"{_TABLE} names no run"
        raise UserError(f"{path}: {why}; the same cut-compare writes it again, and trains nothing twice")
    content = read_mapping(whole, "input.json", json.loads)
    folders = {role: _folder(whole, content, *keys) for role, keys in _FOLDERS.items()}
    if folders["input"] == folders["target"]:  # images are drawn from noise
        del folders["input"]
    runs = []
    for name, row in chosen.items():
        run_dir = _run_dir(whole, name, row)
        if may_show(whole, run_dir):
            runs.append(_read_row(whole, name, row, run_dir, folders))
    if not runs:
        raise UserError(f"{path}: {'; '.join(whole.notes)}")
    table, remarks = _read_table(whole)
    if any(row["seeds"] != "1" for row in chosen.values()):
        remarks.append("Pictures, curves and settings below are those of one run per method.")
    return Comparison(whole, runs, table, remarks)


def _choose(whole: Run) -> dict[str, dict[str, str]]:
    """The rows of table.csv to show, by method: the first that has not failed, or the first; failures become notes.

    `seeds` of a row is how many runs its method has.
    """
    text = (read_part(whole, _TABLE, str) or "").removeprefix("\ufeff")  # which spreadsheets put before it
    try:
        entries = [
            {key: value for key, value in entry.items() if isinstance(key, str) and isinstance(value, str)}
            for entry in csv.DictReader(io.StringIO(text))
        ]
    except csv.Error as error:
        whole.notes.append(f"{_TABLE}: cannot be read ({error})")
        return {}
    runs = [entry for entry in entries if entry.get("method") and re.fullmatch(r"[0-9]{1,9}", entry.get("seed", ""))]
    for entry in runs:
        if entry.get("error"):
            whole.notes.append(f"{entry['method']}, seed {entry['seed']}: failed: {shortened(entry['error'])}")
    names = [entry["method"] for entry in runs]
    chosen: dict[str, dict[str, str]] = {}
    for entry in sorted(runs, key=lambda entry: bool(entry.get("error"))):
        chosen.setdefault(entry["method"], entry | {"seeds": str(names.count(entry["method"]))})
    return {name: chosen[name] for name in dict.fromkeys(names)}


_FOLDERS = {"input": ("inputs", "generated"), "target": ("targets", "target")}  # folder of ours, key of input.json


def _folder(whole: Run, content: dict[str, Any], own: str, key: str) -> Path | None:
    """Where the inputs or the targets lie."""
    if (whole.path / "pictures" / own).is_dir():
        return whole.path / "pictures" / own
    section = content.get(key)
    folder = section.get("folder") if isinstance(section, dict) else None
    return Path(folder) if isinstance(folder, str) and folder and "\0" not in folder else None


def _run_dir(whole: Run, name: str, row: dict[str, str]) -> Path:
    """The run directory of a row, beside which its results lie; there is none of what was not trained for itself."""
    best = _BEST.fullmatch(name)
    if best and not os.path.exists(whole.path / name):  # `Path.exists` fails where a name is too long
        return whole.path / best[1] / f"seed_{row['seed']}_best"
    return whole.path / name / f"seed_{row['seed']}"


def _read_row(whole: Run, name: str, row: dict[str, str], run_dir: Path, folders: dict[str, Path | None]) -> Run:
    """The run of a row, trained or not, with the pictures that were scored."""
    is_trained = os.path.exists(run_dir) or (bool(row.get("steps")) and not _BEST.fullmatch(name))
    run = read_run(run_dir, name) if is_trained else Run(run_dir, name)
    beside = run_dir.relative_to(whole.path)
    result = read_mapping(whole, f"{beside}.json", json.loads)
    if not run.config and isinstance(config := result.get("config"), dict):
        run.config = config
    run.comparison = whole.path
    run.costs = read_mapping(whole, f"{beside}_test.json", json.loads)
    run.evaluation = {**run.evaluation, "pictures": _pictures(run, folders)}
    if not (run.evaluation["pictures"] or row.get("error")):
        run.notes.append(f"{beside}_pictures: holds no pictures")
    return run


def _pictures(run: Run, folders: dict[str, Path | None]) -> list[dict[str, str]]:
    """The translations of a run with their inputs and targets, as evaluation.json names such."""
    translated = run.path.with_name(f"{run.path.name}_pictures")
    if not (os.path.isdir(translated) and may_show(run, translated)):
        return []
    data = run.config.get("data")
    is_style = isinstance(data, dict) and data.get("name") == "single"  # of other content than the translation
    listed: dict[Path, dict[str, Path]] = {}
    entries = []
    for path in images_if_any(translated):
        name = path.relative_to(translated)
        entry = {"name": name.as_posix(), "translation": str(path.absolute())}
        for role, folder in folders.items():
            if folder and (partner := _in_folder(folder / name.parent, listed).get(pair_name(Path(name.name)))):
                entry["style" if role == "target" and is_style else role] = str(partner.absolute())
        entries.append(entry)
    return entries


def _in_folder(folder: Path, listed: dict[Path, dict[str, Path]]) -> dict[str, Path]:
    """The pictures right in a folder, without those below it: a damaged file may name any folder of the disk."""
    if folder not in listed:
        try:
            paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in READ_SUFFIXES)
        except OSError:
            paths = []
        listed[folder] = {pair_name(Path(path.name)): path for path in paths}
    return listed[folder]


def _read_table(whole: Run) -> tuple[list[list[Cell]], list[str]]:
    """The rows of table.md, and the lines below."""
    text = read_part(whole, "table.md", str)
    if text is None and not (whole.path / "table.md").exists():
        whole.notes.append("table.md: no such file")
    lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines if line.startswith("|")]
    rows = [row for row in rows if not all(re.fullmatch(r"\s*:?-+:?\s*", cell) for cell in row)]
    width = max(map(len, rows), default=0)
    cells = [[*map(_cell, row), *[Cell("", False)] * (width - len(row))] for row in rows]
    return cells, [line for line in lines if not line.startswith("|")]


def _cell(text: str) -> Cell:
    shown = _BOLD.sub(r"\1", text.strip()).replace("\\|", "|")
    return Cell(shown, bool(_BOLD.search(text)))
