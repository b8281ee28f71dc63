"""Pairs of pictures, kept as one picture A|B or in two folders under equal names, and the way between the two."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from cut.data.images import SUFFIXES, read_image, write_image
from cut.data.pair_files import by_name, match_folders, split_picture
from cut.errors import UserError, reason
from cut.storage.files import find_collision, new_folders, real_path


def join_pictures(a: np.ndarray, b: np.ndarray, path_a: str | Path, path_b: str | Path) -> np.ndarray:
    """A|B, `(H, 2W, C)`, with 16 bits where either has them.

    Raises:
        UserError: the sizes differ.
    """
    if a.shape[:2] != b.shape[:2]:
        sizes = [f"{path} ({p.shape[1]}x{p.shape[0]} px)" for p, path in ((a, path_a), (b, path_b))]
        raise UserError(f"{' and '.join(sizes)}: a pair must be of one size; scale one of them")
    if a.dtype != b.dtype:
        a, b = (p if p.dtype == np.uint16 else p.astype(np.uint16) * 257 for p in (a, b))
    return np.concatenate([a, b], axis=1)


def pair_folders(folder_a: Path, folder_b: Path, output: Path, suffix: str = ".png") -> int:
    """Writes one picture A|B per name into the new folder `output`, and returns their number.

    Raises:
        UserError: see `match_folders` and `join_pictures`; or `output` exists.
    """
    if real_path(folder_a) == real_path(folder_b):
        raise UserError(f"{folder_a}, {folder_b}: are the same folder; name the one of A and the one of B")
    pairs = match_folders(folder_a, folder_b)
    _refuse_inside(output, folder_a, folder_b)
    with _new_folders([name for name, _, _ in pairs], suffix, output) as (files,):
        for name, path_a, path_b in pairs:
            joined = join_pictures(read_image(path_a, 3), read_image(path_b, 3), path_a, path_b)
            write_image(files[name], joined)
    return len(pairs)


def split_folder(combined: Path, output: Path, suffix: str = ".png") -> tuple[Path, Path, int]:
    """Writes the halves of each picture A|B below `combined` into two new folders, named after it, below `output`.

    Returns:
        The folder of A, that of B, and the number of pictures in each: `train` becomes `trainA` and `trainB`.

    Raises:
        UserError: no picture there, one of odd width or that cannot be read, or the new folders exist.
    """
    paths = by_name(combined)
    folder_a, folder_b = (output / f"{real_path(combined).name}{domain}" for domain in "AB")
    _refuse_inside(folder_a, combined)
    with _new_folders(paths, suffix, folder_a, folder_b) as (files_a, files_b):
        for name, path in paths.items():
            half_a, half_b = split_picture(read_image(path, 3), path)
            write_image(files_a[name], half_a)
            write_image(files_b[name], half_b)
    return folder_a, folder_b, len(paths)


def _refuse_inside(output: Path, *sources: Path) -> None:
    for source in sources:
        if real_path(output).is_relative_to(real_path(source)):
            raise UserError(
                f"{output}: lies in the input folder {source}, whose pictures it would mix with; choose another output"
            )


@contextlib.contextmanager
def _new_folders(names: Iterable[str], suffix: str, *folders: Path) -> Iterator[list[dict[str, Path]]]:
    """For each of `folders`, which are made whole or not at all, the files to write by the pictures' names.

    Raises:
        UserError: an unknown format, a folder exists or cannot be made, or two names are one on its disk.
    """
    if suffix not in SUFFIXES:
        known = ", ".join(s[1:] for s in SUFFIXES)
        raise UserError(f"--format {suffix[1:]}: not a known picture format (known: {known})")
    for folder in folders:
        if os.path.lexists(folder):
            raise UserError(f"{folder}: exists already, and nothing is overwritten; delete it or choose another output")
    files = {name: Path(f"{name}{suffix}") for name in names}  # not with_suffix, because names may hold dots
    try:
        with new_folders(*folders) as made:
            if pair := find_collision(list(files.values()), made[0]):
                first, second = (list(files.values())[index] for index in pair)
                raise UserError(f"{first} and {second}: are one file on the disk of {folders[0]}; rename one picture")
            yield [{name: folder / file for name, file in files.items()} for folder in made]
    except OSError as error:
        raise UserError(f"{folders[0]}: cannot be written ({reason(error)})") from None
