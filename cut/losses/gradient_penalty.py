"""The gradient penalty of WGAN-GP (Gulrajani et al., NeurIPS 2017, equation 3 and algorithm 1)."""

from collections.abc import Callable

import torch
from torch import Tensor


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """Mean of (|gradient of the critic|_2 - 1)^2 at random points between real and generated images.

    Args:
        critic: images -> scores; its parameters receive the penalty's gradient.
        real: `(N, C, H, W)`.
        fake: `(N, C, H, W)`, of the same shape; no gradient flows into it.
    """
    share = torch.rand(real.shape[0], 1, 1, 1).to(real)  # one epsilon per image
    mixed = (share * real + (1.0 - share) * fake).detach().requires_grad_()
    with torch.autocast(real.device.type, enabled=False):  # second derivatives in bfloat16 are too coarse
        scores = critic(mixed.float())
        (gradient,) = torch.autograd.grad(scores.sum(), mixed, create_graph=True)
    return ((gradient.flatten(1).norm(dim=1) - 1.0) ** 2).mean()
