"""Unpaired folders as an endless, random-access stream of samples."""

import hashlib
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cut.config import FolderConfig, UnpairedDataConfig
from cut.data.beside import OTHER, Beside, read_mask
from cut.data.cache import PictureCache
from cut.data.colour_statistics import ColourStatistics, colour_statistics
from cut.data.images import evenly_chosen, images_if_any, list_images, pair_name, read_image
from cut.data.picture_list import PictureList, entry_of_files
from cut.data.stream import SampleStream
from cut.data.transforms import fixed_transform, random_view, scaled, stacked
from cut.datasets.catalogue import fetch_command
from cut.errors import UserError


class UnpairedStream(SampleStream):
    """Sample n of a run, for any n: which pictures, which crop and which mirroring depend on (seed, n) alone.

    So a run's data need no state but the number of samples seen, and the number of loader workers changes nothing.
    An epoch visits each picture of the larger domain once; the partner is drawn at random. (The authors' code goes
    through the source domain even where it is the smaller one, and leaves pictures of the target to chance.)

    Args:
        config: the folders and the transform.
        seed: of the run.
        batches_per_step: that a step of training takes.
    """

    config: UnpairedDataConfig
    cache: PictureCache

    def __init__(self, config: UnpairedDataConfig, seed: int, batches_per_step: int = 1):
        super().__init__(config, seed, batches_per_step)
        self.paths_a, self.paths_b = domain_paths(config, "train")
        self.cache = PictureCache(config)
        self.num_pictures = max(len(self.paths_a), len(self.paths_b))
        self.beside = Beside(config, {"a": self.paths_a, "b": self.paths_b}, ())

    def __getitem__(self, n: int) -> dict[str, Any] | UserError:
        """`real_a` and `real_b` `(C, H, W)` in [-1, 1]; a user's mistake is returned, so that it crosses processes."""
        rng = np.random.default_rng((self.seed, 1, n))
        index, partner = self.picture_of(n), rng.integers(min(len(self.paths_a), len(self.paths_b)))
        if len(self.paths_a) >= len(self.paths_b):
            path_a, path_b = self.paths_a[index], self.paths_b[partner]
        else:
            path_a, path_b = self.paths_a[partner], self.paths_b[index]
        whole = self.whole_from is not None and n >= self.whole_from
        try:
            return self._view("a", path_a, whole, rng) | self._view("b", path_b, whole, rng)
        except UserError as error:
            return error

    def colours(self) -> tuple[ColourStatistics, ColourStatistics]:
        bands = self.config.bands
        return (
            colour_statistics(self.cache.scaled(path, bands["a"], False) for path in self.paths_a),
            colour_statistics(self.cache.scaled(path, bands["b"], False) for path in self.paths_b),
        )

    def _view(self, domain: str, path: Path, whole: bool, rng: np.random.Generator) -> dict[str, Tensor]:
        """A picture, with its mask and its partner at the same crop and mirroring where it has such."""
        config, bands, beside = self.config, self.config.bands, self.beside
        target, images = OTHER[domain], {f"real_{domain}": self.cache.scaled(path, bands[domain], whole)}
        mask, partner = (known.get(domain, {}).get(path) for known in (beside.masks, beside.partners))
        if mask:
            make = partial(self._scaled_mask, mask, whole)
            images[f"mask_{domain}"] = self.cache.get([mask], ["mask", whole], make)
        if partner:
            images[f"partner_{target}"] = self.cache.scaled(partner, bands[target], whole)
        where = " and ".join(str(file) for file in (path, mask, partner) if file)
        views = random_view(stacked(list(images.values()), where), config, rng, where)
        sample = dict(zip(images, views.split([len(image) for image in images.values()]), strict=True))
        if mask:
            sample[f"mask_{domain}"] = (sample[f"mask_{domain}"] + 1.0) / 2.0
        if domain in beside.partners:  # one that is missing is black, so that samples can be stacked
            sample.setdefault(f"partner_{target}", torch.zeros(config.channels[target], *views.shape[1:]))
            sample[f"has_partner_{target}"] = torch.tensor(float(partner is not None))
        return sample

    def _scaled_mask(self, path: Path, whole: bool) -> Tensor:
        return scaled(read_mask(path), self.config, whole)

    def read_beside(self, wanted: Collection[str]) -> None:
        if self.config.masks and "mask_a" not in wanted:
            raise UserError(
                "data.masks: this method uses no masks; take cut, cyclegan or dclgan, or set data.masks=null"
            )
        self.beside = Beside(self.config, {"a": self.paths_a, "b": self.paths_b}, wanted)

    def notes(self) -> list[str]:
        return self.beside.notes()

    def sources(self, split: str) -> list[Path]:
        masks = self.beside.masks if split == "train" else {}
        return [*self.config.folders(split), *(self.beside.mask_folders[domain] for domain in masks)]

    def picture_list(self) -> PictureList:
        masks = {self.beside.mask_folders[domain]: own for domain, own in self.beside.masks.items()}
        listed = {folder.name: entry_of_files(list(own.values()), folder) for folder, own in masks.items()}
        return list_of_domains(self.config, "train", (self.paths_a, self.paths_b)) | listed

    def fixed_samples(self, count: int) -> list[dict[str, Any]]:
        return fixed_samples(self.config, count)


