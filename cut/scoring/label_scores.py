"""Scores of the classes of pixels: of generated label pictures, or of what a network sees in generated photographs."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cut.data.images import read_image, to_8_bit
from cut.errors import UserError, shortened
from cut.metrics.intervals import bootstrap_interval
from cut.metrics.segmentation import (
    MATRIX_METRICS,
    confusion,
    label_ranking,
    mean_average_precision,
    probability_ranking,
)
from cut.scoring.pair_scores import read_scaled, refuse_differing, size_difference
from cut.scoring.palette import Palette
from cut.scoring.scores import Score
from cut.scoring.segmenter import Segmenter

# Distance of colours, share of pixels: JPEG puts 18 % of pix2pix's facades further than 32 from all colours of theirs;
# with other palettes, and for photographs, it was 47 % or more.
_FAR, _MANY = 32.0, 1 / 3
_NAMES_SHOWN, _NAME_CHARACTERS = 20, 40  # of classes, in a warning


@dataclass
class LabelScorer:
    """Compares generated pictures with label pictures, whose colours the palette decodes.

    Args:
        segmenter: reads the classes off generated photographs; without one, they are label pictures themselves.
        target: what warnings call the folder of label pictures.
    """

    palette: Palette
    segmenter: Segmenter | None
    device: str
    target: Path

    def score(
        self, pairs: Iterable[tuple[Path, Path]], names: list[str], intervals: bool
    ) -> tuple[dict[str, Score], list[str]]:
        """The scores over the pixels of all pairs, and warnings.

        Raises:
            UserError: a picture is broken; label pictures of a pair differ in size; all pixels are void.
        """
        matrices: list[np.ndarray] = []
        rankings, far, differing = [], [], []
        ranked = "mean_average_precision" in names
        for path, target_path in pairs:
            labels, distances = self.palette.decode(_read_8_bit(target_path))
            far.append(np.mean(distances > _FAR))
            predicted, log_odds = self._predict(path, labels.shape)
            if predicted.shape != labels.shape:
                differing.append(size_difference(path, target_path, predicted, labels))
            if differing:
                continue
            matrices.append(confusion(labels, predicted, len(self.palette.names)))
            if ranked:
                rankings.append(
                    label_ranking(matrices[-1]) if log_odds is None else probability_ranking(labels, log_odds)
                )
        refuse_differing(differing, len(far))
        values = np.stack(matrices).astype(np.float64)
        if not values.any():
            raise UserError(f"{self.target}: no pixel has a class of the palette; is it the right one?")
        scores = {name: _score(values, MATRIX_METRICS[name], intervals) for name in names if name in MATRIX_METRICS}
        if ranked:  # float32 counts pixels exactly up to 16 million a picture, in half the memory
            ranking = np.stack(rankings).astype(np.float32)
            scores["mean_average_precision"] = _score(ranking, mean_average_precision, intervals)
        return scores, self._warnings(values.sum(axis=(0, 2)), float(np.mean(far)))

    def _predict(self, path: Path, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray | None]:
        if self.segmenter is None:
            return self.palette.decode(_read_8_bit(path))[0], None
        # One picture at a time: the scores then cannot depend on how pictures are batched.
        image = torch.from_numpy(read_scaled(path, np.float32)).permute(2, 0, 1)[None]  # (H, W, 3) -> (1, 3, H, W)
        labels, log_odds = self.segmenter(image.to(self.device), size)
        return labels[0].numpy(), log_odds[0].numpy()

    def _warnings(self, pixels: np.ndarray, far: float) -> list[str]:
        warnings = []
        absent = [name for name, count in zip(self.palette.names, pixels, strict=True) if not count]
        if absent:
            more = f" and {len(absent) - _NAMES_SHOWN} more" if len(absent) > _NAMES_SHOWN else ""
            names = ", ".join(shortened(name, _NAME_CHARACTERS) for name in absent[:_NAMES_SHOWN])
            warnings.append(
                f"{len(absent)} of {len(pixels)} classes do not occur in {self.target} and are left out of means: "
                f"{names}{more}"
            )
        if far > _MANY:
            warnings.append(
                f"{far:.0%} of the pixels of {self.target} are far from all colours of the palette; "
                "is it the right one?"
            )
        return warnings


def _score(values: np.ndarray, statistic: Callable[[np.ndarray], float], intervals: bool) -> Score:
    """`values` are counts per picture `(N, ...)`; sorted, so that resamples do not depend on names."""
    low = high = None
    if intervals and len(values) > 1:
        ordered: list[np.ndarray] = sorted(values, key=lambda counts: counts.tobytes())
        values = np.stack(ordered)
        low, high = map(float, bootstrap_interval(values, statistic))
    return Score(statistic(values.sum(axis=0, dtype=np.float64)), len(values), None, low, high)


def _read_8_bit(path: Path) -> np.ndarray:
    return to_8_bit(read_image(path, channels=3))
