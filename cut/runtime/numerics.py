"""How this process computes: repeatably or as fast as it can."""

import os

import torch

from cut.config import TrainConfig


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
