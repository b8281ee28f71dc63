"""Losses on latents: the prior of a variational encoder, and what keeps a generator from ignoring its latent.

Every result is a mean over images of a number per image, so that a batch may be divided.
"""

from torch import Tensor

from cut.losses import full_precision

_EPSILON = 1e-5  # the authors', in the denominator of mode seeking


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) || N(0, I)), summed over a latent's numbers (Kingma & Welling, ICLR 2014, appendix B).

    Args:
        mean: `(N, numbers)`.
        log_variance: `(N, numbers)`, the natural logarithm.

    Returns:
        A scalar, the mean over images.
    """
    mean, log_variance = full_precision(mean), full_precision(log_variance)
    return 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(1).mean()


def mode_seeking_loss(one: Tensor, other: Tensor, latent_one: Tensor, latent_other: Tensor) -> Tensor:
    """1 / (|I_1 - I_2|_1 / |z_1 - z_2|_1), small where two latents make two images (Mao et al., CVPR 2019).

    Args:
        one: Images `(N, C, H, W)` from `latent_one`.
        other: Images of the same shape from `latent_other` and the same inputs.
        latent_one: `(N, numbers)`.
        latent_other: `(N, numbers)`.

    Returns:
        A scalar, the mean over images; both distances are mean absolute differences of one image.
    """
    distance = (full_precision(one) - full_precision(other)).abs().mean((1, 2, 3))
    latent_distance = (full_precision(latent_one) - full_precision(latent_other)).abs().mean(1)
    return (1.0 / (distance / latent_distance + _EPSILON)).mean()
