"""Penalties on the discriminator's slope: that of WGAN-GP and R1."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from cut.losses import full_precision
from cut.runtime.sharding import draw_rows


@contextmanager
def _twice_differentiable(device_type: str) -> Iterator[None]:
    """In float32, for second derivatives in bfloat16 are too coarse; not compiled, for torch.compile has none."""
    with torch.autocast(device_type, enabled=False), torch.compiler.set_stance("force_eager"):
        yield


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """Mean of (|gradient of the critic|_2 - 1)^2 at random points between real and generated images.

    Gulrajani et al., NeurIPS 2017, equation 3 and algorithm 1.

    An image's score is the mean over its patches, as in the loss itself. (The authors' helper, which their trainer
    never calls, sums them and so would hold a PatchGAN to a slope of one over the number of patches.)

    Args:
        critic: Network from images to scores, one or a map per image; its parameters receive the penalty's gradient.
        real: `(N, C, H, W)`.
        fake: `(N, C, H, W)`, of the same shape; no gradient flows into it.
    """
    share = draw_rows(lambda rows: torch.rand(rows, 1, 1, 1), len(real)).to(real)  # one epsilon per image
    mixed = (share * real + (1.0 - share) * fake).detach().requires_grad_()
    with _twice_differentiable(real.device.type):
        scores = critic(full_precision(mixed))
        (gradient,) = torch.autograd.grad(scores.flatten(1).mean(1).sum(), mixed, create_graph=True)
    return ((gradient.flatten(1).norm(dim=1) - 1.0) ** 2).mean()


def r1_penalty(critic: Callable[[Tensor], Tensor], real: Tensor) -> tuple[Tensor, Tensor]:
    """The scores of real images, and the mean over the images of the squared norm of their gradient.

    Mescheder et al., "Which Training Methods for GANs do actually Converge?", ICML 2018, equation 9, without gamma / 2.

    Args:
        critic: Network from images to scores, one or several per image, which are summed; its parameters receive the
            gradient.
        real: `(N, C, H, W)`; no gradient flows into it.

    Returns:
        The scores as the critic gives them, in full precision and differentiable as any others; the penalty, a scalar.
    """
    real = full_precision(real.detach()).requires_grad_()
    with _twice_differentiable(real.device.type):
        scores = critic(real)
        (gradient,) = torch.autograd.grad(scores.sum(), real, create_graph=True)
    return scores, gradient.square().flatten(1).sum(1).mean()
