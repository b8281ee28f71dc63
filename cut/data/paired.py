"""Pairs of pictures as an endless, random-access stream of samples (pix2pix's aligned data)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from cut.config import PairedDataConfig
from cut.data.cache import PictureCache
from cut.data.images import evenly_chosen, list_images, read_image
from cut.data.pair_files import match_folders, split_picture
from cut.data.picture_list import PictureList, entry_of_files
from cut.data.stream import SampleStream
from cut.data.transforms import fixed_pair_transform, random_view, scaled_pair
from cut.datasets.catalogue import fetch_command
from cut.errors import UserError


@dataclass(frozen=True)
class Pair:
    """Where two pictures of one thing are; `path_b` is None where both are in one file, A|B."""

    name: str
    path_a: Path
    path_b: Path | None = None

    def __str__(self) -> str:
        return f"{self.path_a} and {self.path_b}" if self.path_b else str(self.path_a)


class PairedStream(SampleStream):
    """Sample n of a run: which pair, which crop and which mirroring depend on (seed, n) alone, and both halves get the
    same. An epoch visits each pair once.

    Args:
        config: the folders and the transform.
        seed: of the run.
        batches_per_step: that a step of training takes.
    """

    config: PairedDataConfig
    cache: PictureCache

    def __init__(self, config: PairedDataConfig, seed: int, batches_per_step: int = 1):
        super().__init__(config, seed, batches_per_step)
        self.pairs = find_pairs(config, "train")
        self.cache = PictureCache(config)
        self.num_pictures = len(self.pairs)

    def __getitem__(self, n: int) -> dict[str, Any] | UserError:
        """`real_a` and `real_b` `(C, H, W)` in [-1, 1]; a user's mistake is returned, so that it crosses processes."""
        rng = np.random.default_rng((self.seed, 1, n))
        whole = self.whole_from is not None and n >= self.whole_from
        pair = self.pairs[self.picture_of(n)]
        try:
            both = random_view(self._scaled(pair, whole), self.config, rng, str(pair))
        except UserError as error:
            return error
        real_a, real_b = both.split(list(self.config.channels.values()))
        return {"real_a": real_a, "real_b": real_b}

    def _scaled(self, pair: Pair, whole: bool) -> Tensor:
        config, paths = self.config, [path for path in (pair.path_a, pair.path_b) if path]
        limits = [bands.limits for bands in config.bands.values() if not bands.are_plain]
        recipe = ["pair", config.channels, config.direction, whole, *limits]
        return self.cache.get(paths, recipe, lambda: scaled_pair(read_pair(pair, config), config, whole, str(pair)))

    def sources(self, split: str) -> list[Path]:
        root = Path(self.config.root)
        return [root / split] if _layout(root, split) == "combined" else list(self.config.folders(split))

    def picture_list(self) -> PictureList:
        return list_of_pairs(self.config, "train", self.pairs)

    def fixed_samples(self, count: int) -> list[dict[str, Any]]:
        """Evenly spread pairs of the val split (else test, else train): `real_a`, `real_b`, `target` and `name`."""
        split = next((s for s in ("val", "test") if _layout(Path(self.config.root), s)), "train")
        samples = []
        for pair in evenly_chosen(find_pairs(self.config, split), count):
            real_a, real_b = fixed_pair_transform(read_pair(pair, self.config), self.config, str(pair))
            samples.append({"real_a": real_a, "real_b": real_b, "target": real_b, "name": pair.name})
        return samples


def find_pairs(config: PairedDataConfig, split: str) -> list[Pair]:
    """The pairs of a split, sorted, from pictures A|B in `<root>/<split>` or from `<root>/<split>A` and `...B`.

    Raises:
        UserError: no such data, or not in pairs; the line names the command that fetches a known data set.
    """
    root = Path(config.root)
    command = fetch_command(config.root, paired=True)
    how = f"it must hold {split} with pictures A|B, or {split}A and {split}B; set data.root to yours"
    how = f"fetch it with: {command}" if command else how
    if not root.is_dir():
        raise UserError(f"data.root: {root}: no such folder; {how}")
    layout = _layout(root, split)
    if layout is None:
        raise UserError(f"data.root: {root}: holds neither {split} nor {split}A and {split}B; {how}")
    if layout == "both":
        raise UserError(f"data.root: {root}: holds {split} and {split}A; move one of the two layouts elsewhere")
    try:
        if layout == "combined":
            paths = list_images(root / split)
            return [Pair(path.relative_to(root / split).as_posix(), path) for path in paths]
        return [Pair(name, a, b) for name, a, b in match_folders(root / f"{split}A", root / f"{split}B")]
    except UserError as error:
        raise UserError(f"data.root: {error}{f'; or {how}' if command else ''}") from None


def list_of_pairs(config: PairedDataConfig, split: str, pairs: Sequence[Pair]) -> PictureList:
    """The list of a split: of pictures A|B, or of two folders."""
    paths = {split: [pair.path_a for pair in pairs]}
    if pairs[0].path_b:
        paths = {f"{split}A": paths[split], f"{split}B": [pair.path_b for pair in pairs if pair.path_b]}
    return {name: entry_of_files(own, Path(config.root) / name) for name, own in paths.items()}


def read_pair(pair: Pair, config: PairedDataConfig) -> tuple[np.ndarray, np.ndarray]:
    """The pictures of the source and of the target domain, `(H, W, C)`, in the run's direction.

    Raises:
        UserError: a picture cannot be read, or is no pair.
    """
    bands = dict(zip(config.domains, config.bands.values(), strict=True))
    if pair.path_b:
        paths = {"A": pair.path_a, "B": pair.path_b}
        pictures = {domain: read_image(path, bands[domain]) for domain, path in paths.items()}
    else:
        alike = {(b.count, b.limits): b for b in bands.values()}
        whole = {key: read_image(pair.path_a, b) for key, b in alike.items()}
        halves = {domain: split_picture(whole[b.count, b.limits], pair.path_a) for domain, b in bands.items()}
        pictures = {domain: half[domain == "B"] for domain, half in halves.items()}
    source, target = config.domains
    return pictures[source], pictures[target]


def _layout(root: Path, split: str) -> str | None:
    combined, folders = (root / split).is_dir(), (root / f"{split}A").is_dir() and (root / f"{split}B").is_dir()
    return "both" if combined and folders else "combined" if combined else "folders" if folders else None
