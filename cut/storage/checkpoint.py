"""Checkpoints: written whole or not at all, read without executing code."""

import hashlib
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from cut.errors import UserError, reason, shown
from cut.storage.files import Content, write_whole

SCHEMA_VERSION = 1
INFERENCE_FILE = "generator.safetensors"
BEST_FILE = "best.pt"
_OPTIONAL = (dict, type(None))
_PARTS: dict[str, Any] = {"step": int, "config": dict, "method": dict, "ema": _OPTIONAL, "optimizers": dict}
_PARTS |= {"precision": _OPTIONAL, "random": dict, "log": dict}


def save_checkpoint(folder: Path, step: int, state: Mapping[str, Any], keep: int) -> Path:
    """Writes `folder/step_<step>.pt` and deletes all but the newest `keep` checkpoints.

    Raises:
        UserError: the file cannot be written, for instance on a full disk; older checkpoints stay.
    """
    path = folder / f"step_{step:08d}.pt"
    write_checkpoint(path, step, state, checked=False)  # a damaged one is replaced
    earlier = [old for old in list_checkpoints(folder) if old.name < path.name]
    for old in earlier[: len(earlier) - keep + 1]:
        old.unlink(missing_ok=True)
    return path


def write_checkpoint(path: Path, step: int, state: Mapping[str, Any], checked: bool = True) -> None:
    """Writes one checkpoint, whole or not at all.

    Args:
        path: File to write.
        step: Generator updates done.
        state: What to keep.
        checked: See `write_whole`.

    Raises:
        UserError: the file cannot be written.
    """
    content = {"schema_version": SCHEMA_VERSION, "step": step, **state}
    _write(path, lambda file: torch.save(content, file.name), checked)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU.

    Raises:
        UserError: no such file, damaged, or not one of ours.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint")
    try:
        check_archive(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001  a damaged archive raises RuntimeError, EOFError, UnpicklingError, KeyError, ...
        raise UserError(f"{path}: damaged or not a checkpoint ({type(error).__name__}); use an earlier one") from None
    if not isinstance(state, dict) or not {"schema_version", "method"} <= state.keys():
        raise UserError(f"{path}: not a checkpoint of this program (no schema version)")
    if type(state["schema_version"]) is not int or state["schema_version"] != SCHEMA_VERSION:
        raise UserError(f"{path}: schema version {shown(state['schema_version'])}; this program reads {SCHEMA_VERSION}")
    if not _is_complete(state):
        raise UserError(f"{path}: not a complete checkpoint of this program")
    return state


def _is_complete(state: dict[str, Any]) -> bool:
    """Whether every part is there and of its kind; what is in the parts shows when they are taken up."""
    if not all(isinstance(state.get(key), kind) for key, kind in _PARTS.items()) or state["step"] < 0:
        return False
    if type(state.get("num_processes", 1)) is not int:
        return False
    sums, steps = state["log"].get("sums", {}), state["log"].get("steps", 0)
    if type(steps) is not int or not isinstance(sums, dict):
        return False
    if not all(isinstance(key, str) and isinstance(v, Tensor) and v.shape == () for key, v in sums.items()):
        return False
    if not all(isinstance(key, str) for key in (*state["method"], *(state.get("ema") or {}))):
        return False
    # A tensor that is stretched over a few numbers would take its claimed size once it is copied.
    return all(t.numel() * t.element_size() <= t.untyped_storage().nbytes() for t in _tensors(state))


def _tensors(nest: Any) -> Iterator[Tensor]:
    waiting = [nest]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value


def check_archive(path: Path) -> None:
    """Compares the checksums that torch writes into its files, but does not look at.

    Raises:
        ValueError: one is wrong, or a part is packed: torch packs nothing, and what is packed can claim any size.
        zipfile.BadZipFile: the file is no archive.
        OSError: it cannot be read.
    """
    with zipfile.ZipFile(path) as archive:
        if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()) or archive.testzip():
            raise ValueError("checksum")


def list_checkpoints(folder: Path) -> list[Path]:
    """All checkpoints in a folder, oldest first."""
    return sorted(p for p in folder.glob("step_*.pt") if re.fullmatch(r"step_\d{8,}\.pt", p.name))


def save_inference_file(path: Path, networks: Mapping[str, nn.Module], config: Mapping[str, Any], step: int) -> None:
    """Writes what `forward` needs, and nothing else, with the resolved config, as safetensors."""
    tensors = {
        f"{name}.{key}": value.detach().cpu().contiguous()
        for name, network in networks.items()
        for key, value in network.state_dict().items()
    }
    metadata = {"config": json.dumps(config), "step": str(step), "schema_version": str(SCHEMA_VERSION)}
    metadata["sha256"] = _digest(tensors, metadata)
    # Not `save_file`, which writes another temporary file, and that only its owner may read.
    _write(path, save(tensors, metadata))


def load_inference_file(path: Path) -> tuple[dict[str, Tensor], dict[str, Any], int]:
    """The tensors, the resolved config and the step of an inference file, or of a checkpoint (`.pt`).

    Raises:
        UserError: no such file, damaged, or not one of ours.
    """
    if path.suffix == ".pt":
        state = load_checkpoint(path)
        return {**state["method"], **(state.get("ema") or {})}, state["config"], state["step"]
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  not a dict
        digest = metadata.pop("sha256", None)  # which files of earlier versions have not
        if digest is not None and digest != _digest(tensors, metadata):
            raise ValueError("checksum")
        config = json.loads(metadata["config"])
        if metadata["schema_version"] != str(SCHEMA_VERSION) or not isinstance(config, dict):
            raise ValueError("schema version")
        return tensors, config, int(metadata["step"])
    except Exception as error:  # noqa: BLE001  SafetensorError, OSError, KeyError, RecursionError, RuntimeError, ...
        hint = "; the authors' generators go with --import" if path.suffix == ".pth" else ""
        why = f"damaged or not an inference file of this program ({type(error).__name__})"
        raise UserError(f"{path}: {why}{hint}") from None


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256 over every name, shape, type and byte, and over what stands beside them."""
    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for key, value in sorted(tensors.items()):
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _write(path: Path, content: Content, checked: bool = True) -> None:
    try:
        write_whole(path, content, flush_to_disk=True, checked=checked)
    except FileExistsError as error:
        raise UserError(f"{path}: {reason(error)}; rename it, then run the same command again") from None
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as RuntimeError
        why = reason(error)
        if "inline_container" in why:  # torch's writer forgets what the system said
            why = "the disk is full, or fails"
        raise UserError(
            f"{path}: cannot be written ({why}); free some space, then run the same command again"
        ) from None
