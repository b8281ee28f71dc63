"""The kernel distance against hand computation, a naive double loop, and a closed form."""

import numpy as np
import pytest

from cut.metrics.kid import kernel_distance


def kernel(a, b):
    return (float(a @ b) / len(a) + 1.0) ** 3


def naive_mmd2(x, y):
    """Gretton et al. 2012, eq. 3, pair by pair."""
    within = [np.mean([kernel(a, b) for i, a in enumerate(s) for j, b in enumerate(s) if i != j]) for s in (x, y)]
    return sum(within) - 2.0 * np.mean([kernel(a, b) for a in x for b in y])


def test_two_vectors_each_give_the_number_computed_by_hand():
    # D = 2: k((1,1),(1,-1)) = 1; k((2,0),(0,0)) = 1; between: (1+1)^3, 1, (1+1)^3, 1 -> mean 4.5; 1 + 1 - 9 = -7
    x, y = np.array([[1.0, 1.0], [1.0, -1.0]]), np.array([[2.0, 0.0], [0.0, 0.0]])
    assert kernel_distance(x, y).mean == pytest.approx(-7.0, abs=1e-12)


def test_small_sets_equal_a_naive_double_loop_and_have_no_spread_over_subsets():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 5)), rng.normal(0.5, 1.2, size=(12, 5))
    result = kernel_distance(x, y)
    assert result.mean == pytest.approx(naive_mmd2(x, y), rel=1e-12)
    assert result.std == 0.0


def test_a_set_against_itself_is_below_zero_by_what_equal_pairs_add():
    x = np.random.default_rng(5).normal(size=(10, 3))
    assert kernel_distance(x, x).mean == pytest.approx(naive_mmd2(x, x), rel=1e-12)
    assert kernel_distance(x, x).mean < 0


def test_subsets_are_scored_one_by_one():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(9, 4)), rng.normal(0.5, 1.0, size=(7, 4))
    result = kernel_distance(x, y, num_subsets=5, subset_size=4, seed=3)
    draws = np.random.default_rng(3)  # the same subsets, drawn again
    of_x = [draws.choice(9, 4, replace=False) for _ in range(5)]
    of_y = [draws.choice(7, 4, replace=False) for _ in range(5)]
    values = [naive_mmd2(x[a], y[b]) for a, b in zip(of_x, of_y, strict=True)]
    assert (result.mean, result.std) == pytest.approx((np.mean(values), np.std(values)), rel=1e-10)


def test_the_estimate_is_unbiased_and_its_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(2)
    y = rng.normal(0.3, 1.0, size=(50, 1))
    within_y = np.mean([kernel(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
    # Over x of N(0, 1), whose moments are 0, 1, 0: E (x y + 1)^3 = 1 + 3 E x E y + 3 E x^2 E y^2 + E x^3 E y^3.
    truth = (1 + 3) + within_y - 2 * (1 + 3 * np.mean(y**2))
    results = [kernel_distance(rng.normal(size=(50, 1)), y) for _ in range(400)]
    values = [result.mean for result in results]
    assert np.mean(values) == pytest.approx(truth, abs=4 * np.std(values) / 20)
    hits = [abs(result.mean - truth) <= 1.96 * result.standard_error for result in results]
    assert 0.88 <= np.mean(hits) <= 0.98


def test_a_shift_raises_the_distance_to_its_closed_form():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(3000, 1)), rng.normal(1.0, 1.0, size=(3000, 1))
    # Moments of N(0, 1): 0, 1, 0; of N(1, 1): 1, 2, 4.
    expected = 3 * 1**2 + 3 * 1**2 + 4**2
    assert kernel_distance(x, y, num_subsets=20).mean == pytest.approx(expected, rel=0.2)
