"""WCT2's networks: VGG-19 up to conv4_1 with Haar wavelets in place of max pooling, and a decoder that undoes it (Yoo,
Uh, Chun, Kang, Ha, ICCV 2019, arXiv:1903.09760, section 3.1).

Convolutions pad by reflection. Names of layers are those of the authors' public files, and so of Caffe's VGG-19.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cut.models.vgg import TORCHVISION, Preparation, at_caffes_scale, he_uniform

# LL, LH, HL, HH; L low, H high frequencies, along height and width.
_HAAR = (((1, 1), (1, 1)), ((-1, 1), (-1, 1)), ((-1, -1), (1, 1)), ((1, -1), (-1, 1)))
_ENCODER_LAYERS = ("1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3", "3_4", "4_1")
# What each level of the encoder does, by the way in which the decoder joins the parts of a wavelet pool.
ENCODER_LEVELS = {
    "sum": (("0", "1_1", "1_2", "pool1"), ("2_1", "2_2", "pool2"), ("3_1", "3_2", "3_3", "3_4", "pool3"), ("4_1",)),
    "cat5": (("0", "1_1"), ("1_2", "pool1", "2_1"), ("2_2", "pool2", "3_1"), ("3_2", "3_3", "3_4", "pool3", "4_1")),
}
DECODER_LEVELS = (("1_1",), ("2_1", "1_2"), ("3_1", "2_2"), ("4_1", "3_4", "3_3", "3_2"))
_BEHIND_UNPOOL = {"1_2": 1, "2_2": 2, "3_4": 3}  # decoder's layers, and the pool that is undone before them
NUM_LEVELS = 4
STRIDE = 8  # of the deepest features; sides must be multiples of it
_CONSTANT = ("pool", "recon_block")  # beginnings of the wavelets' keys in public files


class Details(NamedTuple):
    """What a pool keeps for the decoder: the parts LH, HL, HH, and the map before it."""

    parts: tuple[Tensor, ...]
    before: Tensor


def haar(image: Tensor) -> tuple[Tensor, ...]:
    """LL, LH, HL, HH: `(N, C, H, W)` -> `(N, C, H / 2, W / 2)` each."""
    blocks = image.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))  # (N, C, H/2, 2, W/2, 2)
    return tuple(torch.einsum("nchiwj,ij->nchw", blocks, kernel) for kernel in _kernels(image))


def spread(parts: Sequence[Tensor]) -> list[Tensor]:
    """LL, LH, HL, HH enlarged by their kernels; their sum is the inverse of `haar`."""
    kernels = _kernels(parts[0])
    return [
        torch.einsum("nchw,ij->nchiwj", part, kernel).flatten(4, 5).flatten(2, 3)
        for part, kernel in zip(parts, kernels, strict=True)
    ]


def _kernels(like: Tensor) -> list[Tensor]:
    return [torch.tensor(kernel).to(like) / 2 for kernel in _HAAR]


class WaveletEncoder(nn.Module):
    """Features of four levels.

    Args:
        unpooling: `sum` or `cat5`, which decides where a level ends.
        base_channels: Channels of the first block; 64 in VGG-19.
    """

    stride = STRIDE
    min_size_px = 2 * STRIDE  # reflection needs two pixels

    def __init__(self, unpooling: str, base_channels: int = 64):
        super().__init__()
        self.levels = ENCODER_LEVELS[unpooling]
        self.conv0 = nn.Conv2d(3, 3, 1)
        width = 3
        for layer in _ENCODER_LAYERS:
            setattr(self, f"conv{layer}", nn.Conv2d(width, _width(layer, base_channels), 3))
            width = _width(layer, base_channels)

    def encode(self, x: Tensor, level: int, details: dict[int, Details]) -> Tensor:
        """One level, from 1, whose pool adds its details under its number."""
        for layer in self.levels[level - 1]:
            if layer == "0":
                x = self.conv0(x)
            elif layer.startswith("pool"):
                low, *parts = haar(x)
                details[int(layer[-1])] = Details(tuple(parts), x)
                x = low
            else:
                x = F.relu(_convolve(self, layer, x))
        return x

    def forward(self, image: Tensor) -> tuple[list[Tensor], dict[int, Details]]:
        """`(N, 3, H, W)` in [0, 1] -> the features behind each level, and the details of the pools by their number."""
        features: list[Tensor] = []
        details: dict[int, Details] = {}
        for level in range(1, NUM_LEVELS + 1):
            features.append(self.encode(features[-1] if features else image, level, details))
        return features, details

    def set_preparation(self, preparation: Preparation) -> None:
        """Makes conv0 what brings a picture to the numbers that VGG wants."""
        assert self.conv0.bias is not None, "conv0 has a bias"
        with torch.no_grad():
            black, *channels = preparation.prepare(torch.cat([torch.zeros(1, 3), torch.eye(3)])[:, :, None, None])
            self.conv0.bias.copy_(black.flatten())
            self.conv0.weight.copy_(torch.stack([channel - black for channel in channels], dim=1).view(3, 3, 1, 1))


class WaveletDecoder(nn.Module):
    """From features of the fourth level, and the details of the pools, to a picture.

    Args:
        unpooling: `sum` adds the four enlarged parts of each pool; `cat5` concatenates them with the map before it.
        base_channels: As of the encoder.
    """

    def __init__(self, unpooling: str, base_channels: int = 64):
        super().__init__()
        self.unpooling = unpooling
        for layer in (layer for level in reversed(DECODER_LEVELS) for layer in level):
            factor = 5 if unpooling == "cat5" and layer in _BEHIND_UNPOOL else 1
            width, out = factor * _width(layer, base_channels), _width_before(layer, base_channels)
            setattr(self, f"conv{layer}{self._ending(layer)}", nn.Conv2d(width, out, 3))

    def decode(self, x: Tensor, level: int, details: Mapping[int, Details]) -> Tensor:
        """One level, from 4 down to 1."""
        for layer in DECODER_LEVELS[level - 1]:
            if layer in _BEHIND_UNPOOL:
                pooled = details[_BEHIND_UNPOOL[layer]]
                enlarged = spread((x, *pooled.parts))
                concatenated = self.unpooling == "cat5"
                x = torch.cat([*enlarged, pooled.before], dim=1) if concatenated else torch.stack(enlarged).sum(0)
            x = _convolve(self, layer + self._ending(layer), x)
            x = x if layer == "1_1" else F.relu(x)
        return x

    def forward(self, features: Tensor, details: Mapping[int, Details]) -> Tensor:
        """`(N, C, H / 8, W / 8)` -> `(N, 3, H, W)`, about [0, 1]."""
        for level in range(NUM_LEVELS, 0, -1):
            features = self.decode(features, level, details)
        return features

    def _ending(self, layer: str) -> str:
        """The authors' files call the layers with five times the inputs otherwise."""
        return "_2" if self.unpooling == "cat5" and layer in _BEHIND_UNPOOL else ""


