"""UNSB's networks, which know the step of the bridge (Kim et al., ICLR 2024; conditioned as in DDGAN, Xiao et al., ICLR
2022), each in two forms: `conditioned`, the default, and `released`, what the authors' code computes.

Both generators are CUT's ResNet with other residual blocks. The released one has the noise, but neither the time nor
the first convolution of its blocks, because its layers are all applied to the block's input. The released
discriminator adds the time in front of an instance norm, which takes it away again, so only its first layer knows it.
"""

import math
from collections.abc import Sequence
from itertools import accumulate, groupby
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cut.kernels.blur import BlurDownsample
from cut.kernels.cpu import fastest_layout
from cut.kernels.instance_norm import InstanceNorm
from cut.kernels.padding import ReflectionPad
from cut.kernels.recompute import run_layers
from cut.kernels.winograd import Conv2d
from cut.models.initialisation import initialise
from cut.models.residual_block import ResidualBlock
from cut.models.resnet import ResnetGenerator

_SLOPE = 0.2  # of all leaky ReLUs
_LEAST = 1e-8  # mean square of noise that is divided by its root
_LONGEST_PERIOD = 10000.0  # of the sinusoids, in radians per step


class BridgeGenerator(ResnetGenerator):
    """G(x, t, z): `(N, channels, H, W)` in [-1, 1], a step, and noise `(N, noise_channels)` -> an image like the first.

    Args:
        channels: Number of channels of the images.
        base_channels: Channels at full resolution; four times as many in the residual blocks, and of the noise.
        num_blocks: Number of residual blocks.
        noise_layers: Number of layers of the noise's network behind the first.
        is_released: Whether it is the authors' released network, which ignores the step.
        **layers: `norm` (`instance` or `blocks`), `antialias_down` and `antialias_up` of `ResnetGenerator`.
    """

    def __init__(
        self,
        channels: int = 3,
        base_channels: int = 64,
        num_blocks: int = 9,
        noise_layers: int = 3,
        is_released: bool = False,
        **layers: Any,
    ):
        super().__init__(channels, channels, base_channels, num_blocks, **layers)
        width = self.noise_channels = 4 * base_channels
        for place, layer in enumerate(self.layers):
            if isinstance(layer, ResidualBlock):
                self.layers[place] = ReleasedBlock(width) if is_released else BridgeBlock(width)
        noise: list[nn.Module] = [
            layer for _ in range(1 + noise_layers) for layer in (nn.Linear(width, width), nn.LeakyReLU(_SLOPE))
        ]
        self.noise = nn.Sequential(PixelNorm(), *noise)
        self.time = None if is_released else TimeEmbedding(base_channels, width)

    def forward(self, image: Tensor, step: int, noise: Tensor) -> Tensor:  # type: ignore[override]
        return self._run(image, (), len(self.layers), *self._conditions(step, noise))[0]

    def encode(self, image: Tensor, taps: Sequence[int], step: int, noise: Tensor) -> list[Tensor]:  # type: ignore[override]
        """Feature maps at the layers `taps`, numbered as in CUT."""
        stop = max(self._read_point(tap) for tap in taps) + 1
        return self._run(image, taps, stop, *self._conditions(step, noise))[1]

    def _conditions(self, step: int, noise: Tensor) -> list[Tensor]:
        return [self.noise(noise), *([self.time(step)] if self.time is not None else [])]

    def _run_layers(self, layers: nn.Sequential, x: Tensor, *given: Tensor) -> Tensor:
        for are_blocks, part in groupby(layers, lambda layer: isinstance(layer, BridgeBlock | ReleasedBlock)):
            if not are_blocks:
                x = run_layers(part, x)
                continue
            for block in part:
                x = block(x, *given)
        return x


class BridgeBlock(nn.Module):
    """x + norm(conv(relu((1 + scale(z)) norm(conv(x)) + shift(z) + shift(t)))), 3x3, shape kept.

    Args:
        channels: Number of channels of the maps, and numbers of the embedded noise and time.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.first = nn.Sequential(ReflectionPad(1), Conv2d(channels, channels, 3), InstanceNorm(channels))
        self.style, self.shift = nn.Linear(channels, 2 * channels), nn.Linear(channels, channels)
        self.second = nn.Sequential(ReflectionPad(1), Conv2d(channels, channels, 3), InstanceNorm(channels))

    def forward(self, x: Tensor, style: Tensor, time: Tensor) -> Tensor:
        scale, shift = self.style(style)[:, :, None, None].chunk(2, 1)
        shift = shift + self.shift(time)[:, :, None, None]
        y = F.relu(torch.addcmul(shift, run_layers(self.first, x), 1.0 + scale), inplace=True)
        return x + run_layers(self.second, y)


class ReleasedBlock(nn.Module):
    """x + norm(conv(relu(scale(z) norm(x) + shift(z)))), 3x3, shape kept: the authors' block as it is computed."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm, self.style = InstanceNorm(channels), nn.Linear(channels, 2 * channels)
        self.second = nn.Sequential(ReflectionPad(1), Conv2d(channels, channels, 3), InstanceNorm(channels))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        scale, shift = self.style(style)[:, :, None, None].chunk(2, 1)
        y = F.relu(torch.addcmul(shift, self.norm(x), scale), inplace=True)
        return x + run_layers(self.second, y)


