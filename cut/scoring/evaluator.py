"""Scores a folder of translated pictures against a folder of target pictures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from torch import nn
from tqdm import tqdm

from cut.data.images import list_images
from cut.errors import UserError, printable
from cut.metrics.names import (
    DEFAULT_METRICS,
    HIGHER_IS_BETTER,
    METRICS,
    NEEDS_FEATURES,
    NEEDS_PALETTE,
    score_name,
)
from cut.metrics.similarity import PAIR_METRICS
from cut.scoring.feature_scores import FeatureReader, FeatureSet, score_features
from cut.scoring.find_pictures import find_pictures, require_colours
from cut.scoring.label_scores import LabelScorer
from cut.scoring.output_scores import score_diversity
from cut.scoring.outputs import find_outputs
from cut.scoring.pair_scores import PairMetric, score_pairs
from cut.scoring.palette import Palette
from cut.scoring.perceptual import Lpips
from cut.scoring.scores import Result, Score
from cut.scoring.segmenter import Segmenter

__all__ = ["HIGHER_IS_BETTER", "METRICS", "Evaluator", "Result", "Score", "evaluate", "find_pictures"]

_Item = TypeVar("_Item")


@dataclass
class Evaluator:
    """Scores any number of folders against one target folder, whose features are computed once.

    Neither the order nor the names of pictures change a score, nor does the batch size by more than rounding.

    Args:
        target: folder of target pictures.
        metrics: names of `METRICS`.
        features: network of `fid` and its kin, `(N, 3, H, W)` in [0, 1] -> `(N, D)`, with a `score_name`; by default
            Inception.
        batch_size: pictures through the network at once; changes the score by no more than rounding.
        progress: draw bars on standard error where that is a terminal.
        palette: the classes' colours, for the metrics of `NEEDS_PALETTE`.
        segmenter: reads classes off generated photographs; without one these metrics decode generated label pictures.
        lpips: its network; by default with AlexNet's weights from torch.hub's folder. Without one `features` measure
            `diversity`.
        store: folder in which features of target sets are kept from one run to the next; None keeps none.
        intervals: compute the interval of 95 % of each score; for fid that takes a few seconds.
        limits: lowest and highest value of the pictures' numbers; None takes 0 and the largest of 8 or 16 bits.
    """

    target: Path
    metrics: Sequence[str] = DEFAULT_METRICS
    features: nn.Module | None = None
    batch_size: int = 32
    device: str = "cpu"
    progress: bool = False
    palette: Palette | None = None
    segmenter: Segmenter | None = None
    lpips: Lpips | None = None
    store: Path | None = None
    intervals: bool = True
    limits: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UserError(f"batch size: got {self.batch_size}; allowed: 1 or more")
        needy = [name for name in self.metrics if name in NEEDS_PALETTE]
        if needy and self.palette is None:
            raise UserError(f"metrics: {needy[0]} needs a palette, which says what colour each class has")

    def score(self, generated: Path, metrics: Sequence[str] | None = None) -> Result:
        """Scores one folder.

        Args:
            generated: Folder of generated pictures.
            metrics: Some of the metrics; None computes all.

        Raises:
            UserError: as `find_pictures`; or a picture is broken, is too small for a metric, or differs in size from
                its partner.
        """
        metrics = self.metrics if metrics is None else metrics
        paths, target_paths, pairs = find_pictures(generated, self.target, metrics)
        require_colours(paths[0], metrics)
        scores, warnings = self._score_pairs(generated, pairs, metrics)
        if pairs and len(pairs) < len(target_paths):
            warnings.append(f"{', '.join(scores)}: cover {len(pairs)} of {len(target_paths)} pictures of {self.target}")
        file = None
        wanted = [name for name in metrics if name in NEEDS_FEATURES]
        if wanted:
            file = self._feature_file
            features, _ = self._read(generated, paths)
            target_features, store_warnings = self._target_features
            if target_features.width != features.width:  # what was kept is of something else, whatever its name says
                target_features, _ = self._read(self.target, target_paths)
            of_sets, more = score_features(wanted, features, target_features, file, self.intervals)
            scores |= of_sets
            warnings += more + store_warnings
        files: dict[str, str | None] = dict.fromkeys(metrics, file)
        if "diversity" in metrics:
            scores["diversity"], files["diversity"] = self._score_diversity(generated, paths, target_paths)
        named = {score_name(metric, files[metric]): scores[metric] for metric in metrics}
        return Result(named, len(paths), len(target_paths), warnings)

    def _score_diversity(
        self, generated: Path, paths: Sequence[Path], target_paths: Sequence[Path]
    ) -> tuple[Score, str | None]:
        """The score, and the name of the feature network where it is not by LPIPS."""
        groups = find_outputs(Path(generated), paths, Path(self.target), target_paths)
        counted = self._counted(f"outputs of {generated}", groups)
        if self.lpips is not None:
            return score_diversity(counted, self._lpips, self.intervals), None
        score = score_diversity(counted, self._reader, self.intervals)
        return score, self._feature_file or "inception"

    def _score_pairs(
        self, generated: Path, pairs: list[tuple[Path, Path]], metrics: Sequence[str]
    ) -> tuple[dict[str, Score], list[str]]:
        scores: dict[str, Score] = {}
        warnings: list[str] = []
        functions: dict[str, PairMetric] = {name: PAIR_METRICS[name] for name in metrics if name in PAIR_METRICS}
        if "lpips" in metrics:
            functions["lpips"] = self._lpips
        if functions:
            counted = self._counted(f"pairs of {generated}", pairs)
            scores, warnings = score_pairs(counted, functions, self.intervals, self.limits)
        labels = [name for name in metrics if name in NEEDS_PALETTE]
        if labels:
            assert self.palette is not None
            segmenter = self.segmenter and self.segmenter.to(self.device)
            scorer = LabelScorer(self.palette, segmenter, self.device, self.target)
            counted = self._counted(f"classes of {generated}", pairs)
            more_scores, more = scorer.score(counted, labels, self.intervals)
            scores, warnings = scores | more_scores, warnings + more
        return scores, warnings

    @property
    def _feature_file(self) -> str | None:
        """The file of a feature network that is not Inception."""
        return str(self._reader.network.score_name).partition("[")[2].removesuffix("]") or None

    @cached_property
    def _lpips(self) -> Lpips:
        return (self.lpips or Lpips()).to(self.device)

    @cached_property
    def _reader(self) -> FeatureReader:
        from cut.scoring.feature_networks import InceptionFeatures  # here, for torchvision is slow to import

        network = (InceptionFeatures() if self.features is None else self.features).to(self.device)
        return FeatureReader(network, self.batch_size, self.device, self.limits)

    @cached_property
    def _target_features(self) -> tuple[FeatureSet, list[str]]:
        return self._read(self.target, list_images(self.target), self.store)

    def _read(self, folder: Path, paths: Sequence[Path], store: Path | None = None) -> tuple[FeatureSet, list[str]]:
        wanted = [name for name in self.metrics if name in NEEDS_FEATURES]
        with self._bar(f"features of {folder}", len(paths)) as bar:
            return self._reader.read(paths, bar.update, store, wanted)

    def _counted(self, title: str, items: Sequence[_Item]) -> Iterator[_Item]:
        with self._bar(title, len(items)) as bar:
            for item in items:
                yield item
                bar.update()

    def _bar(self, title: str, total: int) -> tqdm:
        # disable=None draws on a terminal only, so that a log gets whole lines.
        return tqdm(
            total=total, desc=printable(title), unit="picture", leave=False, disable=None if self.progress else True
        )


def evaluate(generated: Path, target: Path, metrics: Sequence[str] = DEFAULT_METRICS, **settings: Any) -> Result:
    """Scores `generated` against `target`; `settings` are the other arguments of `Evaluator`."""
    return Evaluator(target, metrics, **settings).score(generated)