def list_of_domains(config: FolderConfig, split: str, paths: tuple[Sequence[Path], Sequence[Path]]) -> PictureList:
    """The list of a split in two folders, from the pictures of its source and of its target domain."""
    folders = config.folders(split)
    names = [folder.name for folder in folders]
    if names[0] == names[1]:  # as of horses/images and zebras/images
        names = [f"{name} ({domain})" for name, domain in zip(names, config.domains, strict=True)]
    return {name: entry_of_files(own, f) for name, own, f in zip(names, paths, folders, strict=True)}


def domain_paths(config: UnpairedDataConfig, split: str) -> tuple[list[Path], list[Path]]:
    """The pictures of the source and of the target domain, in the run's direction.

    Raises:
        UserError: a folder is missing or empty; the line names the command that fetches a known data set.
    """
    root = Path(config.root)
    if config.a:
        return pictures_of_split(config, split)
    command = fetch_command(config.root)
    how = f"fetch it with: {command}" if command else f"it must hold {split}A and {split}B; set data.root to yours"
    if not root.is_dir():
        raise UserError(f"data.root: {root}: no such folder; {how}")
    try:
        return pictures_of_split(config, split)
    except UserError as error:
        raise UserError(f"data.root: {error}; {how}") from None


def pictures_of_split(config: FolderConfig, split: str) -> tuple[list[Path], list[Path]]:
    """The pictures of the source and of the target domain, without those that `held_back` keeps for another split.

    Raises:
        UserError: A folder is missing or empty.
    """
    share, (source, target) = getattr(config, "held_back", 0.0), config.folders(split)
    if split != "train" and not config.root and not (share and split == "test"):
        # What lies in a folder `test` of theirs is trained on.
        raise UserError(f"data.a, data.b: have no {split} split besides what data.held_back keeps, such as 0.1")
    if not share or split == "val":
        return list_images(source), list_images(target)
    of_source, of_target = (_part(folder, share, split == "test") for folder in (source, target))
    return of_source, of_target


def _part(folder: Path, share: float, is_held_back: bool) -> list[Path]:
    """The pictures that are held back, or the others: by their names, so that a new picture moves few others."""
    paths = list_images(folder)
    count = min(max(1, round(share * len(paths))), len(paths) - 1)
    held = set(sorted(paths, key=lambda path: _digest(path.relative_to(folder)))[:count])
    return [path for path in paths if (path in held) == is_held_back]


def _digest(name: Path) -> bytes:
    return hashlib.sha256(pair_name(name).encode("utf-8", "surrogateescape")).digest()


def fixed_samples(config: UnpairedDataConfig, count: int) -> list[dict[str, Any]]:
    """Evenly spread pictures of the val split (else test, else train) for sample sheets, with their partners.

    Returns:
        Per picture `real_a`, `name`, `target` where the target folder holds a picture of the same name, and `real_b`:
        that one, or another picture of the target domain.
    """
    split = next((s for s in ("val", "test") if any(_if_any(config, s)[0])), "train")
    folder, target_folder = config.folders(split)
    paths, of_target = _if_any(config, split)
    candidates = of_target if split != "train" else []  # training names are equal by chance only
    partners = {pair_name(p.relative_to(target_folder)): p for p in candidates}
    others = candidates or _if_any(config, "train")[1]
    bands, samples = config.bands, []
    for row, path in enumerate(evenly_chosen(paths, count)):
        partner = partners.get(pair_name(path.relative_to(folder)))
        sample = {"real_a": fixed_transform(read_image(path, bands["a"]), config, str(path)), "name": path.name}
        if other := partner or (others[row * len(others) // count] if others else None):
            sample["real_b"] = fixed_transform(read_image(other, bands["b"]), config, str(other))
        samples.append(sample | ({"target": sample["real_b"]} if partner else {}))
    return samples


def _if_any(config: UnpairedDataConfig, split: str) -> tuple[list[Path], list[Path]]:
    """`pictures_of_split`, of each domain nothing where there is no picture."""
    if config.held_back or not config.root:
        try:
            return pictures_of_split(config, split)
        except UserError:
            return [], []
    source, target = config.folders(split)
    return images_if_any(source), images_if_any(target)
