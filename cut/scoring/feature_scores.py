"""Scores that compare two folders as wholes, by the features a network sees in their pictures."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cut.data.images import read_bytes, stored_size_px
from cut.data.numbers import Bands
from cut.errors import UserError, reason
from cut.metrics.fid import feature_statistics, frechet_distance, frechet_standard_error, row_blocks
from cut.metrics.intervals import bootstrap_interval, normal_interval
from cut.metrics.kid import kernel_distance
from cut.metrics.manifold import MANIFOLD_METRICS
from cut.metrics.names import score_name
from cut.scoring.feature_store import entry_name, load_entry, save_entry
from cut.scoring.pair_scores import read_scaled
from cut.scoring.scores import Score


@dataclass
class FeatureSet:
    """The features of one folder.

    Args:
        features: `(N, D)`; None where only their statistics were kept on disk.
        count: N.
        stored: mean and covariance, where they are known already.
    """

    features: np.ndarray | None
    count: int
    stored: tuple[np.ndarray, np.ndarray] | None = field(default=None, repr=False)

    @cached_property
    def statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean `(D,)` and covariance `(D, D)`."""
        return self.stored or feature_statistics(row_blocks(self.vectors))

    @property
    def vectors(self) -> np.ndarray:
        """`features`, where they were not left out."""
        assert self.features is not None, "of these only the statistics were kept"
        return self.features

    @property
    def width(self) -> int:
        """D."""
        return len(self.statistics[0]) if self.features is None else self.features.shape[1]


@dataclass
class FeatureReader:
    """Runs the network over folders.

    Args:
        network: `(N, 3, H, W)` in [0, 1] -> `(N, D)`; without a `digest` nothing is kept of it.
        limits: Values that become 0 and 1; None takes 0 and the largest number of 8 or 16 bits.
    """

    network: nn.Module
    batch_size: int
    device: str
    limits: tuple[float, float] | None = None

    def read(
        self,
        paths: Sequence[Path],
        advance: Callable[[int], object],
        store: Path | None = None,
        metrics: Sequence[str] = ("fid",),
    ) -> tuple[FeatureSet, list[str]]:
        """Features of all pictures, and warnings. With a `store` they are looked for and kept there.

        Rows are in the order of the pictures' contents, so that names and their order change no score.

        Args:
            metrics: what they are for; fid alone needs no more than their statistics.
        """
        paths, digests = _by_content(paths)
        name = self._entry_name(digests) if store else None
        entry = load_entry(store, name, len(paths)) if store and name else None
        if entry and "features" in entry:
            return FeatureSet(entry["features"], len(paths)), []
        if entry and set(metrics) == {"fid"}:
            return FeatureSet(None, len(paths), (entry["mean"], entry["covariance"])), []
        found = FeatureSet(np.concatenate(list(self.batches(paths, advance))), len(paths))
        try:
            if store and name:
                save_entry(store, name, found.vectors, *found.statistics)
        except OSError as error:
            return found, [f"{store}: features cannot be kept there ({reason(error)}); choose another --cache-dir"]
        return found, []

    def _entry_name(self, digests: list[str]) -> str | None:
        network = getattr(self.network, "digest", None) if self.limits is None else None
        return entry_name(network, torch.device(self.device).type, digests) if network else None

    def batches(self, paths: Sequence[Path], advance: Callable[[int], object]) -> Iterator[np.ndarray]:
        """The features of all pictures in the order of `paths`, as arrays `(n, D)`."""
        for batch in _image_batches(paths, self.batch_size, self.limits):
            try:
                features = self.network(batch.to(self.device)).cpu()
            except torch.OutOfMemoryError:
                given = "x".join(map(str, batch.shape))
                raise UserError(
                    f"out of memory on {self.device} for images of {given}; choose a smaller batch size"
                ) from None
            features = (features if features.dtype == torch.float64 else features.float()).numpy()
            if not np.isfinite(features).all():
                raise UserError(
                    f"{self.network.score_name}: the network gives features that are not finite; check its weights"
                )
            advance(len(batch))
            yield features


def score_features(
    metrics: Sequence[str], generated: FeatureSet, target: FeatureSet, network: str | None, intervals: bool
) -> tuple[dict[str, Score], list[str]]:
    """The scores of all `metrics`, by their own names; and warnings.

    Args:
        network: file of a network that is not Inception.

    Raises:
        UserError: the sets' features are not as many.
    """
    if generated.width != target.width:  # the network itself tells it, but where features of targets were kept
        raise UserError(
            f"{network}: gives {generated.width} features for the generated pictures and {target.width} for the "
            "targets; it should give as many for every size"
        )
    scores, warnings = {}, []
    fewest = min(generated.count, target.count)
    for metric in metrics:
        low = high = std = None
        if metric == "fid":
            value = frechet_distance(*generated.statistics, *target.statistics)
            if intervals:
                low, high = normal_interval(value, frechet_standard_error(generated.vectors, *target.statistics))
                low = max(low, 0.0)
            warnings += _too_few(score_name(metric, network), len(target.statistics[0]), fewest)
        elif metric == "kid":
            value, std, error = kernel_distance(generated.vectors, target.vectors)
            std = std or None  # 0 where there is but one subset: everything
            if intervals and np.isfinite(error):
                low, high = normal_interval(value, error)
        else:
            values = np.sort(MANIFOLD_METRICS[metric](generated.vectors, target.vectors))
            value = float(values.mean())
            if intervals:
                low, high = map(float, bootstrap_interval(values))
        scores[metric] = Score(value, generated.count, std, low, high)
    return scores, warnings


def _too_few(name: str, dimensions: int, fewest: int) -> list[str]:
    if fewest >= dimensions:
        return []
    return [
        f"{name} of {fewest} pictures, fewer than its {dimensions} features, is biased upward; "
        "compare only scores computed with the same number"
    ]


def _by_content(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Pictures sorted by size in pixels, so that few batches end early, then by content; and digests of their bytes."""
    found = []
    for path in paths:
        size = stored_size_px(path)
        data = read_bytes(path) if size else b""  # of a broken one reading it will say so
        found.append((size or (0, 0), hashlib.sha256(data).hexdigest(), path))
    found.sort()
    return [path for *_, path in found], [digest for _, digest, _ in found]


def _image_batches(
    paths: Sequence[Path], batch_size: int, limits: tuple[float, float] | None = None
) -> Iterator[Tensor]:
    """Pictures in the order of `paths`, `(n, 3, H, W)` in [0, 1]; where the size changes, a batch ends early."""
    batch: list[Tensor] = []
    for path in paths:
        image = torch.from_numpy(read_scaled(path, np.float32, Bands(3, limits))).permute(2, 0, 1)  # to (3, H, W)
        if batch and (len(batch) == batch_size or batch[0].shape != image.shape):
            yield torch.stack(batch)
            batch = []
        batch.append(image)
    yield torch.stack(batch)
