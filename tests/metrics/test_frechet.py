"""The Frechet distance against closed forms, scipy's matrix square root, and singular values of the features."""

import time

import numpy as np
import pytest
from scipy.linalg import sqrtm

from cut.metrics.fid import feature_statistics, frechet_distance, frechet_standard_error


def random_rotation(rng, size):
    return np.linalg.qr(rng.normal(size=(size, size)))[0]


def random_covariance(rng, size):
    factor = rng.normal(size=(size, 3 * size))
    return factor @ factor.T / (3 * size)


def distance_by_singular_values(x, y):
    """Exact for any number of samples: tr (S1 S2)^(1/2) is the sum of the singular values of X Y^T, centred, scaled."""
    x_centred, y_centred = ((a - a.mean(0)) / np.sqrt(len(a) - 1) for a in (x, y))
    shift = np.sum((x.mean(0) - y.mean(0)) ** 2)
    root = np.linalg.svd(x_centred @ y_centred.T, compute_uv=False).sum()
    return shift + np.sum(x_centred**2) + np.sum(y_centred**2) - 2 * root


def test_equal_statistics_are_at_distance_zero():
    rng = np.random.default_rng(0)
    mean, covariance = rng.normal(size=20), random_covariance(rng, 20)
    assert frechet_distance(mean, covariance, mean, covariance) == pytest.approx(0.0, abs=1e-12)


def test_isotropic_gaussians_follow_the_closed_form():
    # |m1 - m2|^2 + D (s1 - s2)^2, with s the standard deviations 2 and 3
    distance = frechet_distance(np.zeros(5), 4 * np.eye(5), np.ones(5), 9 * np.eye(5))
    assert distance == pytest.approx(5 + 5 * (2 - 3) ** 2)


@pytest.mark.parametrize("span", [2, 6, 12])
def test_commuting_covariances_follow_the_closed_form_however_ill_conditioned(span):
    rotation = random_rotation(np.random.default_rng(1), 64)
    values1, values2 = 10.0 ** -np.linspace(0, span, 64), 10.0 ** -np.linspace(span, 0, 64)
    covariances = ((rotation * values) @ rotation.T for values in (values1, values2))
    distance = frechet_distance(np.zeros(64), next(covariances), np.zeros(64), next(covariances))
    # A root of rounding (1e-16) is 1e-8, at most 64 of which add up.
    assert distance == pytest.approx(np.sum((np.sqrt(values1) - np.sqrt(values2)) ** 2), abs=1e-6)


def test_well_conditioned_covariances_agree_with_scipys_matrix_square_root():
    rng = np.random.default_rng(2)
    mean1, mean2 = rng.normal(size=(2, 30))
    cov1, cov2 = random_covariance(rng, 30), random_covariance(rng, 30)
    expected = np.sum((mean1 - mean2) ** 2) + np.trace(cov1 + cov2 - 2 * sqrtm(cov1 @ cov2).real)
    assert frechet_distance(mean1, cov1, mean2, cov2) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("num_x", "num_y"), [(12, 12), (10, 50), (50, 10), (2, 400)])
def test_fewer_samples_than_features_give_the_exact_distance(num_x, num_y):
    rng = np.random.default_rng(3)
    decay = np.exp(-np.linspace(0, 6, 256))
    x, y = rng.normal(size=(num_x, 256)) * decay, rng.normal(0.3, size=(num_y, 256)) * decay
    distance = frechet_distance(*feature_statistics([x]), *feature_statistics([y]))
    assert distance == pytest.approx(distance_by_singular_values(x, y), rel=1e-6)


def test_the_distance_is_symmetric_in_its_arguments():
    rng = np.random.default_rng(4)
    x, y = feature_statistics([rng.normal(size=(40, 64))]), feature_statistics([rng.normal(1, size=(100, 64))])
    assert frechet_distance(*x, *y) == pytest.approx(frechet_distance(*y, *x), rel=1e-6)


def test_sets_of_one_repeated_vector_are_as_far_apart_as_their_vectors():
    x, y = feature_statistics([np.zeros((3, 4))]), feature_statistics([np.ones((5, 4))])
    assert frechet_distance(*x, *y) == 4.0


