"""Weight initialisation by name, for whole networks."""

import torch
from torch import nn

from cut.models.blocks import AffineInstanceNorm

INITIALISATIONS = ("normal", "xavier", "kaiming", "orthogonal")


def initialise(network: nn.Module, name: str = "xavier", gain: float = 0.02) -> nn.Module:
    """Draws all convolution and linear weights anew from torch's global generator; biases become 0.

    Args:
        network: changed in place, and returned.
        name: `normal` (standard deviation `gain`), `xavier` (Glorot & Bengio 2010, normal), `kaiming` (He et al. 2015,
            normal, fan in; no gain) or `orthogonal` (Saxe et al. 2014).
        gain: CUT uses xavier with 0.02, CycleGAN and pix2pix normal with 0.02. The weights of
            batch norm and of affine instance norm are drawn from N(1, gain).

    Raises:
        ValueError: another name.
    """
    draw = {
        "normal": lambda weight: nn.init.normal_(weight, 0.0, gain),
        "xavier": lambda weight: nn.init.xavier_normal_(weight, gain),
        "kaiming": lambda weight: nn.init.kaiming_normal_(weight, a=0, mode="fan_in"),
        "orthogonal": lambda weight: nn.init.orthogonal_(weight, gain),
    }
    if name not in draw:
        raise ValueError(f"no initialisation {name!r}; known: {', '.join(INITIALISATIONS)}")
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            draw[name](module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d | AffineInstanceNorm):
            nn.init.normal_(module.weight, 1.0, gain)
            nn.init.zeros_(module.bias)
    return network


def scale_last_convolution(network: nn.Module, factor: float) -> nn.Module:
    """Multiplies the weight of the last convolution of a network, which is changed in place and returned."""
    if factor != 1.0:
        *_, last = (module for module in network.modules() if isinstance(module, nn.Conv2d))
        with torch.no_grad():
            last.weight.mul_(factor)
    return network
