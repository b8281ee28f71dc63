"""The discriminator of MUNIT and DRIT: PatchGANs that judge an image at several sizes (Wang et al., CVPR 2018, 3.2)."""

import torch.nn.functional as F
from torch import Tensor, nn

from cut.kernels.cpu import fastest_layout
from cut.kernels.padding import ReflectionPad
from cut.kernels.winograd import Conv2d
from cut.models.munit import Layers


class MultiscaleDiscriminator(nn.Module):
    """`(N, in_channels, H, W)` in [-1, 1] -> scores `(N, 1, H', W')` of each scale, the largest first.

    Every scale has weights of its own; the image is halved from one to the next by averaging. No norms.

    Args:
        in_channels: Number of channels of the image.
        base_channels: Width of the first layer; doubled by each further one.
        num_layers: Number of strided 4x4 convolutions per scale.
        num_scales: Number of sizes that are judged.
        negative_slope: Slope of the leaky ReLU: 0.2 in MUNIT, 0.01 in DRIT.
    """

    def __init__(
        self,
        in_channels: int = 3,
        base_channels: int = 64,
        num_layers: int = 4,
        num_scales: int = 3,
        negative_slope: float = 0.2,
    ):
        super().__init__()
        # A reflected border of one pixel needs two, also before the last layer of the smallest scale.
        self.min_size_px = (2**num_layers - 1) * 2 ** (num_scales - 1) + 1
        self.scales = nn.ModuleList()
        for _ in range(num_scales):
            layers: list[nn.Module] = []
            before, width = in_channels, base_channels
            for _ in range(num_layers):
                layers += [ReflectionPad(1), Conv2d(before, width, 4, stride=2)]
                layers.append(nn.LeakyReLU(negative_slope, inplace=True))
                before, width = width, width * 2
            layers.append(Conv2d(before, 1, 1))
            self.scales.append(Layers(*layers))

    def forward(self, image: Tensor) -> list[Tensor]:
        image, scores = fastest_layout(image), []
        for index, scale in enumerate(self.scales):
            if index:
                image = F.avg_pool2d(image, 3, stride=2, padding=1, count_include_pad=False)
            scores.append(scale(image))
        return scores