def test_a_set_further_away_gets_a_greater_distance():
    rng = np.random.default_rng(5)
    target = feature_statistics([rng.normal(size=(200, 8))])
    distances = [
        frechet_distance(*feature_statistics([rng.normal(shift, size=(200, 8))]), *target) for shift in (0, 0.5, 1, 2)
    ]
    assert distances == sorted(distances)


@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_statistics_do_not_depend_on_batches_even_far_from_zero(batch_size):
    # float32 in, as networks give it; the mean is 1e4 standard deviations away, where sums of squares lose 8 digits
    features = np.random.default_rng(6).normal(1e4, 1.0, size=(100, 6)).astype(np.float32)
    batches = (features[start : start + batch_size] for start in range(0, 100, batch_size))
    mean, covariance = feature_statistics(batches)
    np.testing.assert_allclose(mean, features.astype(np.float64).mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(covariance, np.cov(features.astype(np.float64), rowvar=False), rtol=0, atol=1e-10)


def frechet_by_scipy(x, mean2, cov2):
    mean1, cov1 = x.mean(axis=0), np.cov(x, rowvar=False)
    return np.sum((mean1 - mean2) ** 2) + np.trace(cov1 + cov2 - 2 * sqrtm(cov1 @ cov2).real)


def test_the_standard_error_follows_the_closed_form_in_one_dimension():
    # d^2 = (m1 - m2)^2 + (s1 - s2)^2, whose derivative by the weight of x is 2 (m1 - m2) z + (1 - s2 / s1) z^2
    x = np.random.default_rng(7).normal(1.0, 2.0, size=(50, 1))
    z = x - x.mean()
    influence = 2 * (x.mean() - 3.0) * z + (1 - 5.0 / x.std(ddof=1)) * z**2
    error = frechet_standard_error(x, np.array([3.0]), np.array([[25.0]]))
    assert error == pytest.approx(influence.std(ddof=1) / 50**0.5, rel=1e-10)


def test_the_standard_error_is_the_derivative_by_the_weights_of_the_pictures():
    rng = np.random.default_rng(8)
    x, cov2 = rng.normal(size=(40, 4)), random_covariance(rng, 4)
    leaving_out = [frechet_by_scipy(np.delete(x, i, axis=0), np.zeros(4), cov2) for i in range(40)]
    jackknife = np.sqrt(39) * np.std(leaving_out)  # Tukey's, which takes differences for derivatives
    assert frechet_standard_error(x, np.zeros(4), cov2) == pytest.approx(jackknife, rel=0.1)


@pytest.mark.parametrize(("count", "width", "lowest"), [(300, 4, 0.9), (60, 100, 0.85)])
def test_the_interval_covers_the_expected_distance_of_as_many_pictures(count, width, lowest):
    rng = np.random.default_rng(9)
    scale, target = np.linspace(1.0, 0.2, width), (np.full(width, 0.1), np.diag(np.linspace(0.8, 0.3, width) ** 2))
    draws = [rng.normal(size=(count, width)) * scale for _ in range(200)]
    distances = [frechet_distance(*feature_statistics([x]), *target) for x in draws]
    errors = [frechet_standard_error(x, *target) for x in draws]
    hits = [abs(d - np.mean(distances)) <= 1.96 * e for d, e in zip(distances, errors, strict=True)]
    assert lowest <= np.mean(hits)
    assert np.mean(errors) < 2 * np.std(distances)  # nor is it wide for nothing
    # Not of infinitely many: the bias, which the docstring tells, is greater than the error where they are few.
    truth = np.sum(0.1**2 + (scale - np.linspace(0.8, 0.3, width)) ** 2)
    if count < width:
        assert np.mean(distances) - truth > 2 * np.mean(errors)


@pytest.mark.slow  # a matter of seconds, but of a quiet machine too
def test_the_distance_of_2048_features_takes_less_than_two_seconds():
    rng = np.random.default_rng(10)
    statistics = [feature_statistics([rng.normal(shift, size=(3000, 2048))]) for shift in (0.0, 0.1)]
    start = time.perf_counter()
    frechet_distance(*statistics[0], *statistics[1])
    assert time.perf_counter() - start < 2.0
