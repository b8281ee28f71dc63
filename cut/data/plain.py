"""One folder of pictures as an endless, random-access stream of samples."""

from pathlib import Path
from typing import Any

import numpy as np

from cut.config import ImagesDataConfig
from cut.data.cache import PictureCache
from cut.data.images import list_images
from cut.data.picture_list import PictureList, entry_of_files
from cut.data.stream import SampleStream, noise_rows
from cut.data.transforms import random_view
from cut.datasets.catalogue import fetch_command
from cut.errors import UserError


class ImagesStream(SampleStream):
    """Every picture once per epoch, with a crop and mirroring that depend on (seed, n) alone.

    Args:
        config: the folder and the transform.
        seed: of the run.
        batches_per_step: that a step of training takes.

    Raises:
        UserError: the folder is missing or empty.
    """

    config: ImagesDataConfig
    cache: PictureCache

    def __init__(self, config: ImagesDataConfig, seed: int, batches_per_step: int = 1):
        super().__init__(config, seed, batches_per_step)
        try:
            self.paths = list_images(Path(config.root))
        except UserError as error:
            command = fetch_command(config.root)
            how = f"fetch it with: {command}" if command else "set data.root to a folder of pictures"
            raise UserError(f"data.root: {error}; {how}") from None
        self.cache = PictureCache(config)
        self.num_pictures = len(self.paths)

    def __getitem__(self, n: int) -> dict[str, Any] | UserError:
        """`real` `(C, H, W)` in [-1, 1]; a user's mistake is returned, so that it crosses processes."""
        path, rng = self.paths[self.picture_of(n)], np.random.default_rng((self.seed, 1, n))
        try:
            pixels = self.cache.scaled(path, self.config.num_channels, whole=False)
            return {"real": random_view(pixels, self.config, rng, str(path))}
        except UserError as error:
            return error

    def sources(self, split: str) -> list[Path]:
        return [Path(self.config.root)] if split == "train" else []

    def picture_list(self) -> PictureList:
        return {"pictures": entry_of_files(self.paths, Path(self.config.root))}

    def fixed_samples(self, count: int) -> list[dict[str, Any]]:
        return noise_rows(count)
