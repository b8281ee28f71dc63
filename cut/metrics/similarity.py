"""Scores of one picture against its partner, both float `(H, W, C)` in [0, 1]: the full range of their depth."""

import math

import numpy as np

from cut.errors import UserError
from cut.metrics.patches import swd

SSIM_WINDOW_PX = 11
_SIGMA_PX = 1.5
_C1, _C2 = 0.01**2, 0.03**2  # (K1 L)^2 and (K2 L)^2 for pictures of range L = 1
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
# The coarsest scale, halved four times with odd sides rounded up, must hold a window.
MS_SSIM_SMALLEST_PX = (SSIM_WINDOW_PX - 1) * 2 ** (len(_SCALE_WEIGHTS) - 1) + 1


def ssim(image: np.ndarray, target: np.ndarray) -> float:
    """Structural similarity, at most 1 (Wang et al., IEEE TIP 2004, with their Gaussian window of 11 px, sigma 1.5).

    K1 0.01, K2 0.03, population covariance, the mean over pixels (5 px of border left out) and channels.

    Raises:
        UserError: The picture is smaller than the window.
    """
    if min(image.shape[:2]) < SSIM_WINDOW_PX:
        height, width = image.shape[:2]
        raise UserError(
            f"picture of {width}x{height} px is smaller than ssim's window of {SSIM_WINDOW_PX} px; leave ssim out"
        )
    from skimage.metrics import structural_similarity  # here, because it is slow to import

    settings = {"gaussian_weights": True, "sigma": _SIGMA_PX, "use_sample_covariance": False}
    return float(structural_similarity(image, target, data_range=1.0, channel_axis=-1, **settings))


def psnr(image: np.ndarray, target: np.ndarray) -> float:
    """Peak signal to noise ratio in dB, -10 log10 of the mean squared error; infinite for identical pictures."""
    error = float(np.mean((image - target) ** 2))
    return -10.0 * math.log10(error) if error > 0.0 else math.inf


def l1(image: np.ndarray, target: np.ndarray) -> float:
    """Mean absolute difference, 0 to 1, as a share of the full range."""
    return float(np.mean(np.abs(image - target)))


def ms_ssim(image: np.ndarray, target: np.ndarray) -> float:
    """SSIM over five scales, 0 to 1: Wang, Simoncelli & Bovik, Asilomar 2003, eq. 7, with their weights.

    The product over scales of the mean contrast and structure, and of the mean SSIM on the coarsest, each to the power
    of its weight; per channel, then averaged. The windows lie wholly inside, as for `ssim`. Each scale is the mean of
    2 x 2 pixels of the one before; an odd last row or column is repeated. Means below 0 count as 0.

    Raises:
        UserError: A side of the picture is shorter than 161 px.
    """
    height, width, _ = image.shape
    if min(height, width) < MS_SSIM_SMALLEST_PX:
        raise UserError(
            f"picture of {width}x{height} px is smaller than the {MS_SSIM_SMALLEST_PX} px that ms_ssim needs for its "
            "five scales; leave ms_ssim out"
        )
    product = 1.0
    for scale, weight in enumerate(_SCALE_WEIGHTS):
        if scale:
            image, target = _halve(image), _halve(target)
        luminance, structure = _ssim_parts(image, target)
        coarsest = scale == len(_SCALE_WEIGHTS) - 1
        mean = np.mean(luminance * structure if coarsest else structure, axis=(0, 1))  # (C,)
        product = product * mean.clip(min=0.0) ** weight
    return float(np.mean(product))


def _ssim_parts(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Luminance, and contrast times structure, of each window: `(H - 10, W - 10, C)` each."""
    mean_x, mean_y = _window_means(x), _window_means(y)
    var_x, var_y = _window_means(x * x) - mean_x**2, _window_means(y * y) - mean_y**2
    covariance = _window_means(x * y) - mean_x * mean_y
    luminance = (2.0 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    return luminance, (2.0 * covariance + _C2) / (var_x + var_y + _C2)


def _window_means(x: np.ndarray) -> np.ndarray:
    """Means under the Gaussian window, where it fits: `(H, W, C)` -> `(H - 10, W - 10, C)`."""
    from scipy.ndimage import correlate1d  # here, because it is slow to import

    reach = SSIM_WINDOW_PX // 2
    window = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2.0 * _SIGMA_PX**2))
    means = correlate1d(correlate1d(x, window / window.sum(), axis=0), window / window.sum(), axis=1)
    return means[reach:-reach, reach:-reach]


def _halve(x: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels: `(H, W, C)` -> `(ceil(H / 2), ceil(W / 2), C)`."""
    x = np.pad(x, [(0, x.shape[0] % 2), (0, x.shape[1] % 2), (0, 0)], mode="edge")
    return (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4.0


PAIR_METRICS = {"ssim": ssim, "psnr": psnr, "l1": l1, "ms_ssim": ms_ssim, "swd": swd}
