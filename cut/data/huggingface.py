"""Pictures in data sets of Hugging Face (`pip install 'cut[huggingface]'`): Parquet files, folders, names on the hub.

A data set lies on the disk as an Arrow table, of which any row is read without the others: sample n of a run depends on
(seed, n) alone, as with folders, and its pictures are decoded as files are.
"""

import importlib
import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from cut.config import HuggingFaceDataConfig, TableConfig
from cut.config.bands import Bands
from cut.data.images import evenly_chosen, read_image
from cut.data.picture_list import PictureList, entry_of_content
from cut.data.stream import SampleStream
from cut.data.transforms import fixed_transform, random_view, scaled
from cut.data.unpaired import UnpairedStream
from cut.errors import UserError, about, did_you_mean, reason

_FILES = {".parquet": "parquet", ".arrow": "arrow"}
_SAVED = ("state.json", "dataset_dict.json")  # of a folder that `save_to_disk` has written


class Table:
    """The pictures of one column.

    Args:
        config: Where they are.
        key: Setting that says so, such as `data.a`, for errors.

    Raises:
        UserError: The package `datasets` is missing, the data set cannot be loaded, or the column holds no pictures.
    """

    def __init__(self, config: TableConfig, key: str):
        datasets = import_datasets(key)
        self.column, self._name = config.column, f"{config.path}[{config.split}]"
        rows = _load(datasets, config, key)
        if self.column not in rows.column_names:
            meant = did_you_mean(self.column, rows.column_names)
            there = ", ".join(rows.column_names)
            raise UserError(f"{key}.column: {self._name} has no column '{self.column}'{meant} (there: {there})")
        try:
            self.rows = rows.select_columns([self.column]).cast_column(self.column, datasets.Image(decode=False))
        except Exception as error:  # noqa: BLE001  of pyarrow's and of datasets' own
            raise UserError(
                f"{key}.column: {self._name}: '{self.column}' holds no pictures ({reason(error)})"
            ) from None
        if not len(self.rows):
            raise UserError(f"{key}: {self._name} holds no picture")

    def __len__(self) -> int:
        return len(self.rows)

    def name_of(self, row: int) -> str:
        """What errors call a picture."""
        return f"{self._name}, row {row}"

    def read(self, row: int, channels: Bands) -> np.ndarray:
        """The picture of a row, as `read_image`.

        Raises:
            UserError: It is missing or broken.
        """
        cell = self.rows[row][self.column]
        if not cell or not (cell["bytes"] or cell["path"]):
            raise UserError(f"{self.name_of(row)}: holds no picture")
        if cell["bytes"] is None:
            return read_image(cell["path"], channels)
        return read_image(self.name_of(row), channels, cell["bytes"])

    def entry(self) -> list[Any]:
        """Number of pictures, and a digest of their sizes in bytes, which are read without the pictures."""
        compute = importlib.import_module("pyarrow.compute")
        cells = self.rows.data.column(self.column)
        sizes = compute.binary_length(compute.struct_field(cells, "bytes"))
        paths = compute.struct_field(cells, "path")
        return entry_of_content(len(self), json.dumps([sizes.to_pylist(), paths.to_pylist()]).encode())


class HuggingFaceStream(UnpairedStream):
    """Samples of two tables, drawn as those of two folders.

    Args:
        config: Tables and transform.
        seed: Seed of the run.
        batches_per_step: Number of batches that a step of training draws.
    """

    config: HuggingFaceDataConfig  # type: ignore[assignment]
    cache = None  # type: ignore[assignment]

    def __init__(self, config: HuggingFaceDataConfig, seed: int, batches_per_step: int = 1):
        SampleStream.__init__(self, config, seed, batches_per_step)
        keys = dict(zip("ab", (f"data.{domain.lower()}" for domain in config.domains), strict=True))
        self.tables = {domain: Table(table, keys[domain]) for domain, table in config.tables.items()}
        self.paths_a, self.paths_b = (range(len(table)) for table in self.tables.values())  # type: ignore[assignment]
        self.num_pictures = max(len(table) for table in self.tables.values())

    def _view(self, domain: str, row: int, whole: bool, rng: np.random.Generator) -> dict[str, Tensor]:  # type: ignore[override]
        table = self.tables[domain]
        picture = table.read(row, self.config.bands[domain])
        with about(table.name_of(row)):
            pixels = scaled(picture, self.config, whole)
        return {f"real_{domain}": random_view(pixels, self.config, rng, table.name_of(row))}

    def read_beside(self, wanted: Collection[str]) -> None:
        SampleStream.read_beside(self, wanted)

    def notes(self) -> list[str]:
        return [f"{table.name_of(0).removesuffix(', row 0')}: {len(table)} pictures" for table in self.tables.values()]

    def sources(self, split: str) -> list[Path]:
        return []

    def picture_list(self) -> PictureList:
        return {domain: table.entry() for domain, table in self.tables.items()}

    def fixed_samples(self, count: int) -> list[dict[str, Any]]:
        """Evenly spread pictures, with others of the target domain."""
        samples: list[dict[str, Any]] = []
        others = evenly_chosen(self.paths_b, count)
        for place, row in enumerate(evenly_chosen(self.paths_a, count)):
            own = {"a": int(row), "b": int(others[place % len(others)])}  # type: ignore[call-overload]
            sample: dict[str, Any] = {"name": f"row {own['a']}"}
            for domain, table in self.tables.items():
                picture = table.read(own[domain], self.config.bands[domain])
                sample[f"real_{domain}"] = fixed_transform(picture, self.config, table.name_of(own[domain]))
            samples.append(sample)
        return samples


def import_datasets(key: str) -> Any:
    """The package `datasets`, which shows no progress bars.

    Raises:
        UserError: It is not installed; the line has the command.
    """
    try:
        datasets = importlib.import_module("datasets")
        datasets.load_dataset  # noqa: B018  a folder `datasets` beside the program is importable as well
    except (ImportError, AttributeError):
        raise UserError(f"{key}: needs the package datasets; run: pip install 'cut[huggingface]'") from None
    datasets.disable_progress_bars()
    return datasets


def _load(datasets: Any, config: TableConfig, key: str) -> Any:
    path, options = Path(config.path), {"split": config.split, "revision": config.revision}
    try:
        if path.is_file():
            if path.suffix.lower() not in _FILES:
                raise UserError(f"{key}.path: {path}: no data set; a file must end in {' or '.join(_FILES)}")
            named = (re.match(r"[\w.-]+", config.split) or ["train"])[0]
            return datasets.load_dataset(_FILES[path.suffix.lower()], data_files={named: str(path)}, split=config.split)
        if path.is_dir() and any((path / name).is_file() for name in _SAVED):
            found = datasets.load_from_disk(str(path))
            return found[config.split] if isinstance(found, dict) else found
        return datasets.load_dataset(str(config.path), config.subset, **options)
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001  of whatever kind: no network, no such data set, split or subset
        why = f"{type(error).__name__}: {reason(error)}" if isinstance(error, KeyError) else reason(error)
        raise UserError(f"{key}: {config.path}: cannot be loaded, split {config.split} ({why})") from None
