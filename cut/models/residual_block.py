"""The residual block of the generators (He et al. 2016; Johnson et al. 2016)."""

from torch import Tensor, nn

from cut.kernels.padding import ReflectionPad
from cut.kernels.recompute import run_layers
from cut.kernels.synchronised import Dropout
from cut.kernels.winograd import Conv2d
from cut.models.blocks import needs_bias, normalisation

PADDINGS: dict[str, type[nn.Module]] = {"reflect": ReflectionPad, "zero": nn.ZeroPad2d}  # beyond the borders


class ResidualBlock(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))), 3x3, shape kept.

    `padding` is what lies beyond the borders: `reflect`, the mirrored image, or `zero`.
    """

    def __init__(self, channels: int, norm: str, dropout: float = 0.0, padding: str = "reflect"):
        super().__init__()
        bias, pad = needs_bias(norm), PADDINGS[padding]
        layers: list[nn.Module] = [pad(1), Conv2d(channels, channels, 3, bias=bias)]
        layers += [normalisation(norm, channels), nn.ReLU(inplace=True)]
        if dropout:
            layers.append(Dropout(dropout))
        layers += [pad(1), Conv2d(channels, channels, 3, bias=bias), normalisation(norm, channels)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + run_layers(self.layers, x)
