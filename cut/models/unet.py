"""The U-Net generator of pix2pix (Isola et al., CVPR 2017, section 3.2.1 and appendix 6.1.1)."""

import torch
from torch import Tensor, nn

from cut.kernels.synchronised import Dropout
from cut.models.blocks import needs_bias, normalisation


class UnetGenerator(nn.Module):
    """Halves the image down to 1x1 and doubles it again; each level also sees the encoder's map of its own size.

    Convolutions are 4x4 with stride 2. Level k has min(2^k, 8) times `base_channels`; the innermost has no norm, for a
    map of one pixel has no spread, so one image per batch is enough.

    Args:
        in_channels: Channels of the input image.
        out_channels: Channels of the output image.
        base_channels: Channels of the outermost level.
        image_px: Side of the image that becomes one pixel, a power of two from 32; 256 is the paper's.
        norm: `instance`, `batch` or `none`.
        dropout: Probability behind the decoder's inner levels of full width, the innermost left out: 3 at 256 px.

    Raises:
        ValueError: `image_px` is no power of two from 32.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        base_channels: int = 64,
        image_px: int = 256,
        norm: str = "batch",
        dropout: float = 0.5,
    ):
        super().__init__()
        num_downs = image_px.bit_length() - 1
        if image_px != 2**num_downs or num_downs < 5:
            raise ValueError(f"image_px: must be a power of two from 32, got {image_px}")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.stride = self.min_size_px = image_px  # height and width of the input must be multiples of it
        bias = needs_bias(norm)
        widths = [base_channels * min(2**level, 8) for level in range(num_downs)]

        self.down = nn.ModuleList([nn.Conv2d(in_channels, widths[0], 4, stride=2, padding=1, bias=bias)])
        for level in range(1, num_downs):
            layers = [nn.LeakyReLU(0.2), nn.Conv2d(widths[level - 1], widths[level], 4, 2, 1, bias=bias)]
            if level < num_downs - 1:
                layers.append(normalisation(norm, widths[level]))
            self.down.append(nn.Sequential(*layers))

        self.up = nn.ModuleList()
        for level in range(num_downs - 1, 0, -1):
            inside = widths[level] * (1 if level == num_downs - 1 else 2)  # from below, and from the encoder
            layers = [nn.ReLU(), nn.ConvTranspose2d(inside, widths[level - 1], 4, 2, 1, bias=bias)]
            layers.append(normalisation(norm, widths[level - 1]))
            if dropout and 4 <= level < num_downs - 1:
                layers.append(Dropout(dropout))
            self.up.append(nn.Sequential(*layers))
        last = nn.ConvTranspose2d(widths[0] * 2, out_channels, 4, 2, 1)
        self.up.append(nn.Sequential(nn.ReLU(), last, nn.Tanh()))

    def forward(self, image: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` in [-1, 1] -> `(N, out_channels, H, W)` in [-1, 1]."""
        kept, x = [], image
        for down in self.down:
            x = down(x)  # (N, C, H / 2, W / 2)
            kept.append(x)
        x = self.up[0](kept.pop())
        for up in self.up[1:]:
            x = up(torch.cat([kept.pop(), x], 1))
        return x
