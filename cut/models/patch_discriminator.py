"""Discriminators that judge patches: PatchGAN (Isola et al., CVPR 2017, section 3.2.2) and its 1x1 variant."""

from torch import Tensor, nn

from cut.kernels.blur import BlurDownsample
from cut.kernels.cpu import fastest_layout
from cut.kernels.recompute import run_layers
from cut.kernels.winograd import Conv2d
from cut.models.blocks import needs_bias, normalisation
from cut.models.spectral_norm import SpectralConv2d


class PatchDiscriminator(nn.Module):
    """PatchGAN: `(N, in_channels, H, W)` in [-1, 1] -> `(N, 1, H', W')` scores without a final activation.

    Args:
        in_channels: of the image, or of input and output image together in a conditional GAN.
        base_channels: width of the first layer; doubled per layer, eightfold at the most.
        num_layers: downsampling layers; 3 gives the papers' 70x70 receptive field.
        norm: `instance`, `instance_affine`, `batch` or `none`.
        antialias: blur before downsampling instead of strided convolutions.
        spectral_norm: divide the convolutions' weights by their largest singular values.
    """

    def __init__(
        self,
        in_channels: int = 3,
        base_channels: int = 64,
        num_layers: int = 3,
        norm: str = "instance",
        antialias: bool = True,
        spectral_norm: bool = False,
    ):
        super().__init__()
        convolution = SpectralConv2d if spectral_norm else Conv2d
        bias, stride = needs_bias(norm), 1 if antialias else 2
        width = base_channels
        layers: list[nn.Module] = [convolution(in_channels, width, 4, stride=stride, padding=1), nn.LeakyReLU(0.2)]
        if antialias:
            layers.append(BlurDownsample(width))
        for depth in range(1, num_layers + 1):
            before, width = width, base_channels * min(2**depth, 8)
            last = depth == num_layers
            layers.append(convolution(before, width, 4, stride=1 if last else stride, padding=1, bias=bias))
            layers += [normalisation(norm, width), nn.LeakyReLU(0.2, inplace=True)]
            if antialias and not last:
                layers.append(BlurDownsample(width))
        layers.append(convolution(width, 1, 4, padding=1))
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        return run_layers(self.layers, fastest_layout(image))


class PixelDiscriminator(nn.Module):
    """Judges each pixel alone, a 1x1 PatchGAN: `(N, in_channels, H, W)` in [-1, 1] -> `(N, 1, H, W)` scores."""

    def __init__(
        self, in_channels: int = 3, base_channels: int = 64, norm: str = "instance", spectral_norm: bool = False
    ):
        super().__init__()
        convolution = SpectralConv2d if spectral_norm else nn.Conv2d
        self.layers = nn.Sequential(
            convolution(in_channels, base_channels, 1),
            nn.LeakyReLU(0.2),
            convolution(base_channels, base_channels * 2, 1, bias=needs_bias(norm)),
            normalisation(norm, base_channels * 2),
            nn.LeakyReLU(0.2, inplace=True),
            convolution(base_channels * 2, 1, 1, bias=needs_bias(norm)),
        )

    def forward(self, image: Tensor) -> Tensor:
        return self.layers(fastest_layout(image))
