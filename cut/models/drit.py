"""The networks of DRIT and DRIT++ (Lee et al., ECCV 2018, figure 3; IJCV 2020).

Content encoders and decoders are a part for each domain and a part that both share. An attribute is injected into a
decoder in one of two ways: `concat` adds it to the feature maps as constant maps, which suits colours; `feature` adds
what a network makes of it, four times in each of four blocks, which suits shapes.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cut.kernels.cpu import fastest_layout
from cut.kernels.instance_norm import InstanceNorm
from cut.kernels.padding import ReflectionPad
from cut.kernels.winograd import Conv2d
from cut.models.munit import Layers, StyleEncoder, convolution
from cut.models.residual_block import ResidualBlock

_SLOPE = 0.01  # of the leaky ReLU, torch's default


class ContentEncoder(nn.Module):
    """`(N, C, H, W)` in [-1, 1] and its domain -> content `(N, 4 * base_channels, H / 4, W / 4)`, sizes rounded up.

    Args:
        channels: Number of channels of each domain's images.
        base_channels: Width at full resolution.
    """

    stride = 4
    min_size_px = 8  # below it the reflected borders are wider than the feature maps

    def __init__(self, channels: Mapping[str, int], base_channels: int = 64):
        super().__init__()
        self.domains = nn.ModuleDict({domain: self._layers(channels[domain], base_channels) for domain in "ab"})
        self.shared = ResidualBlock(base_channels * 4, "instance")

    @staticmethod
    def _layers(in_channels: int, width: int) -> "Layers":
        layers: list[nn.Module] = [ReflectionPad(3), Conv2d(in_channels, width, 7), nn.LeakyReLU(_SLOPE, inplace=True)]
        for _ in range(2):
            layers += convolution(width, width * 2, 3, stride=2, norm=True)
            width *= 2
        return Layers(*layers, *(ResidualBlock(width, "instance") for _ in range(3)))

    def forward(self, image: Tensor, domain: str) -> Tensor:
        return self.shared(self.domains[domain](fastest_layout(image)))


class GaussianAttributeEncoder(nn.Module):
    """`(N, in_channels, H, W)` in [-1, 1] -> mean and logarithm of the variance of its attribute, `(N, attribute_dim)`.

    A strided convolution, three residual blocks that halve the size, and the mean over all places.
    """

    stride = 4
    min_size_px = 16

    def __init__(self, in_channels: int = 3, base_channels: int = 64, attribute_dim: int = 8):
        super().__init__()
        layers: list[nn.Module] = [ReflectionPad(1), Conv2d(in_channels, base_channels, 4, stride=2)]
        layers += [_HalvingBlock(base_channels * factor, base_channels * (factor + 1)) for factor in (1, 2, 3)]
        self.layers = Layers(*layers)
        self.mean = nn.Linear(base_channels * 4, attribute_dim)
        self.log_variance = nn.Linear(base_channels * 4, attribute_dim)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features = F.leaky_relu(self.layers(fastest_layout(image)), 0.2).mean((2, 3))
        return self.mean(features), self.log_variance(features)


class PlainAttributeEncoder(nn.Module):
    """`(N, in_channels, H, W)` in [-1, 1] -> its attribute `(N, attribute_dim)`, and None for a variance."""

    stride = 4
    min_size_px = 16

    def __init__(self, in_channels: int = 3, base_channels: int = 64, attribute_dim: int = 8):
        super().__init__()
        self.encoder = StyleEncoder(in_channels, base_channels, attribute_dim)

    def forward(self, image: Tensor) -> tuple[Tensor, None]:
        return self.encoder(image), None


class _HalvingBlock(nn.Module):
    """conv(lrelu(conv(lrelu(x)))), halved by averaging, plus a 1x1 convolution of x halved likewise."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        layers: list[nn.Module] = [nn.LeakyReLU(0.2), ReflectionPad(1), Conv2d(in_channels, in_channels, 3)]
        layers += [nn.LeakyReLU(0.2, inplace=True), ReflectionPad(1), Conv2d(in_channels, out_channels, 3)]
        self.layers = Layers(*layers, nn.AvgPool2d(2))
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), Conv2d(in_channels, out_channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) + self.shortcut(x)


class ConcatDecoder(nn.Module):
    """Content, attribute `(N, attribute_dim)` and the domain -> `(N, C, 4H, 4W)` in [-1, 1].

    Behind a shared residual block the attribute is concatenated to the content, and to the feature maps before each of
    the upsamplings and before the last layer.

    Args:
        channels: Number of channels of each domain's images.
        base_channels: Width at full resolution; the content has four times as many.
        attribute_dim: Numbers per attribute.
    """

    stride = 4
    min_size_px = 8

    def __init__(self, channels: Mapping[str, int], base_channels: int = 64, attribute_dim: int = 8):
        super().__init__()
        self.shared = ResidualBlock(base_channels * 4, "instance")
        self.domains = nn.ModuleDict(
            {domain: _ConcatDecoder(channels[domain], base_channels * 4, attribute_dim) for domain in "ab"}
        )

    def forward(self, content: Tensor, attribute: Tensor, domain: str) -> Tensor:
        return self.domains[domain](self.shared(content), attribute)


