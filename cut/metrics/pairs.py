"""Scores of one picture against its partner, both float `(H, W, C)` in [0, 1]: the full range of their depth."""

import math

import numpy as np
from skimage.metrics import structural_similarity

from cut.errors import UserError

SSIM_WINDOW_PX = 11


def ssim(image: np.ndarray, target: np.ndarray) -> float:
    """Structural similarity, at most 1 (Wang et al., IEEE TIP 2004, with their Gaussian window of 11 px, sigma 1.5).

    K1 0.01, K2 0.03, population covariance, the mean over pixels (5 px of border left out) and channels.

    Raises:
        UserError: the picture is smaller than the window.
    """
    if min(image.shape[:2]) < SSIM_WINDOW_PX:
        height, width = image.shape[:2]
        raise UserError(
            f"picture of {width}x{height} px is smaller than ssim's window of {SSIM_WINDOW_PX} px; leave ssim out"
        )
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(image, target, data_range=1.0, channel_axis=-1, **settings))


def psnr(image: np.ndarray, target: np.ndarray) -> float:
    """Peak signal to noise ratio in dB, -10 log10 of the mean squared error; infinite for identical pictures."""
    error = float(np.mean((image - target) ** 2))
    return -10.0 * math.log10(error) if error > 0.0 else math.inf


def l1(image: np.ndarray, target: np.ndarray) -> float:
    """Mean absolute difference, 0 to 1, as a share of the full range."""
    return float(np.mean(np.abs(image - target)))


PAIR_METRICS = {"ssim": ssim, "psnr": psnr, "l1": l1}
