"""SimDCL's similarity head M: says in one unit vector what the patches of an image look like."""

import torch
from torch import Tensor, nn


class SimilarityHead(nn.Module):
    """3x3 convolution with stride 2, ReLU, global mean, Linear, ReLU, Linear, L2 normalisation.

    Args:
        num_layers: Number of the encoder's layers that are stacked.
        channels: Channels of all layers and of the vector.
    """

    def __init__(self, num_layers: int, channels: int = 64):
        super().__init__()
        self.convolution = nn.Conv2d(num_layers, channels, 3, stride=2)
        self.mlp = nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, channels))

    def forward(self, embeddings: list[Tensor]) -> Tensor:
        """Per layer `(N, S, C)` -> `(N, channels)`; where a small map gave fewer patches, all give as many."""
        count = min(embedding.shape[1] for embedding in embeddings)
        stack = torch.stack([embedding[:, :count] for embedding in embeddings], dim=1)  # (N, layers, S, C)
        x = self.mlp(self.convolution(stack).relu().mean((2, 3)))
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        return x / (x.norm(dim=1, keepdim=True) + 1e-7)  # the authors' epsilon