def new_networks(unpooling: str, base_channels: int) -> tuple[WaveletEncoder, WaveletDecoder]:
    """Encoder and decoder with random weights, always the same."""
    encoder, decoder = WaveletEncoder(unpooling, base_channels), WaveletDecoder(unpooling, base_channels)
    he_uniform(encoder)
    he_uniform(decoder, seed=1)
    return encoder, decoder


def load_encoder(encoder: WaveletEncoder, weights: Mapping[str, Tensor] | None) -> None:
    """Takes over the encoder's own weights, or VGG-19's; without any, it sees pictures as torchvision's networks do.

    Raises:
        ValueError: They are weights of something else.
    """
    if weights is None:
        encoder.set_preparation(TORCHVISION)
    elif "conv0.weight" in weights:
        load_convolutions(encoder, weights, "vgg")
    else:
        named, preparation = at_caffes_scale(weights)
        own = {key: named[key] for key in encoder.state_dict() if not key.startswith("conv0")}
        encoder.load_state_dict(own, strict=False)
        encoder.set_preparation(preparation)


def load_convolutions(network: nn.Module, weights: Mapping[str, Tensor], what: str) -> None:
    """Loads all but the wavelets, which are constants.

    Raises:
        ValueError: A tensor is missing, too many, or of another shape.
    """
    try:
        network.load_state_dict({key: value for key, value in weights.items() if not key.startswith(_CONSTANT)})
    except RuntimeError as error:
        last = str(error).strip().splitlines()[-1].strip()
        raise ValueError(
            f"{what}: the weights do not fit ({last}); are unpooling and base_channels those that they have?"
        ) from None


def _convolve(network: nn.Module, layer: str, x: Tensor) -> Tensor:
    return getattr(network, f"conv{layer}")(F.pad(x, (1, 1, 1, 1), mode="reflect"))


def _width(layer: str, base_channels: int) -> int:
    """Channels of the encoder's layer, and so inputs of the decoder's."""
    return base_channels * 2 ** (int(layer[0]) - 1)


def _width_before(layer: str, base_channels: int) -> int:
    """Channels that the encoder's layer takes, and so outputs of the decoder's."""
    if layer == "1_1":
        return 3
    return _width(layer, base_channels) // (2 if layer.endswith("_1") else 1)
