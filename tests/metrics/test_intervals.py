"""Intervals of 95 % where the truth is known."""

import numpy as np
import pytest

from cut.metrics.intervals import bootstrap_interval, normal_interval


def test_the_interval_of_a_mean_is_that_of_the_normal_law_for_many_values():
    values = np.random.default_rng(0).normal(3.0, 2.0, size=900)
    low, high = bootstrap_interval(values)
    expected = normal_interval(values.mean(), values.std() / 30)
    assert (low, high) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(("count", "lowest"), [(10, 0.83), (50, 0.88)])
def test_the_true_mean_is_covered_about_as_often_as_promised(count, lowest):
    rng = np.random.default_rng(1)
    ends = [bootstrap_interval(rng.normal(size=count)) for _ in range(100)]
    assert lowest <= np.mean([low <= 0 <= high for low, high in ends]) <= 0.98


def test_rows_are_drawn_together_and_the_statistic_is_of_their_mean():
    # Numerator and denominator of a ratio that is 2 in every picture: resampling them apart would spread it.
    counts = np.random.default_rng(2).integers(1, 9, size=30).astype(float)
    low, high = bootstrap_interval(np.stack([2 * counts, counts], axis=1), lambda mean: mean[0] / mean[1])
    assert (low, high) == pytest.approx((2.0, 2.0))


def test_the_same_values_give_the_same_interval():
    values = np.random.default_rng(3).random(20)
    assert bootstrap_interval(values) == bootstrap_interval(values)
