"""Layers whose weight is divided by its largest singular value (Miyato et al., ICLR 2018, algorithm 1).

As in BigGAN's code, and other than in torch's: one vector u is kept per layer; a forward pass iterates once, and uses
what came of it at once. Gradients flow through the weight in sigma, and not through the vectors.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_EPS = 1e-6


class _SpectralNorm(nn.Module):
    """What the layers share; `u0` and `sv0` are the names in BigGAN's public files."""

    u0: Tensor  # (1, out), the estimate of the first left singular vector
    sv0: Tensor  # (1,), the largest singular value in the last forward pass of training
    track_running_stats = True  # what `untracked_statistics` switches off

    def _add_vectors(self, weight: Tensor) -> None:
        self.register_buffer("u0", torch.randn(1, weight.shape[0]))
        self.register_buffer("sv0", torch.ones(1))

    def _normalised(self, weight: Tensor) -> Tensor:
        """The weight over its largest singular value; in training the next forward pass begins where this one ends."""
        with torch.autocast(weight.device.type, enabled=False):
            matrix = weight.flatten(1)
            with torch.no_grad():
                v = F.normalize(self.u0 @ matrix, eps=_EPS)
                u = F.normalize(v @ matrix.T, eps=_EPS)
            sigma = (v @ matrix.T @ u.T).squeeze()
            if self.training and self.track_running_stats:
                self.u0.copy_(u)
                self.sv0.copy_(sigma.detach())
            return weight / sigma


def has_spectral_norm(network: nn.Module) -> bool:
    """Whether a layer's vectors move with every forward pass of training."""
    return any(isinstance(module, _SpectralNorm) for module in network.modules())


class SpectralConv2d(nn.Conv2d, _SpectralNorm):
    """A convolution."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, bias=bias)
        self._add_vectors(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self._normalised(self.weight), self.bias)


class SpectralLinear(nn.Linear, _SpectralNorm):
    """A linear layer."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True):
        super().__init__(in_features, out_features, bias)
        self._add_vectors(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self._normalised(self.weight), self.bias)


class SpectralEmbedding(nn.Embedding, _SpectralNorm):
    """An embedding."""

    def __init__(self, num_embeddings: int, embedding_dim: int):
        super().__init__(num_embeddings, embedding_dim)
        self._add_vectors(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.embedding(x, self._normalised(self.weight))
