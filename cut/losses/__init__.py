"""Losses: tensors in, scalar out, no state. All compute in float32, also under autocast, or in float64."""

import torch
from torch import Tensor


def full_precision(tensor: Tensor) -> Tensor:
    """At least float32."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
