"""Keeps a comparison from writing over what is not its own."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from cut.compare.results import BEST, outputs_json, test_json, transferred
from cut.data.evaluation_set import require_own_pictures
from cut.errors import UserError, listed
from cut.storage.files import find_collision, open_regular
from cut.storage.written import LIST, SCORES, TRANSLATIONS, is_foreign, mark, was_written
from cut.terminal import say

_LOG_BEGINS = b"$ cut-"


def require_own_files(output: Path, names: Sequence[str], num_seeds: int) -> None:
    """Refuses to compare where files of a comparison are there that none wrote.

    Results that were damaged or changed are moved aside, and their parts are done again.

    Args:
        output: Folder of the comparison.
        names: Names of its rows.
        num_seeds: Number of runs of each.

    Raises:
        UserError: So it is.
    """
    stems = [f"seed_{seed}{of}" for seed in range(num_seeds) for of in ("", BEST)]
    results = [output / name / f"{stem}.json" for name in names for stem in stems]
    several = [outputs_json(result) for result in results]
    tests = [test_json(result.with_suffix("")) for result in results]
    scored = [output / "input.json", transferred(output).with_suffix(".json"), *results]
    own = [*scored, *several, *tests]
    for path in own:
        mark(path, SCORES)
    whole = [output / name for name in ("table.md", "table.csv", "sheet.png", "pace.json")]
    foreign = [path for path in whole if is_foreign(path)]
    foreign += [path for path in own if is_foreign(path) and not _can_move_aside(path)]
    logs = [path.with_suffix(".log") for path in [*scored, output / "pace.json"]]
    _require_own_names(names, [*own, *whole, *logs, transferred(output)], output)
    foreign += [log for log in logs if _is_foreign_log(log)]
    if foreign:
        raise UserError(
            f"{listed(foreign)}: is there already, and cut-compare did not write it, or it was changed since; "
            "rename it, or choose another --output"
        )
    for result in results:
        require_own_pictures(result.with_name(f"{result.stem}_pictures"), TRANSLATIONS)
        require_own_pictures(outputs_json(result).with_suffix(""), TRANSLATIONS)
    require_own_pictures(transferred(output), TRANSLATIONS)
    for path in own:
        _move_aside(path)


def _require_own_names(names: Sequence[str], files: Iterable[Path], output: Path) -> None:
    """Refuses names of rows under which a comparison keeps something else, before the folder of a run is in its way.

    Args:
        names: Names of the rows.
        files: All that the comparison writes besides runs.
        output: Folder of the comparison.

    Raises:
        UserError: There is such a name.
    """
    taken = {path.name for path in files if path.parent == output}
    found = find_collision([Path(name) for name in (*names, *sorted(taken), ".lock", LIST)], output)
    if found:
        raise UserError(f"--configs: {names[found[0]]}: is the name of something else in {output} too; rename the YAML")


def _aside(result: Path) -> Path:
    return result.with_suffix(".changed.json")


def _can_move_aside(result: Path) -> bool:
    """Whether a result was written by this program once, whatever it holds now, and can be renamed."""
    return was_written(result) and not os.path.lexists(_aside(result))


def _move_aside(result: Path) -> None:
    """Renames a result that is not as this program wrote it, whether it was damaged or edited."""
    if is_foreign(result) and _can_move_aside(result):
        result.rename(_aside(result))
        say(
            f"  warning: {result}: damaged, or changed since; it is {_aside(result).name} now, and that part is done "
            "again"
        )


def _is_foreign_log(path: Path) -> bool:
    """Whether something else has the name of a log, which grows and so is on no list."""
    if not os.path.lexists(path):
        return False
    if path.is_symlink() or not path.is_file():
        return True
    with open_regular(path) as file:
        return file.read(len(_LOG_BEGINS)) not in (b"", _LOG_BEGINS)
