"""Weights and images from formulas, the same in any implementation: golden outputs need no stored weights."""

import math
import zlib
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn


def fill_by_formula(network: nn.Module) -> nn.Module:
    """Sets parameter number i, in the order of `parameters()`, to a sine of its own frequency."""
    with torch.no_grad():
        for index, parameter in enumerate(network.parameters()):
            parameter.copy_(wave(parameter.shape, index))
    return network


def wave(shape: tuple[int, ...], index: int) -> Tensor:
    """Float64 of the spread of He et al.'s initialisation, of a frequency that `index` chooses."""
    place = torch.arange(math.prod(shape), dtype=torch.float64)
    spread = (2.0 / max(math.prod(shape[1:]), 1)) ** 0.5
    return (torch.sin(place * (0.37 + 0.11 * index) + index) * spread).view(shape)


def formula_image(count: int, channels: int, size: int) -> Tensor:
    """`(count, channels, size, size)` float32 in [-1, 1]."""
    place = torch.arange(count * channels * size * size, dtype=torch.float64)
    return torch.sin(place * 0.7).mul(torch.cos(place * 0.013)).float().view(count, channels, size, size)


def fill_with_unit_normals(*networks: nn.Module) -> None:
    """For networks whose weights are about 1 and scaled when used: numbers of NumPy's frozen generator.

    Vectors, which are biases and StyleGAN2's weight of noise, get a tenth of them.
    """
    numbers = np.random.RandomState(0)  # whose stream NumPy promises never to change
    for network in networks:
        for parameter in network.parameters():
            factor = 1.0 if parameter.dim() > 1 else 0.1
            with torch.no_grad():
                parameter.copy_(torch.from_numpy(factor * numbers.standard_normal(parameter.shape)))


def frozen_images(count: int, channels: int, size: int) -> Tensor:
    """`(count, channels, size, size)` float32, uniform in [-1, 1], of NumPy's frozen generator."""
    return torch.from_numpy(np.random.RandomState(1).uniform(-1, 1, (count, channels, size, size))).float()


def fill_by_key(network: nn.Module, offset: float, key_of: Callable[[str], str] = str) -> nn.Module:
    """Sets each weight from its key and place alone, as the golden numbers of Gatys, STROTSS and WCT2 have them.

    Args:
        network: Changed in place, and returned.
        offset: Added to the angle of the sine.
        key_of: What the authors call a tensor that is called so here.
    """
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            place = torch.arange(tensor.numel(), dtype=torch.float64)
            sine = torch.sin(12.9898 * place + zlib.crc32(key_of(name).encode()) % 1000 + offset) * 43758.5453
            spread = (6.0 / tensor[0].numel()) ** 0.5 if tensor.dim() > 1 else 0.05
            tensor.copy_(((2.0 * (sine - sine.floor()) - 1.0) * spread).view(tensor.shape))
    return network
