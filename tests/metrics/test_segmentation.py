"""Scores of label maps against numbers computed by hand, FCN's own histogram, and all thresholds one by one."""

import numpy as np
import pytest

from cut.metrics.segmentation import (
    VOID,
    class_accuracy,
    class_iou,
    confusion,
    label_ranking,
    mean_average_precision,
    pixel_accuracy,
    probability_ranking,
)

TRUTH = np.array([[0, 0, 0, 0], [1, 1, 2, VOID]])
TAKEN = np.array([[0, 0, 1, 2], [1, 0, 2, 2]])
# Row: true class, column: taken for; last column: taken for void.
MATRIX = np.array([[2, 1, 1, 0], [1, 1, 0, 0], [0, 0, 1, 0]])


def test_pixels_are_counted_by_true_and_taken_class_and_void_counts_nowhere():
    np.testing.assert_array_equal(confusion(TRUTH, TAKEN, 3), MATRIX)


def test_the_three_scores_equal_those_computed_by_hand():
    assert pixel_accuracy(MATRIX) == pytest.approx(4 / 7)
    assert class_accuracy(MATRIX) == pytest.approx((2 / 4 + 1 / 2 + 1 / 1) / 3)
    assert class_iou(MATRIX) == pytest.approx((2 / 5 + 1 / 3 + 1 / 2) / 3)


def test_without_void_predictions_the_matrix_is_fcns_histogram():
    rng = np.random.default_rng(0)
    truth, taken = rng.choice([0, 1, 2, 3, 4, 255], size=(2, 30, 40))[0], rng.integers(0, 5, (30, 40))
    # Long et al., score.py: k = (a >= 0) & (a < n); bincount(n * a[k] + b[k], minlength=n**2)
    known = (truth >= 0) & (truth < 5)
    expected = np.bincount(5 * truth[known] + taken[known], minlength=25).reshape(5, 5)
    matrix = confusion(truth.astype(np.uint8), taken.astype(np.uint8), 5)
    np.testing.assert_array_equal(matrix[:, :5], expected)
    assert not matrix[:, 5].any()


def test_a_void_prediction_is_a_miss_of_the_true_class_and_of_no_other():
    matrix = confusion(np.array([0, 0, 1]), np.array([0, VOID, 1]), 2)
    assert pixel_accuracy(matrix) == pytest.approx(2 / 3)
    assert class_accuracy(matrix) == pytest.approx((1 / 2 + 1) / 2)
    assert class_iou(matrix) == pytest.approx((1 / 2 + 1) / 2)


def test_absent_classes_are_left_out_of_means_but_wrongly_predicted_ones_are_in_the_iou():
    matrix = confusion(np.array([0, 0, 0, 0]), np.array([0, 0, 0, 1]), 3)
    assert class_accuracy(matrix) == pytest.approx(3 / 4)
    assert class_iou(matrix) == pytest.approx((3 / 4 + 0) / 2)  # class 1 was predicted, class 2 never


def test_perfect_labels_get_one_everywhere():
    matrix = confusion(TRUTH, TRUTH, 3)
    scores = [f(matrix) for f in (pixel_accuracy, class_accuracy, class_iou)]
    assert [*scores, mean_average_precision(label_ranking(matrix))] == [1.0] * 4


def test_pictures_of_nothing_but_void_have_no_score():
    assert np.isnan(pixel_accuracy(confusion(np.full(4, VOID), np.zeros(4, int), 3)))


def test_average_precision_of_decoded_labels_is_computed_by_hand():
    # Class 0: P 2/3, R 2/4, share 4/7; class 1: P 1/2, R 1/2, share 2/7; class 2: P 1/2, R 1, share 1/7.
    expected = (2 / 3 * 1 / 2 + 1 / 2 * 4 / 7 + 1 / 2 * 1 / 2 + 1 / 2 * 2 / 7 + 1 / 2) / 3
    assert mean_average_precision(label_ranking(MATRIX)) == pytest.approx(expected)


def test_average_precision_of_probabilities_equals_the_sum_over_all_thresholds():
    rng = np.random.default_rng(1)
    truth = rng.choice([0, 1, 2, VOID], size=(8, 9))
    # Log odds on the grid of ranks, so that none are merged; many are equal.
    log_odds = rng.integers(-20, 20, size=(3, 8, 9)) / 16 + np.eye(4)[np.minimum(truth, 3)].transpose(2, 0, 1)[:3]
    values = []
    for number in range(3):
        scores, right = log_odds[number][truth != VOID], truth[truth != VOID] == number
        precision, recall = [], [0.0]
        for threshold in sorted(set(scores), reverse=True):
            precision.append(right[scores >= threshold].mean())
            recall.append(right[scores >= threshold].sum() / right.sum())
        values.append(np.sum(np.diff(recall) * precision))
    ranking = probability_ranking(truth, log_odds)
    assert mean_average_precision(ranking) == pytest.approx(np.mean(values), rel=1e-12)


def test_surer_right_pixels_raise_average_precision_though_no_label_changes():
    truth = np.array([[0, 0, 1, 1]])
    sure, unsure = np.array([[3.0, 3.0, -3.0, 1.0]]), np.array([[3.0, 0.5, -3.0, 1.0]])  # the last pixel is wrong
    values = [mean_average_precision(probability_ranking(truth, np.stack([odds, -odds]))) for odds in (sure, unsure)]
    assert values[0] > values[1]


def test_probabilities_that_round_to_one_are_ranked_and_infinite_odds_are_the_outermost():
    truth = np.array([[0, 1, 0, 1]])
    odds = np.array([[np.inf, 14.0, 15.0, -np.inf]])
    assert mean_average_precision(probability_ranking(truth, np.stack([odds, -odds]))) == 1.0
