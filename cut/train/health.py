"""Cheap figures that tell a sick run from a sound one, and plain words where one collapses."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from lightning_fabric import Fabric
from PIL import Image
from torch import Tensor

from cut.inference.sheet import as_colours
from cut.methods.base import Judgement, Method
from cut.models.batch_norm import untracked_statistics
from cut.runtime.processes import Processes
from cut.runtime.seeding import undisturbed
from cut.runtime.sharding import working_on
from cut.train.step import Piece

_THUMBNAIL_PX = 16
_SATURATED = 2  # grey levels from the ends of the range
_FLAT = 0.01  # standard deviation below which pictures show nothing
_SAME = 0.02  # variety, as a share of the inputs', below which translations do not depend on their input
_FULL = 0.95  # share of saturated pixels


def judge(method: Method, pieces: Sequence[Piece], fabric: Fabric, processes: Processes) -> dict[str, Tensor]:
    """Accuracies of a step's discriminators, over the whole batch, still on the device."""
    means: dict[str, Tensor] = {}
    with torch.no_grad(), undisturbed(), untracked_statistics(method), fabric.autocast():
        for piece in pieces:
            with working_on(piece.shard):
                for name, figure in discriminator_accuracy(method.judgements(piece.translated)).items():
                    means[name] = means.get(name, 0.0) + figure / len(pieces)
    processes.average(list(means.values()))
    return means


def discriminator_accuracy(judgements: Mapping[str, Judgement]) -> dict[str, Tensor]:
    """Share of scores on the right side, of real and of generated images, for each discriminator.

    At the optimum of the game, D = p_data / (p_data + p_G) = 1/2, neither says anything (Goodfellow et al., NeurIPS
    2014, section 4.1); 1 for both, for long, means that the generator learns little from this discriminator.
    """
    return {
        f"health/{name}/{figure}": value
        for name, judged in judgements.items()
        for figure, value in judged.accuracy().items()
    }


def output_figures(outputs: Sequence[np.ndarray], inputs: Sequence[np.ndarray] = ()) -> dict[str, float]:
    """What the generator's pictures look like, in shares of the full range.

    Args:
        outputs: `(H, W, C)` uint8.
        inputs: what they were made from.

    Returns:
        output_std: mean standard deviation inside a picture. saturated_share: of pixels at either end of the range.
        output_variety: mean difference between two outputs, as thumbnails; input_variety likewise, where known.
    """
    figures = {
        "health/output_std": float(np.mean([picture.std() for picture in outputs])) / 255.0,
        "health/saturated_share": float(
            np.mean([((p <= _SATURATED) | (p >= 255 - _SATURATED)).mean() for p in outputs])
        ),
    }
    for name, pictures in (("output", outputs), ("input", inputs)):
        if len(pictures) > 1:
            figures[f"health/{name}_variety"] = _variety(pictures)
    return figures


def worst_figures(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of several generators' `output_figures` the worst of each: a collapsed one must not hide behind a sound one."""
    worst = {}
    for name in dict.fromkeys(name for own in figures for name in own):
        choose = max if name == "health/saturated_share" else min
        worst[name] = choose(own[name] for own in figures if name in own)
    return worst


def signs_of_collapse(figures: Mapping[str, float]) -> list[str]:
    """A sentence for each thing that a sound run does not show."""
    signs = []
    if figures["health/output_std"] < _FLAT:
        signs.append("the generator's pictures are flat")
    variety = figures.get("health/output_variety", 1.0)
    if variety < _SAME * figures.get("health/input_variety", 0.25):
        signs.append("the generator's pictures are all the same")
    if figures["health/saturated_share"] > _FULL:
        signs.append("nearly all pixels of the generator's pictures are at the ends of the range")
    return signs


def _variety(pictures: Sequence[np.ndarray]) -> float:
    size = (_THUMBNAIL_PX, _THUMBNAIL_PX)
    colours = [Image.fromarray(as_colours(p).squeeze()).convert("RGB") for p in pictures]
    small = [np.asarray(picture.resize(size, Image.Resampling.BOX), dtype=np.float64) for picture in colours]
    differences = [np.abs(a - b).mean() for i, a in enumerate(small) for b in small[:i]]
    return float(np.mean(differences)) / 255.0


def to_numbers(figures: Mapping[str, Tensor]) -> dict[str, float]:
    """One transfer from the device for all."""
    return dict(zip(figures, torch.stack(list(figures.values())).tolist(), strict=True)) if figures else {}