class BridgeDiscriminator(nn.Module):
    """A PatchGAN with anti-aliasing that knows the step: `(N, in_channels, H, W)`, a step -> `(N, 1, H', W')` scores.

    Also the critic, of two pairs of images.

    Args:
        in_channels: Number of channels of all images that are judged together.
        base_channels: Channels of the first layer; doubled per layer, eightfold at the most.
        num_layers: Number of downsampling layers.
        is_released: Whether only the first layer knows the step.
    """

    def __init__(self, in_channels: int = 3, base_channels: int = 64, num_layers: int = 3, is_released: bool = False):
        super().__init__()
        embedded = 4 * base_channels
        widths = [base_channels * min(2**depth, 8) for depth in range(num_layers + 1)]
        self.convolutions = nn.ModuleList(
            Conv2d(before, width, 4, padding=1) for before, width in zip([in_channels, *widths], widths, strict=False)
        )
        self.norms = nn.ModuleList([nn.Identity(), *map(InstanceNorm, widths[1:])])
        self.blurs = nn.ModuleList([*map(BlurDownsample, widths[:-1]), nn.Identity()])
        self.shifts = nn.ModuleList(nn.Linear(embedded, width) for width in widths[: 1 if is_released else None])
        self.last = Conv2d(widths[-1], 1, 4, padding=1)
        self.time = TimeEmbedding(embedded, embedded)

    def forward(self, image: Tensor, step: int) -> Tensor:
        x, time = fastest_layout(image), self.time(step)
        for depth, (convolution, norm, blur) in enumerate(zip(self.convolutions, self.norms, self.blurs, strict=True)):
            x = norm(convolution(x))
            if depth < len(self.shifts):
                x = x + self.shifts[depth](time)[:, :, None, None]
            x = blur(F.leaky_relu(x, _SLOPE))
        return self.last(x)


class TimeEmbedding(nn.Module):
    """A step -> `(1, out_channels)`: sinusoids (Vaswani et al., NeurIPS 2017, section 3.5) and two layers."""

    def __init__(self, num_sinusoids: int, out_channels: int):
        super().__init__()
        self.num_sinusoids = num_sinusoids
        first, second = nn.Linear(num_sinusoids, out_channels), nn.Linear(out_channels, out_channels)
        self.layers = nn.Sequential(first, nn.LeakyReLU(_SLOPE), second, nn.LeakyReLU(_SLOPE))

    def forward(self, step: int) -> Tensor:
        weight = next(self.layers.parameters())
        half = self.num_sinusoids // 2
        places = torch.arange(half, dtype=torch.float32, device=weight.device)
        angles = step * torch.exp(places * (-math.log(_LONGEST_PERIOD) / max(half - 1, 1)))
        sinusoids = F.pad(torch.cat([angles.sin(), angles.cos()]), (0, self.num_sinusoids % 2))
        return self.layers(sinusoids.to(weight.dtype)[None])


class PixelNorm(nn.Module):
    """Noise `(N, C)` divided by the root of its mean square (Karras et al., ICLR 2018, section 4.2)."""

    def forward(self, noise: Tensor) -> Tensor:
        # A minimum too, because ONNX's exporter takes an added 1e-8 for nothing, and noise may be zero.
        return noise * (noise.square().mean(1, keepdim=True) + _LEAST).clamp(min=_LEAST).rsqrt()


def initialise_bridge(network: nn.Module, name: str = "xavier", gain: float = 0.02) -> nn.Module:
    """Draws the weights of a generator or discriminator: by default the authors' xavier with gain 0.02, but in the
    networks that embed noise and time He et al.'s, because through 0.02 at each layer nothing of either would arrive.

    Args:
        network: Changed in place, and returned.
        name: Initialisation of the convolutions, see `initialise`.
        gain: Gain of it.
    """
    initialise(network, "xavier", 0.02)
    if (name, gain) != ("xavier", 0.02):
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                initialise(module, name, gain)
    for embedding_name in ("noise", "time"):
        if (embedding := getattr(network, embedding_name, None)) is not None:
            initialise(embedding, "kaiming")
    return network


def bridge_moves(num_timesteps: int, tau: float) -> list[tuple[float, float]]:
    """Share s_k of the way to the guess, and deviation of the noise, of each move but the last, which would end there.

    In float32, as in the authors' code.
    """
    sums = list(accumulate((1.0 / k for k in range(1, num_timesteps)), initial=0.0))
    times = torch.tensor([0.0, *(0.5 + 0.5 * each / sums[-1] for each in sums)], dtype=torch.float32, device="cpu")
    lengths = times[1:] - times[:-1]
    shares = lengths / (1.0 - times[:-1])
    deviations = (lengths * (1.0 - shares) * tau).sqrt()
    return list(zip(shares.tolist(), deviations.tolist(), strict=True))[:-1]
