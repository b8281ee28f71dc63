"""Precision, recall, density and coverage: sets whose balls are drawn by hand, and all distances one by one."""

import numpy as np
import pytest

from cut.metrics.manifold import MANIFOLD_METRICS, coverage, density, precision, recall


def test_points_on_a_line_give_the_values_computed_by_hand():
    target = np.array([[0.0], [1.0], [3.0], [7.0]])  # k = 1: radii 1, 1, 2, 4
    generated = np.array([[0.5], [4.5], [20.0]])  # k = 1: radii 4, 4, 15.5
    # 0.5 lies in the balls of 0 and 1, 4.5 in those of 3 and 7, 20 in none.
    assert precision(generated, target, k=1).tolist() == [1, 1, 0]
    assert density(generated, target, k=1).tolist() == [2, 2, 0]
    assert coverage(generated, target, k=1).tolist() == [1, 1, 1, 1]
    assert recall(generated, target, k=1).tolist() == [1, 1, 1, 1]
    assert recall(generated[:2], target, k=1).tolist() == [1, 1, 1, 1]
    assert coverage(generated[1:], target, k=1).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("name", MANIFOLD_METRICS)
def test_random_sets_equal_a_loop_over_all_pairs(name, monkeypatch):
    monkeypatch.setattr("cut.metrics.manifold._ENTRIES", 200)  # so that there are several blocks
    rng = np.random.default_rng(0)
    generated, target = rng.normal(1.5, 1.0, size=(30, 3)), rng.normal(size=(25, 3))
    points, centres = (target, generated) if name == "recall" else (generated, target)
    k = 3 if name in ("precision", "recall") else 5
    radii = [sorted(np.linalg.norm(centres - c, axis=1))[k] for c in centres]
    inside = np.array([[np.linalg.norm(p - c) <= r for c, r in zip(centres, radii, strict=True)] for p in points])
    expected = {
        "precision": inside.any(axis=1),
        "recall": inside.any(axis=1),
        "density": inside.sum(axis=1) / 5,
        "coverage": inside.any(axis=0),
    }[name]
    values = MANIFOLD_METRICS[name](generated, target)
    assert 0 < values.mean() and values.std() > 0
    np.testing.assert_array_equal(values, expected)


def test_a_set_against_itself_is_wholly_within_and_order_does_not_matter():
    features = np.random.default_rng(1).normal(50.0, 1.0, size=(40, 64))
    shuffled = np.random.default_rng(2).permutation(features)
    for name, metric in MANIFOLD_METRICS.items():
        # Each vector lies in its own ball and in those of which it is one of the k nearest: (k + 1) / k on average.
        assert metric(features, shuffled).mean() == pytest.approx(1.2 if name == "density" else 1.0), name


def test_few_kinds_of_good_pictures_have_precision_but_no_recall_and_noise_has_neither():
    rng = np.random.default_rng(3)
    target = rng.normal(size=(200, 4))
    few, far = target[:5].repeat(20, axis=0) + rng.normal(0, 0.01, size=(100, 4)), rng.normal(30, 1, size=(100, 4))
    assert precision(few, target).mean() == 1.0 and density(few, target).mean() > 0.9
    assert recall(few, target).mean() < 0.1 and coverage(few, target).mean() < 0.3
    assert [metric(far, target).mean() for metric in MANIFOLD_METRICS.values()] == [0, 0, 0, 0]


def test_one_outlier_among_the_targets_raises_precision_but_hardly_density():
    rng = np.random.default_rng(4)
    target, generated = rng.normal(size=(100, 2)), rng.normal(8, 0.5, size=(100, 2))
    with_outlier = np.vstack([target, [[30.0, 30.0]]])
    assert precision(generated, target).mean() == 0.0
    assert precision(generated, with_outlier).mean() == 1.0
    assert density(generated, with_outlier).mean() <= 0.2
