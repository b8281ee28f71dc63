"""Reads a `.pth` of weights without trusting it: no code is run, and no more memory taken than the file has bytes."""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cut.errors import UserError
from cut.storage.files import why_unreadable
from cut.storage.torch_file import TorchFileError, read_torch_file

# What translates in files of several networks: MUNIT's, and DRIT's, which hold all else of a training too.
_SEVERAL_NETWORKS = (("a", "b"), ("enc_c", "enc_a", "gen"))
_NEEDED = "needed is a generator's state_dict alone, as the authors' programs save it: latest_net_G.pth"


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Key -> tensor on the CPU, floats as float32, without the prefix `module.` that `DataParallel` adds to all keys.

    Raises:
        UserError: no such file, damaged, holds other objects than tensors, or numbers that are not finite.
    """
    content = _load(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}; {_NEEDED}")
    if {"schema_version", "method"} <= content.keys():
        raise UserError(f"{path}: is a checkpoint of this program; give it with --checkpoint")
    content = _of_several_networks(content)
    others = [key for key, value in content.items() if not (_is_name(key) and isinstance(value, Tensor))]
    if others or not content:
        held = ", ".join(repr(key)[:40] for key in others[:3]) if others else "nothing"
        raise UserError(f"{path}: holds {held}; {_NEEDED}")
    _check_plain(content, path)
    tensors = {key: value.detach().float() if value.is_floating_point() else value for key, value in content.items()}
    for key, value in tensors.items():
        if not torch.isfinite(value).all():
            raise UserError(f"{path}: {key} holds numbers that are not finite; the training that saved it had failed")
    wrapped = all(key.startswith("module.") for key in tensors)
    return {key.removeprefix("module.") if wrapped else key: value for key, value in tensors.items()}


def _of_several_networks(content: dict[Any, Any]) -> dict[Any, Any]:
    """The tensors of those networks that translate, as `<network>.<key>`; any other file's content as it is."""
    for names in _SEVERAL_NETWORKS:
        parts = [content[name] for name in names if isinstance(content.get(name), dict)]
        if len(parts) == len(names):
            return {
                f"{name}.{key}": value for name, part in zip(names, parts, strict=True) for key, value in part.items()
            }
    return content


def _is_name(key: Any) -> bool:
    """Of a tensor in a module, which is safe to print."""
    return isinstance(key, str) and re.fullmatch(r"[\w.]{1,200}", key, re.ASCII) is not None


def _load(path: Path) -> Any:
    if not path.is_file():
        what = "is a folder; name the file of weights in it" if path.is_dir() else why_unreadable(path)
        raise UserError(f"{path}: {what}")
    if path.suffix == ".safetensors":
        raise UserError(f"{path}: is no .pth; a generator.safetensors of this program goes with --checkpoint")
    try:
        return read_torch_file(path)
    except TorchFileError as error:
        why = str(error)
    except Exception as error:  # noqa: BLE001  a damaged archive raises RuntimeError, EOFError, UnpicklingError, KeyError, ...
        why = f"damaged or no .pth ({type(error).__name__})"
    raise UserError(f"{path}: {why}; {_NEEDED}")


def _check_plain(tensors: dict[str, Tensor], path: Path) -> None:
    for key, value in tensors.items():
        numbers = value.is_floating_point() or key.endswith("num_batches_tracked")
        if not (numbers and value.numel()):
            raise UserError(f"{path}: {key} is no plain array of numbers; {_NEEDED}")
