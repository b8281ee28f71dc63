"""Networks of the user's own, in TorchScript."""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cut.errors import UserError
from cut.storage.files import why_unreadable


def load_network(path: Path) -> nn.Module:
    """Reads a file that torch.jit.save wrote, for inference on the CPU.

    Raises:
        UserError: the file is missing or broken.
    """
    if not path.is_file():
        raise UserError(f"{path}: {why_unreadable(path)}; it should hold a network written with torch.jit.save")
    with warnings.catch_warnings():
        # TorchScript is frozen, but loads on: https://pytorch.org/blog/pytorch-2-11-release-blog/
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.load` is")
        try:
            return torch.jit.load(str(path), map_location="cpu").eval()
        except Exception as error:  # noqa: BLE001  RuntimeError, ValueError, UnicodeDecodeError, ...
            raise UserError(
                f"{path}: cannot be read as TorchScript ({first_line(error)}); write it with torch.jit.save"
            ) from None


def run_network(network: nn.Module, path: Path, images: Tensor) -> Any:
    """What the network gives for `(N, 3, H, W)` in [0, 1].

    Raises:
        UserError: the network fails.
    """
    try:
        return network(images)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # noqa: BLE001  the network may raise anything
        reason = str(error).strip().splitlines()[-1:]  # above it stands TorchScript's own traceback
        raise UserError(f"{path}: fails on images of {shape_text(images)} in [0, 1]: {' '.join(reason)}") from None


def shape_text(images: Tensor) -> str:
    """`4x3x256x256`."""
    return "x".join(map(str, images.shape))


def first_line(error: Exception) -> str:
    """The first line of an error's text, or its type where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
