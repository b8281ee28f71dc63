"""Weights and images from formulas, the same in any implementation: golden outputs need no stored weights."""

import torch
from torch import Tensor, nn


def fill_by_formula(network: nn.Module) -> nn.Module:
    """Sets parameter number i, in the order of `parameters()`, to a sine of its own frequency."""
    with torch.no_grad():
        for index, parameter in enumerate(network.parameters()):
            place = torch.arange(parameter.numel(), dtype=torch.float64)
            wave = torch.sin(place * (0.37 + 0.11 * index) + index) * (2.0 / max(parameter[0].numel(), 1)) ** 0.5
            parameter.copy_(wave.view_as(parameter))
    return network


def formula_image(count: int, channels: int, size: int) -> Tensor:
    """`(count, channels, size, size)` float32 in [-1, 1]."""
    place = torch.arange(count * channels * size * size, dtype=torch.float64)
    return torch.sin(place * 0.7).mul(torch.cos(place * 0.013)).float().view(count, channels, size, size)
