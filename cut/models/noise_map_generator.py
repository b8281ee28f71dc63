"""A ResNet generator for noise: the latent is a map as large as the image (784 numbers for 28 x 28 px)."""

from torch import Tensor, nn

from cut.kernels.synchronised import BatchNorm2d
from cut.models.residual_block import ResidualBlock


class NoiseMapGenerator(nn.Module):
    """Halves the map of noise twice, sends it through residual blocks, and doubles it twice to the image; tanh.

    The shape of the translating ResNet generator (Zhu et al., ICCV 2017, appendix 7.2) with batch norm, but borders
    are zeros instead of mirrored: noise has no layout of its own, so that only the borders tell the convolutions where
    in the image they are. With mirrored ones every place is alike, and no digit can stand in the middle. Sizes are
    doubled by repeating pixels before a convolution (Odena, Dumoulin, Olah, Distill 2016): transposed convolutions
    left a checkerboard here.

    Args:
        out_channels: Channels of the image.
        image_px: Side of the image in pixels, a multiple of 4; the latent has its square of values.
        base_channels: Channels at full resolution; four times that in the residual blocks.
        num_blocks: Number of residual blocks.
    """

    def __init__(self, out_channels: int, image_px: int, base_channels: int = 64, num_blocks: int = 6):
        super().__init__()
        width = base_channels
        layers: list[nn.Module] = [nn.Unflatten(1, (1, image_px, image_px))]
        layers += [nn.Conv2d(1, width, 7, padding=3, bias=False), BatchNorm2d(width), nn.ReLU(inplace=True)]
        for _ in range(2):
            layers += [nn.Conv2d(width, width * 2, 4, stride=2, padding=1, bias=False)]
            width *= 2
            layers += [BatchNorm2d(width), nn.ReLU(inplace=True)]
        layers += [ResidualBlock(width, "batch", padding="zero") for _ in range(num_blocks)]
        for _ in range(2):
            layers += [nn.Upsample(scale_factor=2), nn.Conv2d(width, width // 2, 3, padding=1, bias=False)]
            width //= 2
            layers += [BatchNorm2d(width), nn.ReLU(inplace=True)]
        layers += [nn.Conv2d(width, out_channels, 7, padding=3), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, latent: Tensor) -> Tensor:
        """`(N, image_px^2)` -> `(N, out_channels, image_px, image_px)` in [-1, 1]."""
        return self.layers(latent)
