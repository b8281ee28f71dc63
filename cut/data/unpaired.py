"""Unpaired folders as an endless, random-access stream of samples."""

from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from cut.config import UnpairedDataConfig
from cut.data.download import fetch_command
from cut.data.images import list_images, pair_name, read_image
from cut.data.transforms import fixed_transform, random_transform
from cut.errors import UserError


class UnpairedStream(Dataset):
    """Sample n of a run, for any n: which pictures, which crop and which mirroring depend on (seed, n) alone.

    So a run's data need no state but the number of samples seen, and the number of loader workers changes nothing.
    An epoch visits each picture of the larger domain once, but for the rest that fills no batch; the partner is drawn
    at random. (The authors' code goes
    through the source domain even where it is the smaller one, and leaves pictures of the target to chance.)

    Args:
        config: the folders and the transform.
        seed: of the run.
        whole_from: the sample from which on pictures are not cropped any more (`no_crop_in_decay`), or None.
    """

    def __init__(self, config: UnpairedDataConfig, seed: int, whole_from: int | None = None):
        self.config, self.seed, self.whole_from = config, seed, whole_from
        self.paths_a, self.paths_b = domain_paths(config, "train")
        self._pictures = max(len(self.paths_a), len(self.paths_b))
        if config.batch_size > self._pictures:
            raise UserError(f"data.batch_size: {config.batch_size} is more than the {self._pictures} pictures")
        self.samples_per_epoch = self._pictures - self._pictures % config.batch_size  # whole batches only
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, dtype=np.int64))

    def __getitem__(self, n: int) -> dict[str, Any] | UserError:
        """`real_a` and `real_b` `(C, H, W)` in [-1, 1]; a user's mistake is returned, so that it crosses processes."""
        epoch, place = divmod(n, self.samples_per_epoch)
        rng = np.random.default_rng((self.seed, 1, n))
        index, partner = self._epoch_order(epoch)[place], rng.integers(min(len(self.paths_a), len(self.paths_b)))
        if len(self.paths_a) >= len(self.paths_b):
            path_a, path_b = self.paths_a[index], self.paths_b[partner]
        else:
            path_a, path_b = self.paths_a[partner], self.paths_b[index]
        whole = self.whole_from is not None and n >= self.whole_from
        channels_a, channels_b = domain_channels(self.config)
        try:
            return {
                "real_a": random_transform(read_image(path_a, channels_a), self.config, rng, whole, str(path_a)),
                "real_b": random_transform(read_image(path_b, channels_b), self.config, rng, whole, str(path_b)),
            }
        except UserError as error:
            return error

    def _epoch_order(self, epoch: int) -> np.ndarray:
        if self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng((self.seed, 0, epoch)).permutation(self._pictures))
        return self._order[1]


def domain_paths(config: UnpairedDataConfig, split: str) -> tuple[list[Path], list[Path]]:
    """The pictures of the source and of the target domain, in the run's direction.

    Raises:
        UserError: a folder is missing or empty; the line names the command that fetches a known data set.
    """
    source, target = ("A", "B") if config.direction == "AtoB" else ("B", "A")
    root = Path(config.root)
    command = fetch_command(config.root)
    how = f"fetch it with: {command}" if command else f"it must hold {split}A and {split}B; set data.root to yours"
    if not root.is_dir():
        raise UserError(f"data.root: {root}: no such folder; {how}")
    try:
        return list_images(root / f"{split}{source}"), list_images(root / f"{split}{target}")
    except UserError as error:
        raise UserError(f"data.root: {error}; {how}") from None


def domain_channels(config: UnpairedDataConfig) -> tuple[int, int]:
    """Channels of the source and of the target domain, in the run's direction."""
    channels = (config.channels_a, config.channels_b)
    return channels if config.direction == "AtoB" else channels[::-1]


def fixed_samples(config: UnpairedDataConfig, count: int) -> list[dict[str, Any]]:
    """Evenly spread pictures of the val split (else test, else train) for sample sheets, with their partners.

    Returns:
        Per picture `real_a`, `name`, and `target` where the target folder holds a picture of the same name.
    """
    source, target = ("A", "B") if config.direction == "AtoB" else ("B", "A")
    split = next((s for s in ("val", "test") if _images_if_any(Path(config.root) / f"{s}{source}")), "train")
    folder, target_folder = (Path(config.root) / f"{split}{domain}" for domain in (source, target))
    paths = list_images(folder)
    candidates = _images_if_any(target_folder) if split != "train" else []  # training names are equal by chance only
    partners = {pair_name(p.relative_to(target_folder)): p for p in candidates}
    channels_a, channels_b = domain_channels(config)
    samples = []
    for index in np.unique(np.linspace(0, len(paths) - 1, min(count, len(paths))).round().astype(int)):
        path = paths[index]
        sample = {"real_a": fixed_transform(read_image(path, channels_a), config, str(path)), "name": path.name}
        if partner := partners.get(pair_name(path.relative_to(folder))):
            sample["target"] = fixed_transform(read_image(partner, channels_b), config, str(partner))
        samples.append(sample)
    return samples


def _images_if_any(folder: Path) -> list[Path]:
    try:
        return list_images(folder)
    except UserError:
        return []