class _ConcatDecoder(nn.Module):
    """What is not shared of `ConcatDecoder`."""

    def __init__(self, out_channels: int, width: int, attribute_dim: int):
        super().__init__()
        width += attribute_dim
        stages = [Layers(*(ResidualBlock(width, "instance") for _ in range(3)))]
        for _ in range(2):
            width += attribute_dim
            stages.append(Layers(*_doubling(width, width // 2)))
            width //= 2
        stages.append(Layers(nn.ConvTranspose2d(width + attribute_dim, out_channels, 1), nn.Tanh()))
        self.stages = nn.ModuleList(stages)

    def forward(self, content: Tensor, attribute: Tensor) -> Tensor:
        x = content
        for stage in self.stages:
            x = stage(with_constant_maps(x, attribute))
        return x


class FeatureDecoder(nn.Module):
    """As `ConcatDecoder`, but a network makes a vector of the attribute for each of four blocks; nothing is shared."""

    stride = 4
    min_size_px = 8

    def __init__(self, channels: Mapping[str, int], base_channels: int = 64, attribute_dim: int = 8):
        super().__init__()
        self.domains = nn.ModuleDict(
            {domain: _FeatureDecoder(channels[domain], base_channels * 4, attribute_dim) for domain in "ab"}
        )

    def forward(self, content: Tensor, attribute: Tensor, domain: str) -> Tensor:
        return self.domains[domain](content, attribute)


class _FeatureDecoder(nn.Module):
    """`FeatureDecoder` of one domain."""

    def __init__(self, out_channels: int, width: int, attribute_dim: int):
        super().__init__()
        layers: list[nn.Module] = [nn.Linear(attribute_dim, width), nn.ReLU(inplace=True)]
        layers += [nn.Linear(width, width), nn.ReLU(inplace=True), nn.Linear(width, width * 4)]
        self.mlp = nn.Sequential(*layers)
        self.blocks = nn.ModuleList(_FeatureBlock(width) for _ in range(4))
        layers = [*_doubling(width, width // 2), *_doubling(width // 2, width // 4)]
        self.layers = Layers(*layers, nn.ConvTranspose2d(width // 4, out_channels, 1), nn.Tanh())

    def forward(self, content: Tensor, attribute: Tensor) -> Tensor:
        x = content
        for block, vector in zip(self.blocks, self.mlp(attribute).chunk(len(self.blocks), 1), strict=True):
            x = block(x, vector)
        return self.layers(x)


class _FeatureBlock(nn.Module):
    """x + mix(norm(conv(mix(norm(conv(x)))))), where `mix` sees the block's vector beside its feature maps."""

    def __init__(self, channels: int):
        super().__init__()
        self.convolutions = nn.ModuleList(
            Layers(ReflectionPad(1), Conv2d(channels, channels, 3), InstanceNorm(channels)) for _ in range(2)
        )
        self.mixes = nn.ModuleList(
            nn.Sequential(
                Conv2d(channels * 2, channels * 2, 1),
                nn.ReLU(inplace=True),
                Conv2d(channels * 2, channels, 1),
                nn.ReLU(inplace=True),
            )
            for _ in range(2)
        )

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        y = x
        for convolve, mix in zip(self.convolutions, self.mixes, strict=True):
            y = mix(with_constant_maps(convolve(y), vector))
        return x + y


class ContentDiscriminator(nn.Module):
    """Content `(N, channels, H, W)` -> scores `(N, 1, H', W')`: which of the domains it comes from.

    Strided 7x7 convolutions, one of 4x4 without border, a last one of 1x1. No norms, whatever the paper draws: in the
    authors' code they never take effect.

    Args:
        channels: Number of channels of the content, and of all layers.
        num_layers: Number of strided convolutions; each more than doubles the smallest content.
    """

    def __init__(self, channels: int = 256, num_layers: int = 3):
        super().__init__()
        # The smallest content is 4 wide, and each strided convolution makes s of 2 s + 3; images are 4 times as wide.
        self.min_size_px = 4 * ((7 << num_layers) - 4) + 1
        layers: list[nn.Module] = []
        for _ in range(num_layers):
            layers += [ReflectionPad(1), Conv2d(channels, channels, 7, stride=2), nn.LeakyReLU(_SLOPE, inplace=True)]
        layers += [Conv2d(channels, channels, 4), nn.LeakyReLU(_SLOPE, inplace=True), Conv2d(channels, 1, 1)]
        self.layers = Layers(*layers)

    def forward(self, content: Tensor) -> Tensor:
        return self.layers(content)


def with_constant_maps(x: Tensor, vector: Tensor) -> Tensor:
    """`(N, C, H, W)` and `(N, V)` -> `(N, C + V, H, W)`."""
    return torch.cat([x, vector[:, :, None, None].expand(-1, -1, *x.shape[2:])], 1)


def _doubling(in_channels: int, out_channels: int) -> list[nn.Module]:
    """The layers that double the size; the norm is torch's layer norm over each whole image, scaled per channel."""
    transposed = nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1)
    return [transposed, nn.GroupNorm(1, out_channels), nn.ReLU(inplace=True)]
