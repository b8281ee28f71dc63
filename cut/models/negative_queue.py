"""Keys of earlier images as negatives (the memory of MoCo, He et al., CVPR 2020, section 3.2)."""

import torch
from torch import Tensor, nn

from cut.runtime.sharding import all_rows


class NegativeQueue(nn.Module):
    """The newest `size` keys, first in, first out; all of it is part of `state_dict`.

    Args:
        size: Number of keys.
        channels: Channels of a key.
    """

    keys: Tensor
    seen: Tensor  # a scalar: how many keys ever came in

    def __init__(self, size: int, channels: int):
        super().__init__()
        self.register_buffer("keys", torch.zeros(size, channels))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def content(self) -> Tensor:
        """Keys `(K, C)`, K up to `size`; a copy, because the queue goes on while the loss waits for its gradient."""
        return self.keys[: int(self.seen)].clone()

    @torch.no_grad()
    def push(self, keys: Tensor) -> None:
        """`(N, S, C)` of the images here; other processes' come with them. Of more than `size` the last stay."""
        keys = all_rows(keys).flatten(0, 1)[-len(self.keys) :]  # (N * S, C)
        places = (torch.arange(len(keys), device=keys.device) + self.seen) % len(self.keys)
        self.keys[places] = keys.to(self.keys)
        self.seen += len(keys)
