"""The ResNet generator of CycleGAN (Zhu et al., ICCV 2017, appendix 7.2), in CUT with anti-aliased resampling."""

from collections.abc import Sequence

from torch import Tensor, nn

from cut.kernels.blur import BlurDownsample, BlurUpsample
from cut.kernels.cpu import fastest_layout
from cut.kernels.recompute import run_in_stages, run_layers
from cut.kernels.winograd import Conv2d
from cut.models.blocks import needs_bias, normalisation
from cut.models.encoding_generator import EncodingGenerator
from cut.models.residual_block import PADDINGS, ResidualBlock


class ResnetGenerator(EncodingGenerator):
    """7x7 convolution, two downsamplings, residual blocks, two upsamplings, 7x7 convolution, tanh.

    Layers are numbered as the authors number them (`nce_layers` 0, 4, 8, 12, 16): with anti-aliasing these are the
    padded RGB image, the two downsampling convolutions, and the first and the fifth residual block. Negative numbers
    count from the end.

    Args:
        in_channels: of the input image.
        out_channels: of the output image.
        base_channels: width at full resolution; four times that in the residual blocks.
        num_blocks: residual blocks; the papers use 9 at 256 px and 6 at 128 px.
        norm: `instance`, `instance_affine`, `batch`, `none`, or `blocks`: instance norm inside the residual blocks
            alone, so that what is not normalised carries an image's own brightness and colour past them.
        dropout: probability inside the residual blocks, 0 for none.
        antialias_down: blur before downsampling instead of a strided convolution.
        antialias_up: blurred upsampling instead of a transposed convolution.
        padding: what lies beyond the borders before the first, the last and the residual blocks' convolutions:
            `reflect`, the mirrored image, or `zero`.
    """

    stride = 4  # height and width of the input must be multiples of it for the output to have the same size
    checkpoint_activations = False  # keep less for the backward pass and compute more in it
    min_size_px = 8  # below it the reflected borders are wider than the feature maps

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        base_channels: int = 64,
        num_blocks: int = 9,
        norm: str = "instance",
        dropout: float = 0.0,
        antialias_down: bool = True,
        antialias_up: bool = True,
        padding: str = "reflect",
    ):
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        inner, norm = ("instance", "none") if norm == "blocks" else (norm, norm)
        bias, width = needs_bias(norm), base_channels
        layers: list[nn.Module] = [PADDINGS[padding](3), Conv2d(in_channels, width, 7, bias=bias)]
        layers += [normalisation(norm, width), nn.ReLU(inplace=True)]
        for _ in range(2):
            stride = 1 if antialias_down else 2
            layers += [Conv2d(width, width * 2, 3, stride=stride, padding=1, bias=bias)]
            width *= 2
            layers += [normalisation(norm, width), nn.ReLU(inplace=True)]
            if antialias_down:
                layers.append(BlurDownsample(width))
        layers += [ResidualBlock(width, inner, dropout, padding) for _ in range(num_blocks)]
        for _ in range(2):
            if antialias_up:
                layers += [BlurUpsample(width), Conv2d(width, width // 2, 3, padding=1, bias=bias)]
            else:
                layers.append(
                    nn.ConvTranspose2d(width, width // 2, 3, stride=2, padding=1, output_padding=1, bias=bias)
                )
            width //= 2
            layers += [normalisation(norm, width), nn.ReLU(inplace=True)]
        layers += [PADDINGS[padding](3), Conv2d(width, out_channels, 7), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        """`(N, in_channels, H, W)` in [-1, 1] -> `(N, out_channels, H, W)` in [-1, 1]."""
        return self._run(image, (), stop=len(self.layers))[0]

    def forward_with_features(self, image: Tensor, taps: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
        return self._run(image, taps, stop=len(self.layers))

    def encode(self, image: Tensor, taps: Sequence[int]) -> list[Tensor]:
        return self._run(image, taps, stop=max(self._read_point(tap) for tap in taps) + 1)[1]

    def feature_channels(self, taps: Sequence[int]) -> list[int]:
        channels, current = [], self.in_channels
        for layer in self.layers:
            current = getattr(layer, "out_channels", current)
            channels.append(current)
        for tap in taps:
            if not -len(channels) <= tap < len(channels):
                raise ValueError(f"nce_layers: the generator has no layer {tap}; it has 0 to {len(channels) - 1}")
        return [channels[tap] for tap in taps]

    def _run(self, image: Tensor, taps: Sequence[int], stop: int, *given: Tensor) -> tuple[Tensor, list[Tensor]]:
        x, start = fastest_layout(image), 0
        kept: dict[int, Tensor] = {}
        for point in sorted({self._read_point(tap) for tap in taps}):
            x, start = self._run_layers(self.layers[start : point + 1], x, *given), point + 1
            kept[point] = x
        return self._run_layers(self.layers[start:stop], x, *given), [kept[self._read_point(tap)] for tap in taps]

    def _run_layers(self, layers: nn.Sequential, x: Tensor, *given: Tensor) -> Tensor:
        return run_in_stages(layers, x, last=ResidualBlock) if self.checkpoint_activations else run_layers(layers, x)

    def _read_point(self, tap: int) -> int:
        """A norm that a ReLU follows is read behind the ReLU, which works in place in the authors' code too."""
        tap %= len(self.layers)
        followed_by_relu = tap + 1 < len(self.layers) and isinstance(self.layers[tap + 1], nn.ReLU)
        return tap + 1 if followed_by_relu else tap
