"""Weights that others publish, from torch.hub's folder or a file; nothing is fetched."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from cut.errors import UserError, reason
from cut.storage.checkpoint import INFERENCE_FILE, load_inference_file
from cut.storage.files import why_unreadable
from cut.storage.torch_file import read_torch_file


def hub_file(address: str) -> Path:
    """Where torch.hub keeps the file of an address, which TORCH_HOME moves."""
    return Path(torch.hub.get_dir()) / "checkpoints" / address.rsplit("/", 1)[-1]


def read_public_weights(key: str, given: str | None, addresses: Sequence[str]) -> dict[str, Tensor]:
    """Weights by key, on the CPU.

    Args:
        key: Setting that names the file, for errors.
        given: File, or run directory; None takes the first of `addresses` that is in torch.hub's folder.
        addresses: Where the public files are.

    Raises:
        UserError: No such file, or it holds no weights.
    """
    path = Path(given) if given else next(filter(Path.is_file, map(hub_file, addresses)), hub_file(addresses[0]))
    if path.is_dir():
        path /= INFERENCE_FILE
    from_where = " or ".join(addresses)
    if not path.is_file():
        put = f"put {from_where} there (nothing is downloaded by itself), or set {key} to a file of it, or to random"
        raise UserError(f"{key}: {path}: {why_unreadable(path)}; {put}")
    if path.suffix == ".safetensors":
        return load_inference_file(path)[0]
    try:
        content = read_torch_file(path)
    except Exception as error:  # noqa: BLE001  a damaged file raises many kinds
        raise UserError(f"{key}: {path}: cannot be read ({reason(error)}); replace it by {from_where}") from None
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{key}: {path}: is no file of weights; replace it by {from_where}")
    return {str(name): tensor.float() for name, tensor in content.items()}
