"""Classification measures against scikit-learn, brute force from the definitions, and simulated truths."""

import numpy as np
import pytest
from sklearn import metrics
from sklearn.linear_model import LogisticRegression

from readingroom.evaluation import classification as c


def cases(n: int = 200, seed: int = 0, ties: bool = True) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.random(n) < 0.35
    score = random.normal(size=n) + truth
    return truth, np.round(score, 1) if ties else score


@pytest.mark.parametrize("ties", [True, False])
def test_curves_and_areas_are_scikit_learns(ties: bool) -> None:
    truth, score = cases(ties=ties)
    fpr, tpr, _ = metrics.roc_curve(truth, score, drop_intermediate=False)
    curve = c.roc_curve(truth, score)
    np.testing.assert_allclose(curve.x, fpr)
    np.testing.assert_allclose(curve.y, tpr)
    assert c.auc(truth, score) == pytest.approx(metrics.roc_auc_score(truth, score))
    assert c.average_precision(truth, score) == pytest.approx(metrics.average_precision_score(truth, score))
    assert c.brier(truth, 1 / (1 + np.exp(-score))) == pytest.approx(
        metrics.brier_score_loss(truth, 1 / (1 + np.exp(-score)))
    )


def delong_variance_from_the_definition(truth: np.ndarray, score: np.ndarray) -> float:
    pairs = (score[truth][:, None] > score[~truth][None]) + 0.5 * (score[truth][:, None] == score[~truth][None])
    return float(np.var(pairs.mean(axis=1), ddof=1) / truth.sum() + np.var(pairs.mean(axis=0), ddof=1) / (~truth).sum())


def test_delong_is_its_definition_and_covers() -> None:
    truth, score = cases()
    found = c.delong(truth, score)
    spread = delong_variance_from_the_definition(truth, score) ** 0.5
    on_logit = 1.959964 * spread / (found.value * (1 - found.value))
    middle = np.log(found.value / (1 - found.value))
    assert found.low == pytest.approx(1 / (1 + np.exp(-(middle - on_logit))), rel=1e-6)
    assert found.high == pytest.approx(1 / (1 + np.exp(-(middle + on_logit))), rel=1e-6)
    # Two normals one SD apart: the true area is Phi(1 / sqrt 2) = 0.7602.
    inside = 0
    for seed in range(300):
        estimate = c.delong(*cases(120, seed, ties=False))
        inside += bool(estimate.low <= 0.76025 <= estimate.high)
    assert 0.92 <= inside / 300 <= 0.98


def test_delong_at_the_ends() -> None:
    truth = np.array([0] * 10 + [1] * 5)
    found = c.delong(truth, truth.astype(float))
    assert found.value == found.high == 1
    assert found.low == pytest.approx(0.025 ** (1 / 5))
    assert c.delong(truth, -truth.astype(float)).high == pytest.approx(1 - 0.025 ** (1 / 5))
    assert c.delong(np.array([1, 0, 0]), np.array([1.0, 2, 0])).low is None


def test_the_difference_of_two_areas_is_calibrated_and_sees_a_difference() -> None:
    low = 0
    for seed in range(300):
        random = np.random.default_rng(seed)
        truth = np.arange(100) < 40
        shared = random.normal(size=100) + truth
        first, second = shared + random.normal(size=100), shared + random.normal(size=100)
        low += c.delong_difference(truth, first, second).p < 0.05
    assert 0.02 <= low / 300 <= 0.09
    truth, score = cases(400, 5)
    worse = score + np.random.default_rng(6).normal(0, 2, 400)
    found = c.delong_difference(truth, score, worse)
    assert found.p < 0.001
    assert found.difference.low is not None
    assert found.difference.low > 0
    same = c.delong_difference(truth, score, score)
    assert (same.difference.value, same.p) == (0, 1)


def test_matching_takes_a_confounder_away() -> None:
    random = np.random.default_rng(3)
    stratum = random.integers(0, 5, 1000)
    truth = random.random(1000) < stratum / 6 + 0.1
    score = stratum + random.random(1000) * 0.5
    assert c.auc(truth, score) > 0.75
    assert c.matched_auc(truth, score, stratum) == pytest.approx(0.5, abs=0.04)
    with pytest.raises(ValueError, match="no stratum"):
        c.matched_auc(np.array([0, 1]), np.array([0.0, 1]), np.array([0, 1]))


def test_operating_point_counts() -> None:
    truth = np.array([1, 1, 1, 0, 0, 0, 0, 0])
    score = np.array([0.9, 0.5, 0.2, 0.6, 0.5, 0.1, 0.1, 0.1])
    found = c.at_operating_point(truth, score, 0.5)
    assert found.sensitivity.value == pytest.approx(2 / 3)
    assert found.specificity.value == pytest.approx(3 / 5)
    assert found.positive_predictive_value is not None
    assert found.positive_predictive_value.value == pytest.approx(0.5)
    assert found.negative_predictive_value is not None
    assert found.negative_predictive_value.value == pytest.approx(3 / 4)
    assert c.at_operating_point(truth, score, 2.0).positive_predictive_value is None


def test_calibration_is_a_logistic_regression_and_finds_a_planted_slope() -> None:
    random = np.random.default_rng(8)
    logit = random.normal(0, 1.5, 4000)
    truth = random.random(4000) < 1 / (1 + np.exp(-logit))
    right = c.calibration(truth, 1 / (1 + np.exp(-logit)))
    assert (right.slope, right.intercept, right.in_the_large) == pytest.approx((1, 0, 0), abs=0.12)
    over = c.calibration(truth, 1 / (1 + np.exp(-2 * logit)))
    assert over.slope == pytest.approx(right.slope / 2, rel=1e-4)
    reference = LogisticRegression(C=1e12, tol=1e-10).fit(logit[:, None], truth)
    assert right.slope == pytest.approx(float(reference.coef_[0, 0]), rel=1e-4)
    assert right.intercept == pytest.approx(float(reference.intercept_[0]), abs=1e-4)
    with pytest.raises(ValueError, match="separated"):
        c.calibration(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9]))


def test_reliability_bins_hold_everybody_once() -> None:
    random = np.random.default_rng(9)
    p = np.round(random.random(500), 2)
    truth = random.random(500) < p
    bins = c.reliability(truth, p)
    assert sum(b.observed.n for b in bins) == 500
    assert [b.mean_probability for b in bins] == sorted(b.mean_probability for b in bins)
    assert c.expected_calibration_error(truth, p) < 0.08
    assert c.expected_calibration_error(truth, p * 0 + 0.9) == pytest.approx(0.9 - truth.mean())


def test_recalibration_for_prevalence() -> None:
    # Bayes: odds 1 at 50 % become odds 1/9 at 10 %.
    assert c.recalibrated(np.array([0.5]), 0.5, 0.1)[0] == pytest.approx(0.1)
    p = np.array([0.01, 0.4, 0.99])
    np.testing.assert_allclose(c.recalibrated(c.recalibrated(p, 0.3, 0.05), 0.05, 0.3), p, rtol=1e-5)
    with pytest.raises(ValueError, match="prevalence"):
        c.recalibrated(p, 0.3, 1.0)


def test_one_class_or_a_missing_score_is_refused() -> None:
    for truth, score in (([1, 1], [0.1, 0.2]), ([0, 1], [np.nan, 0.2]), ([0, 1], [0.1])):
        with pytest.raises(ValueError, match=r"."):
            c.auc(np.array(truth), np.array(score))
