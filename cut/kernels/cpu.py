"""What layers that are fast on a CPU have in common."""

import torch
from torch import Tensor


def fastest_layout(image: Tensor) -> Tensor:
    """What a network should turn its input into: on a CPU channels-last, in which convolutions are up to 1.15 times as
    fast in float32 and two to nine times in bfloat16 (seen with AVX-512 and AMX); elsewhere as it is."""
    return image.contiguous(memory_format=torch.channels_last) if image.device.type == "cpu" else image
