"""The pool of earlier generated images of Shrivastava et al. (CVPR 2017, section 2.3)."""

from typing import Any

import torch
from torch import Tensor, nn

from cut.runtime.sharding import all_rows, draw_rows, own_rows


class ImagePool(nn.Module):
    """Hands the discriminator a mix of new and earlier images, so that it does not forget what it has seen.

    While the pool fills, images pass through; then each is, with probability 1/2, kept and exchanged for a random
    earlier one. The content is part of `state_dict`, and the same in all processes that share a batch.

    Args:
        size: Number of images kept; 0 passes everything through.
    """

    def __init__(self, size: int = 50):
        super().__init__()
        self.size = size
        self.images: list[Tensor] = []

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """`(N, C, H, W)` new images -> as many for the discriminator, detached."""
        if not self.size:
            return images.detach()
        # The second half of the unit interval names the place: one number per image, whether the pool is full or not.
        draws = all_rows(draw_rows(torch.rand, len(images)))
        handed = []
        for image, draw in zip(all_rows(images), draws.tolist(), strict=True):
            if len(self.images) < self.size:
                self.images.append(image.clone())
            elif draw >= 0.5:
                place = int((draw - 0.5) * 2 * self.size)
                image, self.images[place] = self.images[place].to(image), image.clone()
            handed.append(image)
        # An earlier image of another size (data.preprocess none) cannot stand in a batch; such batches hold one image.
        return own_rows(torch.stack(handed))

    def get_extra_state(self) -> dict[str, Any]:
        return {"images": list(self.images)}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.images = list(state["images"])
