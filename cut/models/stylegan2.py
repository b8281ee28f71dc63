"""SinCUT's networks: the residual discriminator of StyleGAN2 (Karras et al., CVPR 2020) and a generator of its parts.

Appendix C.2 of CUT (Park et al., ECCV 2020) describes them. The authors' widths follow from ngf or ndf and from the
crop's size; here the width at full resolution is given as it is.
"""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from cut.kernels.recompute import run_in_stages, run_layers
from cut.models.encoding_generator import EncodingGenerator
from cut.models.stylegan2_blocks import EqualConv2d, EqualLinear, EqualResidualBlock, NoiseInjection, UpsampleConv

_MAX_GENERATOR_CHANNELS = 512
_MAX_DISCRIMINATOR_CHANNELS = 384


class StyleGAN2Generator(EncodingGenerator):
    """1x1 convolution, downsamplings, residual blocks, as many upsamplings, 1x1 convolution; no norm and no tanh.

    Layers of the encoder are numbered as the authors number them (`nce_layers` 0, 2, 4): 0 is the image, 1 the first
    convolution, then the downsamplings, then the first half of the residual blocks.

    Args:
        in_channels: Channels of the input image.
        out_channels: Channels of the output image.
        base_channels: Channels at full resolution, doubled per downsampling; 80 is the authors' ngf 10 at crops of 64
            px.
        num_downsamplings: Number of halvings of the size.
        num_blocks: Number of residual blocks at the lowest resolution, even; half of them are in the encoder.
        noise: Whether to inject noise behind the upsamplings; in eval mode it is always the same.
    """

    checkpoint_activations = False  # keep less for the backward pass and compute more in it
    min_size_px = 4

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        base_channels: int = 80,
        num_downsamplings: int = 1,
        num_blocks: int = 6,
        noise: bool = True,
    ):
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.stride = 2**num_downsamplings
        widths = [min(base_channels * 2**level, _MAX_GENERATOR_CHANNELS) for level in range(num_downsamplings + 1)]
        encoder: list[nn.Module] = [nn.Identity(), EqualConv2d(in_channels, widths[0], 1)]
        encoder += [EqualResidualBlock(widths[i], widths[i + 1], down=True) for i in range(num_downsamplings)]
        encoder += [EqualResidualBlock(widths[-1], widths[-1]) for _ in range(num_blocks // 2)]
        decoder: list[nn.Module] = [EqualResidualBlock(widths[-1], widths[-1]) for _ in range(num_blocks // 2)]
        decoder += [UpsampleConv(widths[i + 1], widths[i], noise) for i in reversed(range(num_downsamplings))]
        decoder.append(EqualConv2d(widths[0], out_channels, 1))  # with its leaky ReLU, as the authors have it
        self.encoder, self.decoder = nn.ModuleList(encoder), nn.Sequential(*decoder)

    def forward(self, image: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` in [-1, 1] -> `(N, out_channels, H, W)`, about [-1, 1] once trained, unbounded."""
        return self.forward_with_features(image, ())[0]

    def prepare_export(self, max_pixels: int) -> None:
        """Must be called before torch.export or torch.jit.trace; images may have up to `max_pixels` pixels then."""
        for module in self.modules():
            if isinstance(module, NoiseInjection):
                module.draw_beforehand(max_pixels)

    def forward_with_features(self, image: Tensor, taps: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
        x, features = self._encode(image, taps, stop=len(self.encoder))
        return self._run_layers(self.decoder, x), features

    def encode(self, image: Tensor, taps: Sequence[int]) -> list[Tensor]:
        return self._encode(image, taps, stop=max(taps) + 1)[1]

    def feature_channels(self, taps: Sequence[int]) -> list[int]:
        for tap in taps:
            if not 0 <= tap < len(self.encoder):
                raise ValueError(f"nce_layers: the encoder has no layer {tap}; it has 0 to {len(self.encoder) - 1}")
        return [getattr(self.encoder[tap], "out_channels", self.in_channels) for tap in taps]

    def _encode(self, x: Tensor, taps: Sequence[int], stop: int) -> tuple[Tensor, list[Tensor]]:
        kept: dict[int, Tensor] = {}
        for index, layer in enumerate(self.encoder[:stop]):
            x = self._run_layers([layer], x)
            if index in taps:
                kept[index] = x
        return x, [kept[tap] for tap in taps]

    def _run_layers(self, layers: Iterable[nn.Module], x: Tensor) -> Tensor:
        return run_in_stages(layers, x, last=nn.Module) if self.checkpoint_activations else run_layers(layers, x)


class StyleGAN2Discriminator(nn.Module):
    """Judges whole images of one size: `(N, in_channels, P, P)` in [-1, 1] -> `(N, 1)` scores.

    The authors' code keeps StyleGAN2's standard deviation over the minibatch switched off; so it is left out here.

    Args:
        in_channels: Channels of the image.
        image_px: P, the side of the images; they are halved until about 4 px are left.
        base_channels: Channels at full resolution, doubled per halving up to 384; 32 is the authors' ndf 8 at 64 px.

    Raises:
        ValueError: Images are too small to be halved.
    """

    def __init__(self, in_channels: int = 3, image_px: int = 64, base_channels: int = 32):
        super().__init__()
        self.image_px = image_px
        num_halvings = round(math.log2(image_px)) - 2
        if num_halvings < 1:
            raise ValueError(f"discriminator: images of {image_px} px are too small for stylegan2; take 8 px or more")
        widths = [min(base_channels * 2**level, _MAX_DISCRIMINATOR_CHANNELS) for level in range(num_halvings + 1)]
        layers: list[nn.Module] = [EqualConv2d(in_channels, widths[0], 1)]
        layers += [EqualResidualBlock(widths[i], widths[i + 1], down=True) for i in range(num_halvings)]
        layers.append(EqualConv2d(widths[-1], widths[-1], 3))
        self.layers = nn.Sequential(*layers)
        left_px = image_px >> num_halvings
        self.linear = nn.Sequential(
            EqualLinear(widths[-1] * left_px**2, widths[-1], activate=True), EqualLinear(widths[-1], 1)
        )

    def forward(self, image: Tensor) -> Tensor:
        return self.linear(torch.flatten(self.layers(image), 1))  # (N, C, p, p) -> (N, C * p * p) -> (N, 1)
