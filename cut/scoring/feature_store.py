"""Features of target sets, kept on disk: most of the time of a score is the network's, and targets seldom change.

An entry is named by what it was computed from: the network, and the bytes of the pictures, whatever their names and
order. So sets never share one, and none is ever out of date.
"""

import contextlib
import hashlib
import io
import json
import math
import os
import re
import time
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from cut.data import decode
from cut.storage.files import open_regular, user_cache, write_entry
from cut.storage.written import is_leftover

# Raise it when pictures are read or prepared for the network in another way.
_VERSION = 2, decode.VERSION
_MOST_ARRAYS = 3  # in an entry
_MOST_FEATURES_BYTES = 256 * 2**20  # of more, mean and covariance are kept, which suffice for fid
_ABANDONED_SECONDS = 3600.0
_NAME = re.compile(r"[0-9a-f]{64}\.npz")
_MOST_BYTES = 2 * 2**30  # in all; what was not used for longest goes first


def default_store() -> Path:
    """Where features are kept unless the user says otherwise.

    Raises:
        OSError: see `user_cache`.
    """
    return user_cache("statistics")


def entry_name(network: str, device: str, pictures: list[str]) -> str:
    """The key of a set of pictures, given by their digests, as a network sees it."""
    content = json.dumps([_VERSION, network, device, sorted(pictures)])
    return hashlib.sha256(content.encode()).hexdigest()


def load_entry(folder: Path, name: str, count: int) -> dict[str, np.ndarray] | None:
    """`features` `(N, D)`, or `mean` `(D,)` and `covariance` `(D, D)`; None if none of N pictures is whole."""
    path = folder / f"{name}.npz"
    try:
        with open_regular(path) as file:
            arrays = _read_arrays(file)
        os.utime(path)
    # Damaged, of another kind, or larger than the memory: it is computed again.
    except (OSError, ValueError, KeyError, EOFError, MemoryError, NotImplementedError, zipfile.BadZipFile):
        return None
    return arrays if _fits(arrays, count) else None


def _read_arrays(file: IO[bytes]) -> dict[str, np.ndarray]:
    """What `np.load` gives of a file of `np.savez`, but it believes no size that the file has not."""
    with zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
        if len(parts) > _MOST_ARRAYS or any(part.compress_type != zipfile.ZIP_STORED for part in parts):
            raise ValueError("not as it was written")
        return {part.filename.removesuffix(".npy"): _read_array(archive.read(part)) for part in parts}


def _read_array(data: bytes) -> np.ndarray:
    header = io.BytesIO(data)
    np.lib.format.read_magic(header)
    shape, is_fortran, kind = np.lib.format.read_array_header_1_0(header)
    numbers = data[header.tell() :]
    if kind.kind not in "fi" or len(numbers) != math.prod(shape) * kind.itemsize:
        raise ValueError("not as long as it claims")
    return np.frombuffer(bytearray(numbers), kind).reshape(shape, order="F" if is_fortran else "C")


def _fits(arrays: dict[str, np.ndarray], count: int) -> bool:
    """Whether they are the features of so many pictures, or their statistics."""
    if not all(np.isfinite(array).all() for array in arrays.values()):
        return False
    if set(arrays) == {"features"}:
        return arrays["features"].ndim == 2 and len(arrays["features"]) == count
    if set(arrays) != {"mean", "covariance", "count"}:
        return False
    width = arrays["mean"].size
    shapes = [arrays[name].shape for name in ("mean", "covariance", "count")]
    return shapes == [(width,), (width, width), ()] and arrays["count"] == count


def save_entry(folder: Path, name: str, features: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> None:
    """Writes an entry, whole or not at all, whoever else writes it at the same time.

    Raises:
        OSError: the folder cannot be written.
    """
    arrays = {"features": features}
    if features.nbytes > _MOST_FEATURES_BYTES:
        arrays = {"mean": mean, "covariance": covariance, "count": np.array(len(features))}

    def write(file: Any) -> None:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # no array is called allow_pickle
        file.flush()
        os.fsync(file.fileno())

    write_entry(folder / f"{name}.npz", write)
    _prune(folder, keep=f"{name}.npz")


def _prune(folder: Path, keep: str) -> None:
    """Deletes entries, those first that were not used for longest, until the rest is small enough."""
    for path in folder.glob(".*.part"):  # of processes that were killed while they wrote
        with contextlib.suppress(OSError):
            if is_leftover(path.name) and time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                path.unlink()
    entries = []
    for path in (path for path in folder.glob("*.npz") if _NAME.fullmatch(path.name)):  # the folder may be the user's
        with contextlib.suppress(OSError):  # another process may have deleted it
            entries.append((path.stat().st_mtime, path.stat().st_size, path))
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= _MOST_BYTES:
            return
        if path.name != keep:
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size
