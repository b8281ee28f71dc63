"""Reads what a run has logged, whole or cut off."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from cut.storage.files import open_regular

_LARGEST = float(np.finfo(np.float32).max)

Curve = tuple[np.ndarray, np.ndarray]  # steps, ascending, and the finite values at them; both float64


def read_entries(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The whole lines of a `metrics.jsonl`, and the number of broken ones, such as a kill leaves.

    A line is whole where it is a JSON object with a step, see `is_step`. A file that is missing has no lines.

    Raises:
        OSError: the file cannot be read.
    """
    entries, broken = [], 0
    try:
        with open_regular(path) as file:
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return [], 0
    # Not `splitlines`, which also splits at characters that JSON allows inside a text.
    for line in text.split("\n"):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if isinstance(entry, dict) and is_step(entry.get("step")):
            entries.append(entry)
        else:
            broken += 1
    return entries, broken


def curves_of(entries: list[dict[str, Any]]) -> dict[str, Curve]:
    """The numbers logged under each key besides `step` and `time`, in the order of the keys' first appearance.

    Of two values at one step, as runs have them that were resumed, the later counts. What is no finite number is left
    out.
    """
    points: dict[str, dict[int, float]] = {}
    for entry in entries:
        for key, value in entry.items():
            if key not in ("step", "time") and is_number(value):
                points.setdefault(key, {})[entry["step"]] = value
    return {key: tuple(np.array(sorted(p.items()), dtype=np.float64).T) for key, p in points.items()}


def is_step(value: Any) -> bool:
    """Whether a value read from JSON can be a step: a number from 0 to 2^53, which float64 counts exactly."""
    return is_number(value) and 0 <= value <= 2**53


def is_number(value: Any) -> bool:
    """Whether a value read from JSON is a number that a run can have logged: finite, and within float32.

    What is larger came from elsewhere, and sums of it would overflow.
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST
