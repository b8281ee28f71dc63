"""Several outputs of one picture, as `cut-test --num-outputs` names them."""

import re
from collections.abc import Sequence
from pathlib import Path

from cut.data.images import pair_name
from cut.errors import UserError

_NUMBERED = re.compile(r"(.+)_(\d+)")


def find_outputs(folder: Path, paths: Sequence[Path], targets: Path, target_paths: Sequence[Path]) -> list[list[Path]]:
    """The pictures of a folder by what they are outputs of: NAME_0, NAME_1 and so on, as many of each.

    Args:
        folder: Folder of the outputs.
        paths: Its pictures.
        targets: Folder of the targets.
        target_paths: Its pictures, whose names are those of whole pictures: `tile_0` with a target `tile_0` is no
            output of a picture `tile`.

    Raises:
        UserError: A picture has one output, or pictures have not equally many.
    """
    own_names = {pair_name(path.relative_to(targets)) for path in target_paths}
    found: dict[str, dict[str, Path]] = {}
    for path in paths:
        name = pair_name(path.relative_to(folder))
        match = None if name in own_names else _NUMBERED.fullmatch(name)
        picture, number = match.groups() if match else (name, "")
        found.setdefault(picture, {})[number] = path
    for outputs in found.values():
        if len(outputs) < 2 or sorted(outputs) != numbers(len(outputs)):
            raise UserError(
                f"{next(iter(outputs.values()))}: is the only output of its picture; diversity compares several, which "
                "cut-test --num-outputs 5 writes as NAME_0 to NAME_4 (MUNIT, DRIT); or leave diversity out"
            )
    counts = {len(outputs): picture for picture, outputs in found.items()}
    if len(counts) > 1:
        few, many = min(counts), max(counts)
        raise UserError(
            f"{folder}: holds {few} outputs of {counts[few]} and {many} of {counts[many]}; translate again with one "
            "--num-outputs and --remove-old"
        )
    return [[outputs[number] for number in sorted(outputs)] for outputs in found.values()]


def numbers(count: int) -> list[str]:
    """How `count` outputs are numbered, equally wide, so that names sort."""
    return [f"{number:0{len(str(count - 1))}}" for number in range(count)]
