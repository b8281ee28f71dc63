"""Checkpoints: written whole or not at all, read without executing code."""

import errno
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from cut.errors import UserError, reason, shown
from cut.storage.files import Content, open_regular, why_unreadable, write_whole
from cut.storage.replacing import remove_if_free
from cut.storage.torch_file import TorchFileError, read_torch_file
from cut.storage.written import record_name, was_written

SCHEMA_VERSION = 1
INFERENCE_FILE = "generator.safetensors"
BEST_FILE = "best.pt"
_OPTIONAL = (dict, type(None))
_PARTS: dict[str, Any] = {"step": int, "config": dict, "method": dict, "ema": _OPTIONAL, "optimizers": dict}
_PARTS |= {"precision": _OPTIONAL, "random": dict, "log": dict}
_MOST_STEPS = 10**12  # as the config's whole numbers
_MOST_HEADER_BYTES = 1 << 24  # of an inference file: its config, and 100 bytes for each tensor


def save_checkpoint(folder: Path, step: int, state: Mapping[str, Any], keep: int) -> Path:
    """Writes `folder/step_<step>.pt` and deletes all but the newest `keep` of the checkpoints that this program wrote.

    Another file of that name becomes `step_<step>.kept.pt`; a damaged one of ours is replaced.

    Raises:
        UserError: the file cannot be written, for instance on a full disk; older checkpoints stay.
    """
    path = folder / f"step_{step:08d}.pt"
    content = {"schema_version": SCHEMA_VERSION, "step": step, **state}

    def write(file: IO[bytes]) -> None:
        _keep_foreign(path)
        record_name(path)
        torch.save(content, file.name)

    _write(path, write, checked=False)
    earlier = [old for old in list_checkpoints(folder) if old.name < path.name and was_written(old)]
    for old in earlier[: len(earlier) - keep + 1]:
        remove_if_free(old)
    return path


def _keep_foreign(path: Path) -> None:
    kept = path.with_suffix(".kept.pt")
    if os.path.lexists(path) and not was_written(path):
        if os.path.lexists(kept):
            raise FileExistsError(errno.EEXIST, f"it is there already, as {kept.name} is, and no training wrote it")
        path.rename(kept)


def write_checkpoint(path: Path, step: int, state: Mapping[str, Any]) -> None:
    """Writes one checkpoint, whole or not at all.

    Args:
        path: File to write.
        step: Generator updates done.
        state: What to keep.

    Raises:
        UserError: the file cannot be written.
    """
    content = {"schema_version": SCHEMA_VERSION, "step": step, **state}
    _write(path, lambda file: torch.save(content, file.name))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU.

    Raises:
        UserError: no such file, damaged, or not one of ours.
    """
    if not path.is_file():
        raise UserError(f"{path}: {why_unreadable(path) if path.exists() else 'no such checkpoint'}")
    try:
        state = read_torch_file(path, archives_only=True)
    except Exception as error:  # noqa: BLE001  a damaged archive raises RuntimeError, EOFError, UnpicklingError, KeyError, ...
        why = str(error) if isinstance(error, TorchFileError) else type(error).__name__
        raise UserError(f"{path}: damaged or not a checkpoint ({why}); use an earlier one") from None
    if not isinstance(state, dict) or not {"schema_version", "method"} <= state.keys():
        raise UserError(f"{path}: not a checkpoint of this program (no schema version)")
    if type(state["schema_version"]) is not int or state["schema_version"] != SCHEMA_VERSION:
        raise UserError(f"{path}: schema version {shown(state['schema_version'])}; this program reads {SCHEMA_VERSION}")
    if wrong := _wrong_part(state):
        raise UserError(f"{path}: not a complete checkpoint of this program ({wrong}); use an earlier one")
    _check_finite({**state["method"], **(state.get("ema") or {})}, path)
    return state


def _wrong_part(state: dict[str, Any]) -> str | None:
    """What is missing or of a foreign kind; what is in the config, optimizers and streams shows when it is taken up."""
    for key, kind in _PARTS.items():
        if not isinstance(state.get(key), kind):
            return f"{key} is {shown(state.get(key))}"
    if not _is_count(state["step"]) or not _is_count(state.get("num_processes", 1)):
        return "step or num_processes is no number of them"
    if not all(isinstance(key, str) for key in (*state["method"], *(state.get("ema") or {}))):
        return "weights without a name"
    sums, steps = state["log"].get("sums", {}), state["log"].get("steps", 0)
    if not (_is_count(steps) and isinstance(sums, dict) and all(_is_sum(*item) for item in sums.items())):
        return "log holds something else than sums of losses"
    return None


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MOST_STEPS


def _is_sum(key: Any, value: Any) -> bool:
    is_number = isinstance(value, Tensor) and value.shape == () and value.is_floating_point()
    return isinstance(key, str) and key.startswith("loss/") and is_number and bool(value.isfinite())


def _check_finite(weights: Mapping[str, Any], path: Path) -> None:
    for key, value in weights.items():  # a method of the user's own may keep other things beside tensors
        if isinstance(value, Tensor) and value.is_floating_point() and not value.isfinite().all():
            raise UserError(f"{path}: {shown(key)} holds numbers that are not finite; use an earlier file")


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
    if path.is_dir():
        raise UserError(f"{path}: is a folder; give a run directory with --run")
    if path.suffix == ".pt":
        state = load_checkpoint(path)
        return {**state["method"], **(state.get("ema") or {})}, state["config"], state["step"]
    if not path.is_file():
        raise UserError(f"{path}: {why_unreadable(path)}")
    try:
        with open_regular(path) as start:
            if int.from_bytes(start.read(8), "little") > _MOST_HEADER_BYTES:
                raise ValueError("header")
            # safetensors opens no path that is not UTF-8, as folders of older systems are.
            place = path if _is_utf_8(path) else Path(f"/dev/fd/{start.fileno()}")
            with safe_open(place, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  not a dict
        digest = metadata.pop("sha256", None)  # which files of earlier versions have not
        if digest is not None and digest != _digest(tensors, metadata):
            raise ValueError("checksum")
        config = json.loads(metadata["config"])
        if metadata["schema_version"] != str(SCHEMA_VERSION) or not isinstance(config, dict):
            raise ValueError("schema version")
        step = int(metadata["step"])
    except Exception as error:  # noqa: BLE001  SafetensorError, OSError, KeyError, RecursionError, RuntimeError, ...
        hint = "; the authors' generators go with --import" if path.suffix == ".pth" else ""
        why = f"damaged or not an inference file of this program ({type(error).__name__})"
        raise UserError(f"{path}: {why}{hint}") from None
    _check_finite(tensors, path)
    return tensors, config, step


def _is_utf_8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


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
        how = "" if isinstance(error, PermissionError) else "free some space, then "
        raise UserError(f"{path}: cannot be written ({why}); {how}run the same command again") from None
