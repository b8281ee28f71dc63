"""`cut.score(generated, target)`: the scores of cut-eval."""

import os
from collections.abc import Sequence
from numbers import Real

import torch

from cut.config.bands import require_range
from cut.errors import UserError, shown
from cut.metrics.names import DEFAULT_METRICS, check_metrics
from cut.scoring.evaluator import Evaluator
from cut.scoring.find_pictures import find_pictures, require_colours
from cut.scoring.scores import Score
from cut.scoring.scoring_files import ScoringFiles
from cut.storage.files import given_path


def score(
    generated: str | os.PathLike[str],
    target: str | os.PathLike[str],
    metrics: Sequence[str] = DEFAULT_METRICS,
    *,
    device: str = "auto",
    batch_size: int = 32,
    intervals: bool = False,
    value_range: tuple[float, float] | None = None,
    features: str | os.PathLike[str] | None = None,
    inception_weights: str | os.PathLike[str] | None = None,
    palette: str | None = None,
    segmenter: str | os.PathLike[str] | None = None,
    lpips_backbone: str | os.PathLike[str] | None = None,
) -> dict[str, Score]:
    """Scores a folder of translated pictures against a folder of target pictures, as cut-eval does.

    Args:
        generated: Folder of translated pictures.
        target: Folder of target pictures.
        metrics: Names, as in `cut-eval --metrics`.
        device: `auto`, `cpu` or `cuda`.
        batch_size: Number of pictures that go through a network together; changes nothing but the speed.
        intervals: Whether to compute the interval of 95 % of each score.
        value_range: Lowest and highest value of the pictures' numbers; None takes 0 and the largest of 8 or 16 bits.
        features, inception_weights, palette, segmenter, lpips_backbone: As the options of cut-eval.

    Returns:
        By metric the `Score`: `value`, `count`, and where they were computed `std`, `low` and `high`.

    Raises:
        cut.UserError: Pictures or weights are missing or do not fit the metrics.
    """
    check_metrics(metrics)
    if value_range is not None and not _is_range(value_range):
        raise UserError(f"value_range {shown(value_range)}: must be (lowest, highest), finite")
    own, others = given_path(generated, "generated"), given_path(target, "target")
    require_colours(find_pictures(own, others, metrics)[0][0], metrics)  # before a network is loaded
    paths = (
        given_path(file, "file") if file else None for file in (features, inception_weights, segmenter, lpips_backbone)
    )
    own_features, inception, own_segmenter, backbone = paths
    files = ScoringFiles(own_features, inception, palette, own_segmenter, backbone).arguments(metrics)
    where = "cuda" if device == "auto" and torch.cuda.is_available() else device.replace("auto", "cpu")
    evaluator = Evaluator(
        others,
        tuple(metrics),
        batch_size=batch_size,
        device=where,
        intervals=intervals,
        limits=value_range,
        **files,
    )
    return evaluator.score(own).scores


def _is_range(given: object) -> bool:
    if not isinstance(given, list | tuple) or [isinstance(value, Real) for value in given] != [True, True]:
        return False
    try:
        require_range((given[0], given[1]))
    except ValueError:
        return False
    return True
