"""The convolutional generator and discriminator of DCGAN (Radford, Metz, Chintala, ICLR 2016, figure 1 and section 3).

Both work at `start * 2^n` px with a `start` of 4 to 7: at 32, 64 and 128 px from maps of 4x4 as in the paper, and at
MNIST's own 28 px from maps of 7x7. Kernels are 4x4 at stride 2, which cover every pixel equally often; the paper does
not give their size.
"""

from torch import Tensor, nn

from cut.kernels.synchronised import BatchNorm2d


class DCGANGenerator(nn.Module):
    """Projects a latent to a small map, which transposed convolutions double up to the image; batch norm, ReLU, tanh.

    Args:
        latent_size: Number of values per latent.
        out_channels: Channels of the image.
        image_px: Side of the image in pixels.
        base_channels: Channels before the last layer; twice as many at each half of the size (the paper: 128 at 32 px
            up to 1024 at 4 px).

    Raises:
        ValueError: A size that is not 4 to 7 times a power of two.
    """

    def __init__(self, latent_size: int, out_channels: int, image_px: int, base_channels: int = 128):
        super().__init__()
        start, doublings = start_and_doublings(image_px)
        width = base_channels * 2 ** (doublings - 1)
        layers: list[nn.Module] = [nn.ConvTranspose2d(latent_size, width, start, bias=False)]
        layers += [BatchNorm2d(width), nn.ReLU(inplace=True)]
        for _ in range(doublings - 1):
            layers += [nn.ConvTranspose2d(width, width // 2, 4, stride=2, padding=1, bias=False)]
            width //= 2
            layers += [BatchNorm2d(width), nn.ReLU(inplace=True)]
        layers += [nn.ConvTranspose2d(width, out_channels, 4, stride=2, padding=1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, latent: Tensor) -> Tensor:
        """`(N, latent_size)` -> `(N, out_channels, image_px, image_px)` in [-1, 1]."""
        return self.layers(latent[:, :, None, None])  # (N, latent_size, 1, 1): a map of one pixel


class DCGANDiscriminator(nn.Module):
    """Strided convolutions with LeakyReLU 0.2, batch norm in all but the first and the last layer.

    Args:
        in_channels: Channels of the image.
        image_px: Side of the image in pixels.
        base_channels: Channels of the first layer, doubled by each further one.

    Raises:
        ValueError: A size that is not 4 to 7 times a power of two.
    """

    def __init__(self, in_channels: int, image_px: int, base_channels: int = 64):
        super().__init__()
        start, halvings = start_and_doublings(image_px)
        width = base_channels
        layers: list[nn.Module] = [nn.Conv2d(in_channels, width, 4, stride=2, padding=1)]
        layers += [nn.LeakyReLU(0.2, inplace=True)]
        for _ in range(halvings - 1):
            layers += [nn.Conv2d(width, width * 2, 4, stride=2, padding=1, bias=False)]
            width *= 2
            layers += [BatchNorm2d(width), nn.LeakyReLU(0.2, inplace=True)]
        layers += [nn.Conv2d(width, 1, start), nn.Flatten()]
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        """`(N, in_channels, image_px, image_px)` in [-1, 1] -> raw scores `(N, 1)`."""
        return self.layers(image)


def start_and_doublings(image_px: int) -> tuple[int, int]:
    """The side of the smallest map, and how often it is doubled to make `image_px`.

    >>> start_and_doublings(64), start_and_doublings(28)
    ((4, 4), (7, 2))
    """
    start, doublings = image_px, 0
    while start > 7 and start % 2 == 0:
        start, doublings = start // 2, doublings + 1
    if not (4 <= start <= 7 and doublings):
        raise ValueError(
            f"data.crop_px: {image_px} does not suit the networks named dcgan; "
            "allowed: 4, 5, 6 or 7 times a power of two, such as 28, 32, 64 or 128"
        )
    return start, doublings
