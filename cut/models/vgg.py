"""The convolutions of VGG-16 and VGG-19 as features (Simonyan & Zisserman, ICLR 2015, table 1, configurations D and E).

Layers are called as Caffe calls them, `conv4_2` the second convolution of the fourth block; features are taken behind
their ReLU. torchvision numbers the same layers: `features.21` is conv4_2 of VGG-19.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_CONVOLUTIONS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}  # per block
_WIDTHS = (64, 128, 256, 512, 512)
_TORCHVISION_STD = (0.229, 0.224, 0.225)
_TORCHVISION_SCALE = 255.0 * sum(_TORCHVISION_STD) / 3
_POOLING: dict[str, Callable[..., Tensor]] = {"max": F.max_pool2d, "average": F.avg_pool2d}

Network = TypeVar("Network", bound=nn.Module)


class Preparation(NamedTuple):
    """Between pictures in RGB, [0, 1], and what a network wants to see.

    Args:
        mean: Of red, green and blue, subtracted first.
        scale: Factor of each then.
        is_bgr: Whether the network wants blue first.
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    is_bgr: bool = False

    def prepare(self, picture: Tensor) -> Tensor:
        """`(N, 3, H, W)` in [0, 1] -> what the network sees."""
        seen = (picture - _channels(self.mean, picture)) * _channels(self.scale, picture)
        return seen.flip(1) if self.is_bgr else seen

    def restore(self, seen: Tensor) -> Tensor:
        """The inverse of `prepare`, clipped to [0, 1]."""
        picture = seen.flip(1) if self.is_bgr else seen
        return (picture / _channels(self.scale, seen) + _channels(self.mean, seen)).clamp(0.0, 1.0)


def _channels(values: tuple[float, ...], like: Tensor) -> Tensor:
    return torch.tensor(values).to(like).view(1, 3, 1, 1)


CAFFE = Preparation((0.48501961, 0.45795686, 0.40760392), (255.0,) * 3, is_bgr=True)
TORCHVISION = Preparation((0.485, 0.456, 0.406), tuple(1.0 / std for std in _TORCHVISION_STD))


def layer_names(depth: int) -> list[str]:
    """Names of all convolutions, in their order."""
    blocks = enumerate(_CONVOLUTIONS[depth], start=1)
    return [f"conv{block}_{place}" for block, count in blocks for place in range(1, count + 1)]


def width_of(layer: str) -> int:
    """Channels of a layer's features."""
    return _WIDTHS[int(layer[4]) - 1]


def torchvision_numbers(depth: int) -> dict[str, int]:
    """Number N of `features.N` in torchvision's network by the layer's name; ReLU and pooling have numbers too."""
    return {name: 2 * place + int(name[4]) - 1 for place, name in enumerate(layer_names(depth))}


def by_layer_name(tensors: Mapping[str, Tensor], depth: int) -> tuple[dict[str, Tensor], bool]:
    """Weights under the layers' names, and whether they came under torchvision's; what is no convolution is left out.

    Raises:
        ValueError: A convolution is missing, or has another shape.
    """
    is_torchvision = any(key.startswith("features.") for key in tensors)
    numbers = torchvision_numbers(depth)
    found, width = {}, 3
    for layer in layer_names(depth):
        theirs = f"features.{numbers[layer]}" if is_torchvision else layer
        for leaf, shape in (("weight", (width_of(layer), width, 3, 3)), ("bias", (width_of(layer),))):
            tensor = tensors.get(f"{theirs}.{leaf}")
            if tensor is None or tuple(tensor.shape) != shape:
                held = "is missing" if tensor is None else f"has the shape {tuple(tensor.shape)}, not {shape}"
                raise ValueError(f"no weights of VGG-{depth}: {theirs}.{leaf} {held}")
            found[f"{layer}.{leaf}"] = tensor
        width = width_of(layer)
    return found, is_torchvision


def at_caffes_scale(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Preparation]:
    """Weights of VGG-19 under the layers' names, for pictures whose units are 1/255, and how to prepare those.

    torchvision's network sees numbers about 58 times smaller. Its biases are multiplied by that: a network of
    convolutions, ReLU and pooling then gives the same features 58 times as large.

    Raises:
        ValueError: See `by_layer_name`.
    """
    named, is_torchvision = by_layer_name(tensors, 19)
    if not is_torchvision:
        return named, CAFFE
    named = {key: t * _TORCHVISION_SCALE if key.endswith(".bias") else t for key, t in named.items()}
    return named, Preparation(TORCHVISION.mean, tuple(_TORCHVISION_SCALE * s for s in TORCHVISION.scale))


def he_uniform(network: Network, seed: int = 0) -> Network:
    """Draws the weights of all convolutions anew (He et al., ICCV 2015, uniform, fan in); biases become 0.

    Args:
        network: Changed in place, and returned.
        seed: Of a random stream of its own.
    """
    stream = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            bound = math.sqrt(6.0 / module.weight[0].numel())
            with torch.no_grad():
                module.weight.copy_(torch.empty(module.weight.shape).uniform_(-bound, bound, generator=stream))
                assert module.bias is not None, "VGG's convolutions have biases"
                module.bias.zero_()
    return network


class VGG(nn.Module):
    """Features behind the ReLU of chosen layers. Convolutions pad with zeros.

    A pool that no longer fits, because a side has one pixel, is left out.

    Args:
        depth: 16 or 19.
        layers: Layers whose features are wanted; what lies behind the last of them is not built.
        pooling: `max`, as the networks were trained, or `average` (Gatys et al., CVPR 2016, section 2).
        base_channels: Channels of the first block; 64 in the paper.
    """

    def __init__(self, depth: int, layers: Sequence[str], pooling: str = "max", base_channels: int = 64):
        super().__init__()
        names = layer_names(depth)
        self.layers, self.pooling, width = tuple(layers), pooling, 3
        self.built = names[: max(map(names.index, layers)) + 1]
        for name in self.built:
            out = width_of(name) * base_channels // _WIDTHS[0]
            setattr(self, name, nn.Conv2d(width, out, 3, padding=1))
            width = out

    def forward(self, image: Tensor) -> list[Tensor]:
        """`(N, 3, H, W)`, scaled as the weights want it -> features `(N, C, h, w)` of the layers, in their order."""
        features, x = {}, image
        for name in self.built:
            if re.fullmatch(r"conv[2-5]_1", name) and min(x.shape[2:]) > 1:
                x = _POOLING[self.pooling](x, 2)
            x = F.relu(getattr(self, name)(x))
            features[name] = x
        return [features[name] for name in self.layers]

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes over weights under the layers' names; layers that are not built are left out."""
        own = self.state_dict()
        self.load_state_dict({key: tensor for key, tensor in tensors.items() if key in own})
