"""Pairs of pictures, kept as one picture A|B or in two folders under equal names, and the way between the two."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cut.data.images import SUFFIXES, read_image, write_image
from cut.data.pair_files import by_name, match_folders, split_picture
from cut.errors import UserError


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
    pairs = match_folders(folder_a, folder_b)
    with _new_folders(suffix, output) as (folder,):
        for name, path_a, path_b in pairs:
            joined = join_pictures(read_image(path_a, 3), read_image(path_b, 3), path_a, path_b)
            write_image(_file(folder, name, suffix), joined)
    return len(pairs)


def split_folder(combined: Path, output: Path, suffix: str = ".png") -> tuple[Path, Path, int]:
    """Writes the halves of each picture A|B below `combined` into two new folders, named after it, below `output`.

    Returns:
        The folder of A, that of B, and the number of pictures in each: `train` becomes `trainA` and `trainB`.

    Raises:
        UserError: no picture there, one of odd width or that cannot be read, or the new folders exist.
    """
    paths = by_name(combined)
    folder_a, folder_b = (output / f"{combined.resolve().name}{domain}" for domain in "AB")
    with _new_folders(suffix, folder_a, folder_b) as folders:
        for name, path in paths.items():
            for folder, half in zip(folders, split_picture(read_image(path, 3), path), strict=True):
                write_image(_file(folder, name, suffix), half)
    return folder_a, folder_b, len(paths)


def _file(folder: Path, name: str, suffix: str) -> Path:
    return folder / f"{name}{suffix}"  # not with_suffix, for names may hold dots


@contextlib.contextmanager
def _new_folders(suffix: str, *folders: Path) -> Iterator[list[Path]]:
    """Temporary folders that become `folders` in the end, or vanish on an error: nothing is ever overwritten."""
    if suffix not in SUFFIXES:
        known = ", ".join(s[1:] for s in SUFFIXES)
        raise UserError(f"--format {suffix[1:]}: not a known picture format (known: {known})")
    for folder in folders:
        if folder.exists():
            raise UserError(f"{folder}: exists already, and nothing is overwritten; delete it or choose another output")
    resolved = [folder.resolve() for folder in folders]
    temporary = [folder.with_name(f".{folder.name}.part") for folder in resolved]
    try:
        for folder in temporary:
            shutil.rmtree(folder, ignore_errors=True)
        yield temporary
        for made, folder in zip(temporary, resolved, strict=True):
            made.rename(folder)
    finally:
        for folder in temporary:
            shutil.rmtree(folder, ignore_errors=True)
