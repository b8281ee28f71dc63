"""A folder per class as an endless, random-access stream of samples with their classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cut.config import LabelledDataConfig
from cut.config.loader import require_class_names
from cut.data.cache import PictureCache
from cut.data.folders import Listing
from cut.data.images import composed, evenly_chosen, list_images, read_image
from cut.data.picture_list import PictureList, entry_of_files
from cut.data.stream import SampleStream
from cut.data.transforms import fixed_transform, random_view
from cut.datasets.catalogue import fetch_command
from cut.errors import UserError, did_you_mean, listed, printable, shortened


class LabelledStream(SampleStream):
    """Every picture of every class once per epoch, with a crop and mirroring that depend on (seed, n) alone.

    Args:
        config: Folder, classes and transform.
        seed: Seed of the run.
        batches_per_step: Number of batches that a step of training draws.

    Raises:
        UserError: A folder is missing or empty.
    """

    config: LabelledDataConfig
    cache: PictureCache

    def __init__(self, config: LabelledDataConfig, seed: int, batches_per_step: int = 1):
        super().__init__(config, seed, batches_per_step)
        self.classes = config.classes or self.find_classes(config)
        self.pictures = self._pictures("train")
        self.cache = PictureCache(config)
        self.num_pictures = len(self.pictures)

    @classmethod
    def find_classes(cls, config: LabelledDataConfig) -> tuple[str, ...]:  # type: ignore[override]
        """The folders of the training pictures, by their names.

        Raises:
            UserError: There is none, or one cannot be a class.
        """
        folder = Path(config.root) / "train"
        command = fetch_command(config.root)
        how = f"make it with: {command}" if command else "data.root needs a folder of pictures per class in train"
        if not folder.is_dir():
            raise UserError(f"data.root: {folder}: no such folder; {how}")
        names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        if not names:
            raise UserError(f"data.root: {folder}: holds no folder; {how}")
        try:
            return require_class_names(tuple(names))
        except ValueError as error:
            raise UserError(f"data.root: {folder}: {error}; rename it") from None

    def _pictures(self, split: str) -> list[tuple[Path, int]]:
        """Path and class of each picture of a split, class by class."""
        root, found = Path(self.config.root) / split, []
        for number, name in enumerate(self.classes):
            folder = _class_folder(root, name)
            if folder is None:
                there = self.find_classes(self.config)
                hint = f"{did_you_mean(name, there)} (there: {shortened(', '.join(there))})"
                raise UserError(f"data.classes: {root / name}: no such folder{hint}")
            found += [(path, number) for path in list_images(folder)]
        return found

    def __getitem__(self, n: int) -> dict[str, Any] | UserError:
        """`real` `(C, H, W)` in [-1, 1] and `label`; a user's mistake is returned, so that it crosses processes."""
        (path, label), rng = self.pictures[self.picture_of(n)], np.random.default_rng((self.seed, 1, n))
        try:
            pixels = self.cache.scaled(path, self.config.num_channels, whole=False)
            return {"real": random_view(pixels, self.config, rng, str(path)), "label": torch.tensor(label)}
        except UserError as error:
            return error

    def sources(self, split: str) -> list[Path]:
        folders = [_class_folder(Path(self.config.root) / split, name) for name in self.classes if split == "train"]
        return [folder for folder in folders if folder]

    def folders(self, split: str) -> list[Path]:
        folder = Path(self.config.root) / split
        return [folder] if folder.is_dir() else []

    def passed_over(self, split: str) -> list[str]:
        if split != "train":
            return []
        lines = [beside_classes(Path(self.config.root) / split, self.classes)]
        test = Path(self.config.root) / "test"
        if missing := [name for name in self.classes if test.is_dir() and not _class_folder(test, name)]:
            lines.append(f"{test}: has no folder {listed(missing, 3)}, so sample sheets show training pictures")
        return [line for line in lines if line]

    def picture_list(self) -> PictureList:
        root = Path(self.config.root) / "train"
        return {"pictures": entry_of_files([path for path, _ in self.pictures], root)}

    def fixed_samples(self, count: int) -> list[dict[str, Any]]:
        """Pictures of classes that are evenly chosen: of the test split, or, where there is none, of the training."""
        split = (
            "test" if all(_class_folder(Path(self.config.root) / "test", name) for name in self.classes) else "train"
        )
        return [
            {
                "real_a": fixed_transform(read_image(path, self.config.num_channels), self.config, str(path)),
                "label": torch.tensor(label),
                "name": f"{self.classes[label]}/{path.name}",
            }
            for path, label in evenly_chosen(self._pictures(split), count)
        ]


def beside_classes(folder: Path, classes: Sequence[str]) -> str | None:
    """What of a folder is not read, because it is in none of the folders of classes; None where there is nothing.

    Args:
        folder: Folder that holds one for each class.
        classes: Names of the classes that are read.
    """
    listing, known = Listing(folder), {composed(name) for name in classes}
    others = [entry.name for entry in listing.take(folder) if composed(entry.name) not in known]
    found = []
    for names, what in (
        ([path.name for path in listing.paths], "picture{} beside the folders of classes"),
        (others, "folder{} that data.classes does not name"),
    ):
        if names:
            found.append(f"{len(names)} {what.format('s' * (len(names) > 1))} ({listed(names, 3)})")
    found += listing.left_out()
    return printable(f"{folder}: left out: {'; '.join(found)}") if found else None


def _class_folder(root: Path, name: str) -> Path | None:
    """The folder of a class; its name may be written in another form of Unicode, as in archives of a Mac."""
    if (root / name).is_dir():
        return root / name
    there = root.iterdir() if root.is_dir() else ()
    return next((path for path in there if composed(path.name) == composed(name) and path.is_dir()), None)
