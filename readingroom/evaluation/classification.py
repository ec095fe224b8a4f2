"""Yes-or-no questions: ROC and precision-recall curves, DeLong's interval, fixed operating points, calibration.

``truth`` is ``(n,)`` of 0 and 1, ``score`` ``(n,)`` finite, higher meaning more likely. Functions that need both
classes raise ValueError where one is missing. Where a patient has several rows use ``bootstrap_rows``: DeLong's
variance holds for independent rows only.
"""

from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from readingroom.evaluation.estimate import LEVEL, Estimate, proportion

Z = float(stats.norm.ppf(0.5 + LEVEL / 2))


@dataclass(frozen=True, eq=False)
class Curve:
    """A curve as arrays of one length: ``x`` and ``y`` at each ``threshold`` (score >= threshold is positive)."""

    x: np.ndarray
    y: np.ndarray
    threshold: np.ndarray


def _checked(truth: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    truth, score = np.asarray(truth).astype(bool), np.asarray(score, float)
    if truth.shape != score.shape or truth.ndim != 1:
        raise ValueError("truth and score must be one-dimensional and of one length")
    if not np.isfinite(score).all():
        raise ValueError("a score is not a number")
    if truth.all() or not truth.any():
        raise ValueError("both positives and negatives are needed")
    return truth, score


def roc_curve(truth: np.ndarray, score: np.ndarray) -> Curve:
    """Return the ROC curve: x 1 - specificity, y sensitivity, from (0, 0) at an infinite threshold to (1, 1)."""
    truth, score = _checked(truth, score)
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    true, false = np.cumsum(truth[order])[ends], np.cumsum(~truth[order])[ends]
    return Curve(
        np.append(0.0, false / (~truth).sum()),
        np.append(0.0, true / truth.sum()),
        np.append(np.inf, score[order][ends]),
    )


def auc(truth: np.ndarray, score: np.ndarray) -> float:
    """Return the area under the ROC curve: the Mann-Whitney statistic, ties counting half (Hanley and McNeil 1982)."""
    truth, score = _checked(truth, score)
    ranks = stats.rankdata(score)
    n1, n0 = int(truth.sum()), int((~truth).sum())
    return float((ranks[truth].sum() - n1 * (n1 + 1) / 2) / (n1 * n0))


def _components(truth: np.ndarray, score: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """AUC and DeLong's structural components of positives (V10) and negatives (V01)."""
    positive, negative = score[truth], score[~truth]
    every = stats.rankdata(np.concatenate([positive, negative]))
    v10 = (every[: len(positive)] - stats.rankdata(positive)) / len(negative)
    v01 = 1 - (every[len(positive) :] - stats.rankdata(negative)) / len(positive)
    return float(v10.mean()), v10, v01


def delong(truth: np.ndarray, score: np.ndarray) -> Estimate:
    """Return the AUC with DeLong's interval (DeLong 1988, Biometrics 44:837), on the logit scale so that it stays in
    0..1.

    The logit transform is that of Pepe 2003, section 5.2.4. At an AUC of 0 or 1 the variance is 0 and says nothing: the
    interval then comes from the exact binomial bound of the smaller class (a rule of three).
    """
    truth, score = _checked(truth, score)
    area, v10, v01 = _components(truth, score)
    n1, n0 = len(v10), len(v01)
    if min(n1, n0) < 2:
        return Estimate(value=area, low=None, high=None, n=n1 + n0, method="DeLong: no interval, one case of a class")
    if area in (0.0, 1.0):
        bound = (0.5 * (1 - LEVEL)) ** (1 / min(n1, n0))
        low, high = (bound, 1.0) if area == 1.0 else (0.0, 1 - bound)
        return Estimate(value=area, low=low, high=high, n=n1 + n0, method="exact bound of the smaller class")
    spread = float(np.sqrt(v10.var(ddof=1) / n1 + v01.var(ddof=1) / n0)) / (area * (1 - area))
    logit = float(np.log(area / (1 - area)))
    low, high = (1 / (1 + np.exp(-(logit + side * Z * spread))) for side in (-1, 1))
    return Estimate(value=area, low=float(low), high=float(high), n=n1 + n0, method="DeLong, logit scale")


@dataclass(frozen=True)
class Difference:
    """Of two readers on the same cases: ``difference`` = first - second, ``z`` and two-sided ``p``."""

    difference: Estimate
    z: float
    p: float


def delong_difference(truth: np.ndarray, first: np.ndarray, second: np.ndarray) -> Difference:
    """Return the difference of two correlated AUCs (DeLong 1988). Rows must be independent."""
    truth, first = _checked(truth, first)
    _, second = _checked(truth, second)
    area1, a10, a01 = _components(truth, first)
    area2, b10, b01 = _components(truth, second)
    variance = float(np.var(a10 - b10, ddof=1) / len(a10) + np.var(a01 - b01, ddof=1) / len(a01))
    gap, spread = area1 - area2, variance**0.5
    if spread == 0:
        z, p = (0.0, 1.0) if gap == 0 else (float(np.copysign(np.inf, gap)), 0.0)
    else:
        z = gap / spread
        p = float(2 * stats.norm.sf(abs(z)))
    estimate = Estimate(value=gap, low=gap - Z * spread, high=gap + Z * spread, n=len(truth), method="DeLong, paired")
    return Difference(estimate, z, p)


def matched_auc(truth: np.ndarray, score: np.ndarray, stratum: np.ndarray) -> float:
    """Return the AUC over pairs of one ``stratum`` only (Janes and Pepe 2008, Biometrics 64:1): what a confounder
    can't give.

    Strata are weighted by their number of pairs; those of one class give none. Raises ValueError where none has both.
    """
    truth, score = _checked(truth, score)
    total, pairs = 0.0, 0
    for value in np.unique(stratum):
        here = np.asarray(stratum) == value
        n1 = int(truth[here].sum())
        n = n1 * (int(here.sum()) - n1)
        if n:
            total += auc(truth[here], score[here]) * n
            pairs += n
    if not pairs:
        raise ValueError("no stratum holds both positives and negatives")
    return total / pairs


def pr_curve(truth: np.ndarray, score: np.ndarray) -> Curve:
    """Return the precision-recall curve: x recall, y precision, one point a distinct score, highest first."""
    truth, score = _checked(truth, score)
    curve = roc_curve(truth, score)
    true, false = curve.y[1:] * truth.sum(), curve.x[1:] * (~truth).sum()
    return Curve(curve.y[1:], true / (true + false), curve.threshold[1:])


def average_precision(truth: np.ndarray, score: np.ndarray) -> float:
    """Return the sum over thresholds of precision times the step in recall (Davis and Goadrich 2006: no
    interpolation).
    """
    curve = pr_curve(truth, score)
    return float((np.diff(np.append(0.0, curve.x)) * curve.y).sum())


@dataclass(frozen=True)
class AtPoint:
    """What a fixed threshold gives. A predictive value is None where nothing was called that way."""

    threshold: float
    sensitivity: Estimate
    specificity: Estimate
    positive_predictive_value: Estimate | None
    negative_predictive_value: Estimate | None


def at_operating_point(truth: np.ndarray, score: np.ndarray, threshold: float) -> AtPoint:
    """Return the rates at a threshold that was fixed beforehand; ``score >= threshold`` is positive. Wilson
    intervals.
    """
    truth, score = _checked(truth, score)
    called = score >= threshold
    tp, fp = int((called & truth).sum()), int((called & ~truth).sum())
    fn, tn = int(truth.sum()) - tp, int((~truth).sum()) - fp
    return AtPoint(
        threshold,
        proportion(tp, tp + fn),
        proportion(tn, tn + fp),
        proportion(tp, tp + fp) if tp + fp else None,
        proportion(tn, tn + fn) if tn + fn else None,
    )


def brier(truth: np.ndarray, probability: np.ndarray) -> float:
    """Return the mean squared error of a probability (Brier 1950)."""
    return float(np.mean((np.asarray(probability, float) - np.asarray(truth, float)) ** 2))


@dataclass(frozen=True)
class CalibrationLine:
    """``slope`` and ``intercept`` of a logistic regression of truth on the logit; ``in_the_large``: intercept at slope
    1.

    A perfect model has 1, 0 and 0; a slope below 1 is overconfidence (Cox 1958; Van Calster 2019, BMC Medicine 17:230).
    """

    slope: float
    intercept: float
    in_the_large: float


def logit(probability: np.ndarray) -> np.ndarray:
    """Return log-odds; probabilities are kept 1e-7 away from 0 and 1."""
    p = np.clip(np.asarray(probability, float), 1e-7, 1 - 1e-7)
    return np.log(p / (1 - p))


def calibration(truth: np.ndarray, probability: np.ndarray) -> CalibrationLine:
    """Return calibration slope, intercept and calibration in the large, by maximum likelihood.

    Raises ValueError where truth and probability are perfectly separated: no finite slope exists.
    """
    truth, probability = _checked(truth, probability)
    x, y = logit(probability), truth.astype(float)
    if x[truth].min() > x[~truth].max() or x[truth].max() < x[~truth].min():
        raise ValueError("the classes are perfectly separated: there is no finite calibration slope")

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        z = w[0] + w[1] * x
        error = 1 / (1 + np.exp(-z)) - y
        return float(np.logaddexp(0, z).sum() - y @ z), np.array([error.sum(), error @ x])

    fitted = optimize.minimize(loss, np.array([0.0, 1.0]), jac=True, method="BFGS", options={"gtol": 1e-9}).x
    large = optimize.brentq(lambda a: float((1 / (1 + np.exp(-(a + x))) - y).sum()), -50, 50)
    return CalibrationLine(float(fitted[1]), float(fitted[0]), float(large))


@dataclass(frozen=True)
class Bin:
    """One bar of a reliability plot: mean probability against the observed share, with Wilson's interval."""

    mean_probability: float
    observed: Estimate


def reliability(truth: np.ndarray, probability: np.ndarray, bins: int = 10) -> tuple[Bin, ...]:
    """Return at most ``bins`` equally filled bins in order of probability; equal probabilities stay together."""
    truth, probability = np.asarray(truth).astype(bool), np.asarray(probability, float)
    if not len(truth):
        raise ValueError("no case")
    edges = np.unique(np.quantile(probability, np.linspace(0, 1, bins + 1)[1:-1]))
    place = np.searchsorted(edges, probability, side="right")
    return tuple(
        Bin(float(probability[place == n].mean()), proportion(int(truth[place == n].sum()), int((place == n).sum())))
        for n in np.unique(place)
    )


def expected_calibration_error(truth: np.ndarray, probability: np.ndarray, bins: int = 10) -> float:
    """Return the mean distance of observed from expected over equally filled bins, weighted by their size."""
    parts = reliability(truth, probability, bins)
    total = sum(part.observed.n for part in parts)
    return sum(part.observed.n * abs(part.mean_probability - part.observed.value) for part in parts) / total


def recalibrated(probability: np.ndarray, prevalence_before: float, prevalence_now: float) -> np.ndarray:
    """Return probabilities moved from one prevalence to another by Bayes' rule (Saerens 2002, Neural Computation
    14:21).

    Holds where only the share of positives differs and not how they look. Raises ValueError for a prevalence not in
    (0, 1).
    """
    if not (0 < prevalence_before < 1 and 0 < prevalence_now < 1):
        raise ValueError("a prevalence lies between 0 and 1")
    before, now = (np.log(p / (1 - p)) for p in (prevalence_before, prevalence_now))
    return 1 / (1 + np.exp(-(logit(probability) + now - before)))
