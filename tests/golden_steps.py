"""Whole steps of methods whose golden files hold the weights: sets them, trains, and compares what comes of them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from cut.build import build_optimizers
from cut.config import AdamConfig
from cut.methods import styled
from cut.methods.base import Method
from cut.runtime.processes import Processes
from cut.train.step import TrainingStep

ADAM = AdamConfig(lr=1e-4, weight_decay=1e-4)
EVERY = 16  # of the final weights every sixteenth is stored


def load_weights(method: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Sets each network to its numbers, which stand one behind the other in the order of its parameters."""
    for name, numbers in weights.items():
        network = method.get_submodule(name)
        assert numbers.numel() == sum(p.numel() for p in network.parameters()), name
        nn.utils.vector_to_parameters(numbers.to(torch.get_default_dtype()), network.parameters())


def assert_final_weights(method: nn.Module, final: Mapping[str, Tensor]) -> None:
    """The stored ones are rounded to float32."""
    for name, expected in final.items():
        ours = nn.utils.parameters_to_vector(method.get_submodule(name).parameters()).detach()[::EVERY]
        assert (ours - expected).abs().max() < 1e-6, name


def sketch(tensors: Iterable[Tensor]) -> Tensor:
    """Of each tensor its norm and its product with cos(0), cos(1), ...: `(tensors, 2)`."""
    return torch.stack([torch.stack([t.norm(), t.flatten() @ torch.arange(t.numel()).to(t).cos()]) for t in tensors])


def assert_sketches(method: nn.Module, expected: Mapping[str, Any], names: Mapping[str, str]) -> None:
    """The final weights, whose sketches stand one network behind the other.

    Args:
        method: Method after the steps.
        expected: What is stored: `final`, and of `networks` the number of tensors by the authors' names.
        names: Our names of the networks by theirs.
    """
    finals = expected["final"].split(list(expected["networks"].values()))
    for theirs, final in zip(expected["networks"], finals, strict=True):
        ours = sketch(method.get_submodule(names[theirs]).parameters()).detach()
        torch.testing.assert_close(ours, final, rtol=1e-6, atol=1e-6)


def training_step_of(method: Method, adam: AdamConfig = ADAM) -> TrainingStep:
    """The trainer's step on the CPU, with the authors' Adam for each player."""
    fabric = Fabric(accelerator="cpu", devices=1)
    rates = {name: adam.of(p.name).of(name).lr for p in method.players() for name in (p.name, *p.parts)}
    return TrainingStep(method, build_optimizers(method, adam, fabric), rates, fabric, Processes(fabric))


def draw_from(monkeypatch, draws: list[Tensor]) -> Callable[[], None]:
    """Lets methods draw these numbers, one after the other; the result checks that none is left over."""
    left = list(draws)
    monkeypatch.setattr(styled, "draw_rows", lambda draw, rows: _of_shape(left.pop(0), draw(rows).shape))

    def check():
        assert not left

    return check


def _of_shape(numbers: Tensor, shape: torch.Size) -> Tensor:
    assert numbers.shape == shape, f"stored are {tuple(numbers.shape)}, drawn are {tuple(shape)}"
    return numbers
