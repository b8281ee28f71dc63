"""EnCo's head: a projection H of both sides of a pair of layers, and a predictor P of the decoder's side."""

from collections.abc import Sequence

from torch import Tensor, nn

from cut.kernels.synchronised import BatchNorm1d


class EnCoHead(nn.Module):
    """One projection and one predictor per pair of layers.

    H is Linear, norm, ReLU, Linear, norm without weight and bias; P is Linear to half the channels, norm, ReLU, Linear.

    Args:
        feature_channels: Channels of the features of each pair.
        channels: Channels of the embedding.
        norm: `batch`, over all patches of a batch, or `layer`.
    """

    def __init__(self, feature_channels: Sequence[int], channels: int = 256, norm: str = "batch"):
        super().__init__()
        self.projections = nn.ModuleList(
            nn.Sequential(
                nn.Linear(width, channels, bias=False),
                _norm(norm, channels),
                nn.ReLU(inplace=True),
                nn.Linear(channels, channels, bias=False),
                _norm(norm, channels, affine=False),
            )
            for width in feature_channels
        )
        self.predictors = nn.ModuleList(
            nn.Sequential(
                nn.Linear(channels, channels // 2, bias=False),
                _norm(norm, channels // 2),
                nn.ReLU(inplace=True),
                nn.Linear(channels // 2, channels),
            )
            for _ in feature_channels
        )

    def project(self, patches: Tensor, pair: int) -> Tensor:
        """`(N, S, C)` of either side of a pair -> `(N, S, channels)`."""
        return self.projections[pair](patches.flatten(0, 1)).unflatten(0, patches.shape[:2])

    def predict(self, patches: Tensor, pair: int) -> Tensor:
        """What the decoder's side `(N, S, C)` says of the projection of the encoder's side."""
        return self.predictors[pair](self.project(patches, pair).flatten(0, 1)).unflatten(0, patches.shape[:2])


def _norm(name: str, channels: int, affine: bool = True) -> nn.Module:
    if name == "batch":
        return BatchNorm1d(channels, affine=affine)
    return nn.LayerNorm(channels, elementwise_affine=affine)
