"""Scores a folder of translated pictures against a folder of target pictures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from cut.data.images import list_images, read_image
from cut.errors import UserError
from cut.metrics.fid import feature_statistics, frechet_distance
from cut.metrics.pairs import PAIR_METRICS

METRICS = (*PAIR_METRICS, "fid")
HIGHER_IS_BETTER = ("ssim", "psnr")


@dataclass(frozen=True)
class Score:
    """One number. For pair metrics the mean over pairs, with their standard deviation (divided by their number).

    `count` is the number of pairs averaged, or of generated pictures for a distance between two sets.
    """

    value: float
    count: int
    std: float | None = None


@dataclass(frozen=True)
class Result:
    """The scores of one folder, in the order asked for; a stand-in for FID is named `fd[FILE]`."""

    scores: dict[str, Score]
    num_generated: int
    num_target: int
    warnings: list[str] = field(default_factory=list)


@dataclass
class Evaluator:
    """Scores any number of folders against one target folder, whose features are computed once.

    Args:
        target: folder of target pictures.
        metrics: names of `METRICS`.
        features: network of `fid`, `(N, 3, H, W)` in [0, 1] -> `(N, D)`, with a `score_name`; by default Inception.
        batch_size: pictures through the network at once; changes the score by no more than rounding.
        progress: draw bars on standard error where that is a terminal.
    """

    target: Path
    metrics: Sequence[str] = METRICS
    features: nn.Module | None = None
    batch_size: int = 32
    device: str = "cpu"
    progress: bool = False

    def __post_init__(self):
        if self.batch_size < 1:
            raise UserError(f"batch size: got {self.batch_size}; allowed: 1 or more")

    def score(self, generated: Path) -> Result:
        """Scores one folder.

        Raises:
            UserError: as `find_pictures`; or a picture is broken, is smaller than a metric's window, or differs in
                size from its partner.
        """
        paths, target_paths, pairs = find_pictures(generated, self.target, self.metrics)
        scores: dict[str, Score] = {}
        warnings: list[str] = []
        if pairs:
            names = [name for name in self.metrics if name in PAIR_METRICS]
            values = _score_pairs(pairs, names, self._bar(f"pairs of {generated}", len(pairs)))
            scores, warnings = _summarise(values)
            if len(pairs) < len(target_paths):
                warnings.append(
                    f"{', '.join(names)}: cover {len(pairs)} of {len(target_paths)} pictures of {self.target}"
                )
        if "fid" in self.metrics:
            name = self._network.score_name
            mean, covariance = self._statistics(generated, paths)
            scores[name] = Score(frechet_distance(mean, covariance, *self._target_statistics), len(paths))
            warnings += _too_few(name, len(mean), min(len(paths), len(target_paths)))
            scores = {key: scores[key] for key in (name if metric == "fid" else metric for metric in self.metrics)}
        return Result(scores, len(paths), len(target_paths), warnings)

    @cached_property
    def _network(self) -> nn.Module:
        from cut.metrics.features import InceptionFeatures  # here, for torchvision is slow to import

        return (InceptionFeatures() if self.features is None else self.features).to(self.device)

    @cached_property
    def _target_statistics(self) -> tuple[np.ndarray, np.ndarray]:
        return self._statistics(self.target, list_images(self.target))

    def _statistics(self, folder: Path, paths: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
        with self._bar(f"features of {folder}", len(paths)) as bar:
            return feature_statistics(self._feature_batches(paths, bar))

    def _feature_batches(self, paths: Sequence[Path], bar: tqdm) -> Iterator[np.ndarray]:
        """The features of all pictures in the order of `paths`, as arrays `(n, D)`."""
        for batch in _batches(paths, self.batch_size):
            try:
                features = self._network(batch.to(self.device)).double().cpu().numpy()
            except torch.OutOfMemoryError:
                given = "x".join(map(str, batch.shape))
                raise UserError(
                    f"out of memory on {self.device} for images of {given}; choose a smaller batch size"
                ) from None
            if not np.isfinite(features).all():
                raise UserError(
                    f"{self._network.score_name}: the network gives features that are not finite; check its weights"
                )
            bar.update(len(batch))
            yield features

    def _bar(self, title: str, total: int) -> tqdm:
        # disable=None draws on a terminal only, so that a log gets whole lines.
        return tqdm(total=total, desc=title, unit="picture", leave=False, disable=None if self.progress else True)


def evaluate(generated: Path, target: Path, metrics: Sequence[str] = METRICS, **settings) -> Result:
    """Scores `generated` against `target`; `settings` are the other arguments of `Evaluator`."""
    return Evaluator(target, metrics, **settings).score(generated)


def find_pictures(
    generated: Path, target: Path, metrics: Sequence[str]
) -> tuple[list[Path], list[Path], list[tuple[Path, Path]]]:
    """Lists both folders, and their pairs where a metric needs pairs, without opening a picture.

    Raises:
        UserError: an unknown metric; a folder is missing, empty or too small for a covariance; a picture without
            a partner, or with two.
    """
    unknown = [name for name in metrics if name not in METRICS]
    if unknown or not metrics:
        raise UserError(f"metrics: got {', '.join(map(repr, unknown)) or 'none'}; known: {', '.join(METRICS)}")
    paths, target_paths = list_images(generated), list_images(target)
    for folder, found in ((generated, paths), (target, target_paths)):
        if "fid" in metrics and len(found) < 2:
            raise UserError(f"{folder}: holds 1 picture; fid needs 2 or more, and thousands to be stable")
    if not any(name in PAIR_METRICS for name in metrics):
        return paths, target_paths, []
    ours, partners = _by_name(Path(generated), paths), _by_name(Path(target), target_paths)
    missing = [path for name, path in ours.items() if name not in partners]
    if missing:
        raise UserError(
            f"{missing[0]}: no partner in {target} ({len(missing)} of {len(paths)} pictures have none); partners have "
            "the same path below their folders, suffix aside; for folders without pairs ask for fid alone"
        )
    return paths, target_paths, [(path, partners[name]) for name, path in ours.items()]


def _by_name(folder: Path, paths: list[Path]) -> dict[Path, Path]:
    named: dict[Path, Path] = {}
    for path in paths:
        name = path.relative_to(folder).with_suffix("")
        if name in named:
            raise UserError(
                f"{path}: differs from {named[name].name} in its suffix only, so pairs are ambiguous; remove one"
            )
        named[name] = path
    return named


def _score_pairs(pairs: list[tuple[Path, Path]], names: list[str], bar: tqdm) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {name: [] for name in names}
    differing: list[str] = []
    with bar:
        for path, target_path in pairs:
            # Colour for all: over three equal channels these metrics give the same as over one.
            image, target = _read(path, np.float64), _read(target_path, np.float64)
            if image.shape != target.shape:
                sizes = " and ".join(f"{a.shape[1]}x{a.shape[0]}" for a in (image, target))
                differing.append(f"{path}: differs in size from its partner {target_path}, {sizes} px")
            elif not differing:
                for name in names:
                    values[name].append(_score_pair(name, path, image, target))
            bar.update()
    if differing:
        raise UserError(f"{differing[0]} ({len(differing)} of {len(pairs)} pairs differ); bring them to one size first")
    return values


def _score_pair(name: str, path: Path, image: np.ndarray, target: np.ndarray) -> float:
    try:
        return PAIR_METRICS[name](image, target)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _summarise(values: dict[str, list[float]]) -> tuple[dict[str, Score], list[str]]:
    """Mean and spread. Identical pictures, of infinite psnr, are left out, for one of them would hide all others."""
    scores, warnings = {}, []
    for name, numbers in values.items():
        finite = np.array([number for number in numbers if np.isfinite(number)])
        infinite = len(numbers) - len(finite)
        if infinite:
            left_out = ", left out of its mean" if len(finite) else ""
            warnings.append(f"{name}: infinite for {infinite} of {len(numbers)} pairs, identical pictures{left_out}")
        mean, std = (float(finite.mean()), float(finite.std())) if len(finite) else (float("inf"), 0.0)
        scores[name] = Score(mean, len(finite) or len(numbers), std)
    return scores, warnings


def _too_few(name: str, dimensions: int, fewest: int) -> list[str]:
    if fewest >= dimensions:
        return []
    return [
        f"{name} of {fewest} pictures, fewer than its {dimensions} features, is biased upward; "
        "compare only scores computed with the same number"
    ]


def _batches(paths: Sequence[Path], batch_size: int) -> Iterator[Tensor]:
    """Pictures in the order of `paths`, `(n, 3, H, W)` in [0, 1]; where the size changes, a batch ends early."""
    batch: list[Tensor] = []
    for path in paths:
        image = torch.from_numpy(_read(path, np.float32)).permute(2, 0, 1)  # (H, W, 3) -> (3, H, W)
        if batch and (len(batch) == batch_size or batch[0].shape != image.shape):
            yield torch.stack(batch)
            batch = []
        batch.append(image)
    yield torch.stack(batch)


def _read(path: Path, dtype: type) -> np.ndarray:
    """`(H, W, 3)` in [0, 1], whatever the file's depth; in float32 the very numbers of torchvision's ToTensor."""
    array = read_image(path, channels=3)
    return array.astype(dtype) / dtype(np.iinfo(array.dtype).max)
