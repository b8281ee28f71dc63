"""Torch's switches, which are there without a GPU too."""

import os

import pytest
import torch

from cut.config import TrainConfig
from cut.runtime.numerics import set_numerics


@pytest.mark.parametrize("tf32", [True, False])
def test_tf32_concerns_convolutions_and_products_of_matrices(switches, tf32):
    set_numerics(TrainConfig(tf32=tf32))
    assert torch.backends.cudnn.allow_tf32 is torch.backends.cuda.matmul.allow_tf32 is tf32


@pytest.mark.parametrize(
    ("settings", "benchmark"),
    [({}, True), ({"autotune": False}, False), ({"deterministic": True}, False)],
)
def test_cudnn_races_its_algorithms_unless_told_otherwise_or_deterministic(switches, settings, benchmark):
    set_numerics(TrainConfig(**settings))
    assert torch.backends.cudnn.benchmark is benchmark
    assert torch.backends.cudnn.deterministic is settings.get("deterministic", False)


def test_deterministic_refuses_what_does_not_repeat_and_fixes_the_workspace_of_cublas(switches):
    places, values = torch.tensor([0, 0]), torch.tensor([1.0, 2.0])
    set_numerics(TrainConfig())
    torch.zeros(1).put_(places, values)  # which of the two stays is left open
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    set_numerics(TrainConfig(deterministic=True))
    with pytest.raises(RuntimeError, match="put_ does not have a deterministic implementation"):
        torch.zeros(1).put_(places, values)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_a_workspace_that_the_user_chose_stays(switches, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    set_numerics(TrainConfig(deterministic=True))
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
