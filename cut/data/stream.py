"""What every kind of data is to the trainer: an endless, random-access stream of samples."""

import copy
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from cut.config.loader import LoaderConfig
from cut.data.cache import PictureCache
from cut.data.colour_statistics import ColourStatistics
from cut.data.picture_list import PictureList
from cut.errors import UserError


class SampleStream(Dataset):
    """Sample n of a run, for any n, depends on (seed, n) alone, so that resuming needs no state of the data.

    `stream[n]` is a dict of tensors without the batch dimension, or a `UserError`, returned to cross processes.

    Args:
        config: Settings of the data; each kind has its own.
        seed: Seed of the run.
        batches_per_step: Number of batches that a step of training draws. An epoch has as many steps as one of them
            needs to visit every picture, so that a step which draws twice visits each of them twice.
    """

    num_pictures: int  # that an epoch visits once each, but for the rest that fills no batch
    cache: PictureCache | None = None  # of its pictures, where they are read from files again and again
    whole_from: int | None = None  # the sample from which on pictures are not cropped any more (`no_crop_in_decay`)

    def __init__(self, config: LoaderConfig, seed: int, batches_per_step: int = 1):
        self.config, self.seed, self.samples_per_step = config, seed, config.batch_size * batches_per_step
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, dtype=np.int64))

    @property
    def steps_per_epoch(self) -> int:
        """Whole steps in an epoch.

        Raises:
            UserError: A batch takes more pictures than there are.
        """
        if self.config.batch_size > self.num_pictures:
            raise UserError(
                f"data.batch_size: {self.config.batch_size} is more than the {self.num_pictures} pictures; lower it to "
                f"{self.num_pictures} or less, or add pictures"
            )
        return self.num_pictures // self.config.batch_size

    @property
    def samples_per_epoch(self) -> int:
        """Samples from one shuffling of the pictures to the next."""
        return self.steps_per_epoch * self.config.batch_size

    def picture_of(self, n: int) -> int:
        """Which picture, from 0, sample n shows: each epoch visits them in an order of its own."""
        epoch, place = divmod(n, self.samples_per_epoch)
        if self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng((self.seed, 0, epoch)).permutation(self.num_pictures))
        return int(self._order[1][place])

    @classmethod
    def find_classes(cls, config: LoaderConfig) -> tuple[str, ...]:
        """Names of the classes, in the order of their numbers, where the config does not name them.

        Raises:
            UserError: The data have no classes, or are missing.
        """
        raise UserError(f"data.name: {config.name} has no classes; take labelled, or idx")

    def apart(self) -> "SampleStream":
        """The same pictures in other samples than those that a training of any length sees."""
        other = copy.copy(self)
        other.seed = int(np.random.SeedSequence((self.seed, 1)).generate_state(1)[0])
        other._order, other.whole_from = (-1, np.empty(0, dtype=np.int64)), None
        return other

    def colours(self) -> tuple[ColourStatistics, ColourStatistics]:
        """Statistics of all training pixels, as they are scaled, of the source and of the target domain.

        Raises:
            UserError: A picture cannot be read.
        """
        raise NotImplementedError

    def read_beside(self, wanted: Collection[str]) -> None:
        """Has samples hold further images, where the data have them.

        Args:
            wanted: Keys, as `cut.config.MethodConfig.further_images` names them.

        Raises:
            UserError: The data cannot have them, or some are missing.
        """
        if any(key.startswith("partner_") for key in wanted):
            raise UserError(f"method.lambda_paired: data.name {self.config.name} has no pairs; take unpaired, or set 0")

    def notes(self) -> list[str]:
        """What was found besides the pictures, in a line each."""
        return []

    def sources(self, split: str) -> list[Path]:
        """The folders and pictures that the user gave for a split, `train`, `val` or `test`."""
        return []

    def folders(self, split: str) -> list[Path]:
        """The folders that are read for a split: what is written into them would be read too."""
        return [source for source in self.sources(split) if source.is_dir()]

    def passed_over(self, split: str) -> list[str]:
        """What lies beside the sources of a split and is not read, in lines that are printed once."""
        return []

    def picture_list(self) -> PictureList:
        """Which pictures the samples are made of. A kind of data that does not say it is known by their number."""
        return {"pictures": [self.num_pictures, ""]}

    def fixed_samples(self, count: int) -> list[dict[str, Any]]:
        """What sample sheets show: up to `count` dicts of `name`, the tensors that `Method.visuals` reads, and
        `target`, where there is one to show beside them."""
        raise NotImplementedError


def noise_rows(count: int) -> list[dict[str, Any]]:
    """The fixed samples of data without inputs: `count` numbered rows."""
    return [{"row": torch.tensor(row), "name": ""} for row in range(count)]
