"""Reads files of `torch.save` from anywhere: no code is run, and no more memory is taken than the file has bytes."""

import io
import pickletools
import re
import warnings
import zipfile
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from cut.storage.files import open_regular

# Of the functions that torch would call for a pickle, those that a file of plain tensors needs; others make arrays of
# any size that a few bytes ask for.
_NEEDED = re.compile(
    r"collections OrderedDict|torch\._utils _rebuild_(tensor|tensor_v2|tensor_v3|parameter)"
    r"|torch\.nn\.parameter Parameter|torch\.storage (Untyped|Typed)Storage"
    r"|torch (\w+Storage|Size|device|bool|b?float\d\w*|u?int\d+|complex\d+)"
)
_MOST_OPERATIONS = 2_000_000  # of a pickle; a checkpoint of 10,000 tensors has about 300,000
_MOST_PICKLE_BYTES = 1 << 26
_MOST_VALUES = 2_000_000
_MOST_DEPTH = 40
_LEGACY_PICKLES = 4  # before the objects' numbers in files that are no archive: magic number, version, system, objects


class TorchFileError(ValueError):
    """Its text is the reason, on one line, without the file's name."""


def read_torch_file(path: Path, archives_only: bool = False) -> Any:
    """What a file holds, its tensors on the CPU.

    Args:
        path: File to read.
        archives_only: Whether the format from before torch 1.6, which has no checksums, is refused.

    Raises:
        TorchFileError: it holds other objects than plain values and tensors, or claims more than it has.
        OSError: it cannot be read.
        Exception: damaged; zipfile, pickletools and torch raise many kinds.
    """
    with open_regular(path) as file:
        if archives_only or zipfile.is_zipfile(file):
            _check_archive(file)
        else:
            file.seek(0)
            for _ in range(_LEGACY_PICKLES):
                _check_pickle(file)
        num_bytes = file.seek(0, 2)
        file.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as a remark on TorchScript
            content = torch.load(file, map_location="cpu", weights_only=True)
    _check_content(content, num_bytes)
    return content


def _check_archive(file: IO[bytes]) -> None:
    """Compares the checksums that torch writes into its files, but does not look at, and reads what it would run."""
    with zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
        if any(part.filename.endswith("/constants.pkl") for part in parts):
            raise TorchFileError("is a network in TorchScript, not a file of torch.save")
        if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
            raise TorchFileError("damaged: a part of it is packed, which torch never does")
        if archive.testzip():
            raise TorchFileError("damaged: a checksum is wrong")
        for part in parts:
            if part.filename.rpartition("/")[2] == "data.pkl":
                if part.file_size > _MOST_PICKLE_BYTES:
                    raise TorchFileError(f"its list of contents takes {part.file_size} bytes")
                _check_pickle(io.BytesIO(archive.read(part)))  # read by the byte, which an archive is slow at


def _check_pickle(file: IO[bytes]) -> None:
    """Reads one pickle without building anything of it."""
    for number, (operation, argument, _) in enumerate(pickletools.genops(file)):
        if operation.name == "GLOBAL" and not _NEEDED.fullmatch(str(argument)):
            name = ".".join(str(argument).split())
            if name.startswith("torch."):
                raise TorchFileError(f"holds something that is no plain array of numbers ({name})")
            raise TorchFileError(f"holds Python objects ({name}), which are not read because they may run code")
        if number > _MOST_OPERATIONS:
            raise TorchFileError(f"holds more than {_MOST_OPERATIONS} values")


def _check_content(content: Any, num_bytes: int) -> None:
    """Raises a TorchFileError where the content is deep, in a circle, or costs more than the file once it is copied.

    A structure may stand in several places, and a tensor be a view of a few numbers that claims any size.
    """
    storages: dict[int, int] = {}  # address -> bytes
    known: dict[int, tuple[int, int]] = {}  # id of a container -> values and bytes of tensors in it, written out

    def measure(value: Any, depth: int) -> tuple[int, int]:
        if isinstance(value, Tensor):
            storages[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
            return 1, value.numel() * value.element_size()
        if not isinstance(value, dict | list | tuple):
            return 1, 0
        if depth > _MOST_DEPTH:
            raise TorchFileError(f"has more than {_MOST_DEPTH} levels, or is in itself")
        if id(value) not in known:
            parts = [measure(part, depth + 1) for part in (value.values() if isinstance(value, dict) else value)]
            known[id(value)] = (1 + sum(count for count, _ in parts), sum(size for _, size in parts))
        return known[id(value)]

    count, claimed = measure(content, 0)
    if count > _MOST_VALUES:
        raise TorchFileError(f"stands for more than {_MOST_VALUES} values")
    if sum(storages.values()) > num_bytes or claimed > 8 * num_bytes:  # a few networks may share their weights
        raise TorchFileError(f"its tensors claim {claimed} bytes, but the file has {num_bytes}")
