"""The score that compares several outputs of one picture with each other."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from cut.errors import UserError
from cut.metrics.diversity import cosine_distance, mean_pairwise
from cut.scoring.feature_scores import FeatureReader
from cut.scoring.pair_scores import read_scaled, summarise
from cut.scoring.perceptual import Lpips
from cut.scoring.scores import Score


def score_diversity(groups: Iterable[Sequence[Path]], network: Lpips | FeatureReader, intervals: bool) -> Score:
    """The mean distance between outputs of one picture, averaged over pictures.

    Args:
        groups: Outputs of each picture, two or more.
        network: LPIPS, or a feature network, by which the distance is 1 - cosine.
        intervals: Whether to compute the interval of 95 %.

    Raises:
        UserError: A picture is broken, too small, or differs in size from others of its group.
    """
    values = []
    for paths in groups:
        if isinstance(network, Lpips):
            values.append(_by_lpips(paths, network))
        else:
            features = np.concatenate(list(network.batches(paths, lambda _: None)))
            values.append(mean_pairwise(cosine_distance, list(features.astype(np.float64))))
    return summarise({"diversity": values}, intervals)[0]["diversity"]


def _by_lpips(paths: Sequence[Path], network: Lpips) -> float:
    pictures = [read_scaled(path, np.float64) for path in paths]
    for path, picture in zip(paths, pictures, strict=True):
        if picture.shape != pictures[0].shape:
            raise UserError(f"{path}: differs in size from {paths[0]}, another output of its picture; translate again")
    try:
        return mean_pairwise(network, pictures)
    except UserError as error:
        raise UserError(f"{paths[0]}: {error}") from None
