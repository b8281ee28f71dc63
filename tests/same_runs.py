"""Compares all that two runs have left."""

import json
from pathlib import Path
from typing import Any

import torch

from cut.storage.checkpoint import list_checkpoints, load_checkpoint


def assert_same_end(one: Path, other: Path, logs: bool = True) -> None:
    """The newest checkpoints are equal to the last bit, random streams, pools and optimizers included, and so are the
    logs but for the clock, unless `logs` is false.
    """
    newest = [list_checkpoints(run / "checkpoints")[-1] for run in (one, other)]
    assert newest[0].name == newest[1].name
    states = [load_checkpoint(path) for path in newest]
    assert not differing(*({k: v for k, v in state.items() if k != "config"} for state in states))
    assert not logs or _figures(one) == _figures(other)


def differing(one: Any, other: Any, where: str = "") -> list[str]:
    """Where two nests of tensors and plain values differ."""
    if isinstance(one, torch.Tensor):
        same = isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
        return [] if same else [where]
    if type(one) is not type(other) or (isinstance(one, dict | list) and len(one) != len(other)):
        return [where]
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return [where]
        return [place for key in one for place in differing(one[key], other[key], f"{where}.{key}")]
    if isinstance(one, list | tuple):
        pairs = enumerate(zip(one, other, strict=True))
        return [place for index, pair in pairs for place in differing(*pair, f"{where}[{index}]")]
    return [] if one == other else [where]


def _figures(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if not k.startswith(("time", "memory"))} for line in lines]
