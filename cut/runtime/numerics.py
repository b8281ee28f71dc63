"""How this process computes: repeatably, or as fast as it can."""

import os

import torch
from torch import nn

from cut.config import TrainConfig

_ENTRIES = ("forward", "forward_with_features", "encode")  # what methods call of a network


def set_numerics(train: TrainConfig) -> None:
    """Sets torch's switches for the whole process; where they concern NVIDIA GPUs, they do nothing on other devices.

    `deterministic` needs all of four: algorithms of torch's own that repeat bit for bit (one that does not raises an
    error), cuDNN's likewise, no choice of cuDNN's by a race against the clock, and a fixed workspace of cuBLAS, which
    reads the variable when it is first used
    (https://docs.nvidia.com/cuda/cublas/index.html#results-reproducibility).
    """
    torch.use_deterministic_algorithms(train.deterministic)
    torch.backends.cudnn.deterministic = train.deterministic
    torch.backends.cudnn.benchmark = train.autotune and not train.deterministic
    if train.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Not torch.set_float32_matmul_precision, which concerns CPUs too.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = train.tf32


def compile_networks(method: nn.Module, backend: str = "inductor") -> None:
    """Compiles each network when it is first called; where that fails, it runs as it is, and torch's log says so.

    Names of weights stay as they are. Compiled instances cannot be copied.
    """
    torch._dynamo.config.suppress_errors = True
    for network in method.children():
        if any(True for _ in network.parameters()):
            for name in _ENTRIES:
                if hasattr(network, name):
                    setattr(network, name, torch.compile(getattr(network, name), dynamic=False, backend=backend))
