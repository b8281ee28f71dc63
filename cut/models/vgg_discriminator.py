"""VGG-16 as a discriminator (Simonyan & Zisserman, ICLR 2015, table 1, configuration D)."""

from itertools import pairwise

from torch import Tensor, nn

from cut.kernels.synchronised import Dropout
from cut.models.blocks import needs_bias, normalisation

_CONVOLUTIONS = (2, 2, 3, 3, 3)  # per block, each block followed by max pooling; 13 in all
_WIDTHS = (1, 2, 4, 8, 8)  # of the blocks, in units of base_channels
_HIDDEN_WIDTH = 64  # of the fully connected layers, in the same unit: 4096 at the paper's 64 channels


class VGG16Discriminator(nn.Module):
    """13 convolutions of 3x3 and three fully connected layers, the last of which gives one score.

    What differs from the paper: pooling rounds sizes up, so that 28 px become 14, 7, 4, 2, 1. Batch norm behind each
    convolution is an option that came later; on MNIST it let the discriminator win outright within 300 steps.

    Args:
        in_channels: Channels of the image.
        image_px: Side of the image in pixels.
        base_channels: Channels of the first block, 64 in the paper.
        norm: `none`, as in the paper, or `batch`.
        dropout: Probability behind the first two fully connected layers.
    """

    def __init__(
        self, in_channels: int, image_px: int, base_channels: int = 64, norm: str = "none", dropout: float = 0.5
    ):
        super().__init__()
        layers: list[nn.Module] = []
        width, size = in_channels, image_px
        for convolutions, factor in zip(_CONVOLUTIONS, _WIDTHS, strict=True):
            for _ in range(convolutions):
                layers += [nn.Conv2d(width, factor * base_channels, 3, padding=1, bias=needs_bias(norm))]
                width = factor * base_channels
                layers += [normalisation(norm, width), nn.ReLU(inplace=True)]
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
            size = -(-size // 2)
        layers.append(nn.Flatten())
        hidden = _HIDDEN_WIDTH * base_channels
        for inputs, outputs in pairwise((width * size**2, hidden, hidden)):
            layers += [nn.Linear(inputs, outputs), nn.ReLU(inplace=True), Dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden, 1))

    def forward(self, image: Tensor) -> Tensor:
        """`(N, in_channels, image_px, image_px)` in [-1, 1] -> raw scores `(N, 1)`."""
        return self.layers(image)
