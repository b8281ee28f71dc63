"""A discriminator of frozen, randomly mixed features (Projected GAN: Sauer et al., NeurIPS 2021, sections 3.1 and 3.2).

    y_i = C_i f_i / s_i                      cross-channel mixing: a frozen random 1x1 convolution C_i
    y_i <- (y_i + up(y_(i+1))) / sqrt(2)     cross-scale mixing, from the deepest scale up
    scores = D_i(S_i y_i)                    S_i a frozen random 3x3 convolution, D_i a trained head

f_i are features of a pretrained network at stride i, s_i a constant that brings them to about unit deviation. What
differs from the paper: three scales of EfficientNet-Lite0 instead of four of Lite1, no residual convolutions in S,
heads of three convolutions without norms, and heads of the picture itself as an option.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cut.kernels.cpu import fastest_layout
from cut.kernels.winograd import Conv2d
from cut.models.efficientnet import WIDTHS, EfficientNetLite, FrozenConv2d
from cut.models.spectral_norm import SpectralConv2d

_COLOUR_PX = 8  # side of the squares whose mean colours a head judges


class ProjectedDiscriminator(nn.Module):
    """Images `(N, in_channels, H, W)` in [-1, 1] -> `(N, S, H', W')` scores of S heads.

    Smaller maps of scores are repeated to the size of the largest, so that each head weighs the same.

    Args:
        in_channels: Number of channels, of all images together.
        features: Frozen network; its strides are those that are judged, the finest first.
        feature_scales: Constants that divide the features, one per stride.
        mixed_channels: Channels of the features after mixing.
        base_channels: Width of the heads.
        picture_heads: Further heads of the picture itself: `colour`, of means of 8x8 pixels, and `pixel`.
        picture_gain: Factor of those heads' scores.
        spectral_norm: Divide the heads' weights by their largest singular values.
        image_channels: Channels of each image where several lie one behind the other, as in a conditional
            discriminator; features of each are mixed together.

    Raises:
        ValueError: An image has neither one channel nor three.
    """

    def __init__(
        self,
        in_channels: int,
        features: EfficientNetLite,
        feature_scales: Sequence[float] = (12.0, 8.0, 6.5),
        mixed_channels: int = 64,
        base_channels: int = 64,
        picture_heads: Sequence[str] = (),
        picture_gain: float = 8.0,
        spectral_norm: bool = True,
        image_channels: Sequence[int] | None = None,
    ):
        super().__init__()
        self.image_channels = tuple(image_channels or (in_channels,))
        if wrong := [count for count in self.image_channels if count not in (1, 3)]:
            raise ValueError(
                f"discriminator.name: projected sees pictures with 1 or 3 channels, these have {wrong[0]}; use patch"
            )
        self.feature_scales, self.picture_gain = tuple(feature_scales), picture_gain
        convolution = SpectralConv2d if spectral_norm else Conv2d
        self.features = features
        widths = [WIDTHS[stride] * len(self.image_channels) for stride in features.strides]
        mixed, width = mixed_channels, base_channels
        self.across_channels = nn.ModuleList(_mixing(count, mixed, 1) for count in widths)
        self.across_scales = nn.ModuleList(_mixing(mixed, mixed, 3) for _ in widths)
        self.heads = nn.ModuleList(
            _head(convolution, (mixed, 3, 1 if index else 2), (width, 3, 1), (width, 3, 1))
            for index in range(len(widths))
        )
        layers = {
            "colour": ((in_channels, 1, 1), (width, 3, 1), (width, 3, 1), (width, 1, 1)),
            "pixel": ((in_channels, 4, 2), (max(width // 2, 1), 4, 2), (width, 3, 1), (width, 3, 1)),
        }
        self.picture_heads = nn.ModuleDict({name: _head(convolution, *layers[name]) for name in picture_heads})

    def forward(self, image: Tensor) -> Tensor:
        image = fastest_layout(image)
        maps = [head(y) for head, y in zip(self.heads, self.projected(image), strict=True)]
        for name, head in self.picture_heads.items():
            seen = F.avg_pool2d(image, _COLOUR_PX) if name == "colour" else image
            maps.append(head(seen) * self.picture_gain)
        size = [max(sides) for sides in zip(*(m.shape[2:] for m in maps), strict=True)]
        return torch.cat([m if list(m.shape[2:]) == size else F.interpolate(m, size) for m in maps], dim=1)

    def projected(self, image: Tensor) -> list[Tensor]:
        """The mixed features `(N, mixed_channels, H', W')` that the heads judge, the finest first."""
        images = image.split(self.image_channels, dim=1)
        seen = torch.cat([part.expand(-1, 3, -1, -1) for part in images])
        mixed: list[Tensor] = []
        for features, scale, across in zip(self.features(seen), self.feature_scales, self.across_channels, strict=True):
            together = torch.cat(features.chunk(len(images)), dim=1)
            mixed.append(across(together / scale))
        for fine, deep in pairwise(reversed(range(len(mixed)))):
            larger = F.interpolate(mixed[fine], mixed[deep].shape[2:], mode="bilinear", align_corners=False)
            mixed[deep] = (mixed[deep] + larger) * 0.5**0.5
        return [across(y) for across, y in zip(self.across_scales, mixed, strict=True)]


def _mixing(in_channels: int, out_channels: int, kernel_size: int) -> FrozenConv2d:
    """A random convolution that keeps the deviation of what it is given."""
    layer = FrozenConv2d(in_channels, out_channels, kernel_size, bias=False, is_kept=True)
    nn.init.normal_(layer.weight, std=(in_channels * kernel_size**2) ** -0.5)
    return layer


def _head(convolution: type[nn.Module], *layers: tuple[int, int, int]) -> nn.Sequential:
    """Convolutions, each given by its input channels, kernel and stride, with leaky ReLU between; the last gives 1."""
    widths = [*(channels for channels, _, _ in layers), 1]
    parts: list[nn.Module] = []
    for (channels, kernel, stride), out in zip(layers, widths[1:], strict=True):
        parts += [convolution(channels, out, kernel, stride=stride, padding=(kernel - 1) // 2), nn.LeakyReLU(0.2)]
    return nn.Sequential(*parts[:-1])
