"""The sliced Wasserstein distance of patches."""

import numpy as np
import pytest

from cut.errors import UserError
from cut.metrics.patches import swd


def random_picture(seed, size=48):
    return np.random.default_rng(seed).random((size, size + 4, 3))


def test_equal_patches_are_at_no_distance_wherever_they_lie():
    picture = random_picture(0)
    assert swd(picture, picture) == 0.0
    stripes = np.tile(np.linspace(0, 1, 4)[None, :, None], (40, 11, 3))
    moved = np.roll(stripes, 2, axis=1)  # every pixel is another, the patches are nearly all the same
    assert np.abs(moved - stripes).mean() > 0.4 and swd(moved, stripes) < 0.02


def test_a_uniform_difference_is_found_along_each_direction():
    dark, bright = np.full((16, 16, 3), 0.25), np.full((16, 16, 3), 0.75)
    directions = np.random.default_rng(0).standard_normal((147, 256))
    directions /= np.linalg.norm(directions, axis=0)
    assert swd(dark, bright) == pytest.approx(np.abs(0.5 * directions.sum(axis=0)).mean())


def test_it_equals_scipys_distance_along_each_direction():
    from scipy.stats import wasserstein_distance  # here, because it takes long

    one, other = random_picture(1, 9), random_picture(2, 9) ** 2
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((147, 256))
    directions /= np.linalg.norm(directions, axis=0)

    def patches(picture):
        rows, columns = (side - 6 for side in picture.shape[:2])
        return np.array(
            [picture[i : i + 7, j : j + 7].transpose(2, 0, 1).ravel() for i in range(rows) for j in range(columns)]
        )

    expected = [wasserstein_distance(patches(one) @ d, patches(other) @ d) for d in directions.T]
    assert swd(one, other) == pytest.approx(np.mean(expected))  # a second scale would be smaller than a patch


def test_another_texture_and_other_colours_are_both_seen():
    picture = random_picture(3)
    smooth = np.full_like(picture, picture.mean())
    assert swd(picture, smooth) > 10 * swd(picture, random_picture(4))
    assert swd(picture, picture[..., ::-1] * [1.0, 0.5, 0.5]) > 10 * swd(picture, random_picture(4))
    with pytest.raises(UserError, match=r"6x8 px is smaller than swd's patches of 7 px"):
        swd(np.zeros((8, 6, 3)), np.zeros((8, 6, 3)))
