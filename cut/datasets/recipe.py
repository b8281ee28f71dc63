"""The note beside a data set that this program made: from what, and how many pictures each folder holds."""

from pathlib import Path
from typing import Any

from cut.errors import UserError, shortened
from cut.storage.files import read_json, write_json


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
    note, found = read_json(output / f"{name}.json"), "something else"
    own, counts = note.get("recipe"), note.get("counts")
    if own == recipe and isinstance(counts, dict) and counts:
        try:
            if all(len(list((output / folder).glob("*.png"))) == count for folder, count in counts.items()):
                return counts
        except (OSError, ValueError):  # of names that no folder can have
            pass
    if isinstance(own, dict) and own:
        settings = shortened(", ".join(f"{key} {value}" for key, value in own.items()))
        found = f"parts of {name}" if own == recipe else f"{name} with other settings ({settings})"
    raise UserError(f"{output}: holds {found} already; delete it or name another --output")


def write_note(folder: Path, name: str, recipe: dict[str, Any], counts: dict[str, int]) -> None:
    """Writes what `already_built` reads.

    Raises:
        OSError: The note cannot be written.
    """
    write_json(folder / f"{name}.json", {"recipe": recipe, "counts": counts}, checked=False)
