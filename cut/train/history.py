"""Reads what a run has logged, whole or cut off."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from cut.storage.files import open_regular

_LARGEST = float(np.finfo(np.float32).max)

Curve = tuple[np.ndarray, np.ndarray]  # steps, ascending, and the finite values at them; both float64


def read_lines(path: Path) -> list[tuple[str, dict[str, Any] | None]]:
    """Each line of a `metrics.jsonl` without its end, and what it holds; None where it is broken, as a kill leaves it.

    A line is whole where it is a JSON object with a step, see `is_step`. A file that is missing has no lines.

    Raises:
        OSError: The file cannot be read, or is no regular file.
    """
    if not path.exists():
        return []
    with open_regular(path) as file:
        text = file.read().decode("utf-8", "replace")
    # Not `splitlines`, which also splits at characters that JSON allows inside a text.
    return [(line, _entry(line)) for line in text.split("\n") if line.strip()]


def _entry(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) and is_step(entry.get("step")) else None


def read_entries(path: Path) -> tuple[list[dict[str, Any]], int]:
    """What the whole lines of a `metrics.jsonl` hold, and the number of broken ones.

    Raises:
        OSError: See `read_lines`.
    """
    found = [entry for _, entry in read_lines(path)]
    entries = [entry for entry in found if entry is not None]
    return entries, len(found) - len(entries)


def curves_of(entries: list[dict[str, Any]]) -> dict[str, Curve]:
    """The numbers logged under each key besides `step` and `time`, in the order of the keys' first appearance.

    Of two values at one step, as runs have them that were resumed, the later counts. What `is_number` refuses is
    left out.
    """
    points: dict[str, dict[int, float]] = {}
    for entry in entries:
        for key, value in entry.items():
            if key not in ("step", "time") and is_number(value):
                points.setdefault(key, {})[entry["step"]] = value
    return {key: tuple(np.array(sorted(p.items()), dtype=np.float64).T) for key, p in points.items()}


def is_step(value: Any) -> bool:
    """Whether a value read from JSON can be a step: a whole number from 0 to 2^53, which float64 counts exactly."""
    return type(value) is int and 0 <= value <= 2**53


def is_number(value: Any) -> bool:
    """Whether a value read from JSON is a number that a run can have logged: finite, and within float32.

    What is larger came from elsewhere, and sums of it would overflow.
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST
