"""SSIM, PSNR and L1 against numbers computed by hand; MS-SSIM also against another implementation."""

import math

import numpy as np
import pytest

from cut.errors import UserError
from cut.metrics.similarity import l1, ms_ssim, psnr, ssim


def random_picture(seed=0, channels=3):
    return np.random.default_rng(seed).random((24, 20, channels))


def test_identical_pictures_get_the_best_scores():
    picture = random_picture()
    assert ssim(picture, picture) == pytest.approx(1.0, abs=1e-12)
    assert psnr(picture, picture) == math.inf
    assert l1(picture, picture) == 0.0


def test_a_constant_difference_gives_scores_known_in_closed_form():
    dark, bright = np.full((16, 16, 3), 0.25), np.full((16, 16, 3), 0.75)
    assert l1(dark, bright) == pytest.approx(0.5)
    assert psnr(dark, bright) == pytest.approx(-10 * math.log10(0.25))
    # Without variance the SSIM of flat pictures is its luminance term, with C1 = (0.01 * range)^2.
    assert ssim(dark, bright) == pytest.approx((2 * 0.25 * 0.75 + 1e-4) / (0.25**2 + 0.75**2 + 1e-4))


def test_black_against_white_is_an_l1_of_one_and_a_psnr_of_zero():
    black, white = np.zeros((11, 11, 1)), np.ones((11, 11, 1))
    assert (l1(black, white), psnr(black, white)) == (1.0, 0.0)


def test_ssim_follows_its_definition_over_a_gaussian_window():
    # An 11 x 11 picture has one window: Wang et al. 2004, eq. 13 to 16, with the window's own weights.
    x, y = np.random.default_rng(1).random((2, 11, 11))
    line = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2
    mean_x, mean_y = np.sum(window * x), np.sum(window * y)
    var_x, var_y = np.sum(window * (x - mean_x) ** 2), np.sum(window * (y - mean_y) ** 2)
    cov = np.sum(window * (x - mean_x) * (y - mean_y))
    c1, c2 = 0.01**2, 0.03**2
    expected = (2 * mean_x * mean_y + c1) * (2 * cov + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    assert ssim(x[..., None], y[..., None]) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("metric", [ssim, psnr, l1])
def test_a_grayscale_picture_scores_the_same_over_one_channel_and_over_three(metric):
    x, y = random_picture(0, channels=1), random_picture(1, channels=1)
    assert metric(x.repeat(3, axis=2), y.repeat(3, axis=2)) == pytest.approx(metric(x, y), rel=1e-12)


def test_better_pictures_get_better_scores():
    picture, noise = random_picture(), random_picture(1) - 0.5
    noisy = [picture + strength * noise for strength in (0.1, 0.3, 0.9)]
    assert [ssim(n, picture) for n in noisy] == sorted((ssim(n, picture) for n in noisy), reverse=True)
    assert [psnr(n, picture) for n in noisy] == sorted((psnr(n, picture) for n in noisy), reverse=True)
    assert [l1(n, picture) for n in noisy] == sorted(l1(n, picture) for n in noisy)


def test_a_picture_below_the_ssim_window_is_a_users_mistake():
    with pytest.raises(UserError, match="picture of 30x10 px is smaller than ssim's window of 11 px; leave ssim out"):
        ssim(np.zeros((10, 30, 3)), np.zeros((10, 30, 3)))


def striped_pictures(height, width):
    """A picture and a fainter one with stripes, from formulas."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (7 + 3 * c) + y / (11 + 2 * c)) * np.cos(x * y / (900 + 100 * c)) for c in range(3)]
    picture = 0.5 + 0.5 * np.stack(waves, axis=-1)
    return picture, np.clip(picture * 0.8 + 0.1 + 0.15 * np.sin(x / 2 + y / 3)[..., None], 0, 1)


# pytorch-msssim 1.0.0: ms_ssim(..., data_range=1.0) in float64; its window is rounded to float32.
@pytest.mark.parametrize(("size", "expected"), [((176, 192), 0.7827436322), ((256, 256), 0.8119240602)])
def test_ms_ssim_equals_pytorch_msssim(size, expected):
    assert ms_ssim(*striped_pictures(*size)) == pytest.approx(expected, abs=2e-6)


def test_ms_ssim_of_a_constant_difference_is_the_luminance_of_the_coarsest_scale():
    dark, bright = np.full((161, 161, 1), 0.25), np.full((161, 161, 1), 0.75)
    luminance = (2 * 0.25 * 0.75 + 1e-4) / (0.25**2 + 0.75**2 + 1e-4)
    assert ms_ssim(dark, bright) == pytest.approx(luminance**0.1333, rel=1e-9)


def test_ms_ssim_of_a_picture_and_its_negative_is_zero_not_nan():
    picture = striped_pictures(161, 170)[0]
    assert ms_ssim(picture, 1 - picture) == 0.0


def test_a_picture_too_small_for_five_scales_is_a_users_mistake():
    with pytest.raises(UserError, match="picture of 200x160 px is smaller than the 161 px that ms_ssim needs"):
        ms_ssim(np.zeros((160, 200, 3)), np.zeros((160, 200, 3)))
