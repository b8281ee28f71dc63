"""The pictures of a comparison, side by side."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cut.compare.runs import Outcome
from cut.data.evaluation_set import EvaluationSet
from cut.data.images import evenly_chosen, images_if_any, list_images, pair_name, read_image
from cut.errors import UserError
from cut.inference.sheet import shrink, write_sheet

_ROWS = 8
_PX = 320


def write_comparison(path: Path, pictures: EvaluationSet, outcomes: Sequence[Outcome]) -> None:
    """Writes a sheet of some inputs, their targets, and what the first run of each config made of them.

    Args:
        path: PNG to write, in the folder of the comparison.
        pictures: What was translated; nothing is written where images are drawn from noise.
        outcomes: Runs that are done.
    """
    if pictures.inputs is None:
        return
    first: dict[str, Outcome] = {}
    for outcome in outcomes:
        if not outcome.error:
            first.setdefault(outcome.name, outcome)
    titles = [f"{name} ({outcome.remark})" if outcome.remark else name for name, outcome in first.items()]
    made = [path.parent / name / f"seed_{outcome.seed}_pictures" for name, outcome in first.items()]
    partners = {pair_name(target.relative_to(pictures.targets)): target for target in images_if_any(pictures.targets)}
    rows, names = [], []
    for picture in evenly_chosen(list_images(pictures.inputs), _ROWS):
        name = picture.relative_to(pictures.inputs)
        rows.append([_small(picture), _small(partners.get(pair_name(name)))])
        rows[-1] += [_small((folder / name).with_suffix(".png")) for folder in made]
        names.append(str(name))
    write_sheet(path, ["input", "style" if pictures.has_style else "target", *titles], rows, names)


def _small(path: Path | None) -> np.ndarray | None:
    """The picture in 8 bits; None where there is none, as of a target of another name."""
    try:
        return shrink(read_image(path, 3), _PX) if path else None
    except UserError:
        return None
