"""The note beside a data set that this program made: from what, and how many pictures each folder holds."""

import json
from pathlib import Path
from typing import Any

from cut.errors import UserError
from cut.storage.files import open_regular, write_json


def already_built(output: Path, name: str, recipe: dict[str, Any]) -> dict[str, int] | None:
    """Number of pictures per folder where `output` holds the whole set already; None where there is nothing yet.

    Args:
        output: Folder of the set.
        name: Name of the set, and of its note.
        recipe: Everything that decides which pictures there are, as JSON gives it back.

    Raises:
        UserError: It holds something else.
    """
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return None
    try:
        with open_regular(output / f"{name}.json") as file:
            note = json.load(file)
        found = f"{name} with other settings ({', '.join(f'{key} {value}' for key, value in note['recipe'].items())})"
        complete = all(len(list((output / folder).glob("*.png"))) == n for folder, n in note["counts"].items())
        if note["recipe"] == recipe and complete:
            return note["counts"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        found = "something else"
    raise UserError(f"{output}: holds {found} already; delete it or name another --output")


def write_note(folder: Path, name: str, recipe: dict[str, Any], counts: dict[str, int]) -> None:
    """Writes what `already_built` reads.

    Raises:
        OSError: The note cannot be written.
    """
    write_json(folder / f"{name}.json", {"recipe": recipe, "counts": counts}, checked=False)
