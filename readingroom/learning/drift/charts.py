"""Control charts: has what is measured now moved away from what was measured at first? Pure functions of numbers.

Every chart compares a point (some readings in a row) with a **baseline**: the first window of the same stream, which
never moves. Limits allow for the baseline being a sample too, so that a short one gives wide limits, not false alarms.

| chart | for | statistic | source |
|---|---|---|---|
| p | a share: found, abstained, accepted | number in the point, beta-binomial limits | Montgomery 2013, ch. 7.3 |
| ewma | the mean of a number | exponentially weighted mean | Roberts 1959; Lucas & Saccucci 1990 |
| ks | the distribution of a number | two-sample Kolmogorov-Smirnov distance | Smirnov 1948 |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import exp, lgamma, log, sqrt

import numpy as np

ALPHA = 0.001
"""How often a p or ks point is out of limits though nothing changed, at most (p: half of it on each side)."""
WEIGHT = 0.2
"""Lambda of the EWMA: Lucas & Saccucci 1990 give 0.05 to 0.25 for shifts around one standard error."""
WIDTH = 3.5
"""L of the EWMA, standard errors on each side. How often that errs is simulated in the tests."""


class Chart(StrEnum):
    """Which chart, by kind of measure."""

    P = "p"
    EWMA = "ewma"
    KS = "ks"


BASELINE_READINGS = 100
"""Readings a baseline rests on; before that there is no chart."""
POINT_READINGS = {Chart.P: 20, Chart.EWMA: 20, Chart.KS: 50}
"""Readings in one point. A distribution needs more than a mean."""

SOURCES = {
    Chart.P: "p-chart with probability limits (Montgomery, Introduction to Statistical Quality Control, 7th ed. 2013, "
    "ch. 7.3), here beta-binomial, which allows for the baseline's own uncertainty",
    Chart.EWMA: "EWMA chart (Roberts 1959; Lucas & Saccucci, Technometrics 1990;32:1-12), its limits widened by the "
    "uncertainty of the baseline's mean",
    Chart.KS: "two-sample Kolmogorov-Smirnov distance of each point from the baseline (Smirnov 1948)",
}


@dataclass(frozen=True)
class Baseline:
    """The first window of a stream. ``values`` are kept, sorted, where the chart compares distributions.

    ``n`` may be infinite: known mean and spread, as in a textbook.
    """

    n: float
    mean: float
    sd: float = 0.0
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Point:
    """One point: ``value`` is what it shows (share, mean, distance), ``statistic`` what is held against the limits.

    A limit is None on a side where no value would be out.
    """

    n: int
    value: float
    statistic: float
    centre: float
    lower: float | None
    upper: float | None
    out: bool


def baseline_of(chart: Chart, values: Sequence[float]) -> Baseline:
    """Return the baseline of a stream from its first values. Raises ValueError for fewer than two."""
    if len(values) < 2:
        raise ValueError("a baseline needs two values at least")
    data = np.asarray(values, float)
    kept = tuple(float(value) for value in np.sort(data)) if chart is Chart.KS else ()
    # Rounding of a mean must not make a spread where all values are the same.
    sd = 0.0 if data.min() == data.max() else float(data.std(ddof=1))
    return Baseline(len(values), float(data.mean()), sd, kept)


def point_of(chart: Chart, baseline: Baseline, values: Sequence[float], number: int, level: float | None) -> Point:
    """Return point ``number`` (from 1) of a stream; ``level`` is the statistic of the one before: an EWMA remembers."""
    if chart is Chart.P:
        return share_point(baseline, values)
    if chart is Chart.KS:
        return distance_point(baseline, values)
    return ewma_point(baseline, float(np.mean(values)), len(values), number, level)


# Shares


def share_point(baseline: Baseline, values: Sequence[float], alpha: float = ALPHA) -> Point:
    """Hold a share against the baseline's. Each value is one independent trial, 0..1.

    A trial between 0 and 1 (the share of one study's findings that were accepted) varies less than a yes or no would
    (its variance is at most ``p (1 - p)``), so the limits hold for it as well.
    """
    n, total = len(values), float(np.sum(values))
    low, high = share_limits(baseline, n, alpha)
    return Point(
        n,
        total / n,
        total / n,
        baseline.mean,
        low / n if low > 0 else None,
        high / n if high < n else None,
        total < low - 1e-9 or total > high + 1e-9,
    )


def share_limits(baseline: Baseline, n: int, alpha: float = ALPHA) -> tuple[int, int]:
    """Return (lowest, highest) number of ``n`` trials that is in control.

    Each side is passed with a probability of at most ``alpha / 2`` under the predictive (beta-binomial) distribution:
    the baseline's share is only known as well as its trials tell, with Jeffreys' prior.
    """
    a, b = baseline.mean * baseline.n + 0.5, (1 - baseline.mean) * baseline.n + 0.5
    chances = [exp(_log_beta_binomial(k, n, a, b)) for k in range(n + 1)]
    low, below = 0, chances[0]
    while low < n and below <= alpha / 2:
        low += 1
        below += chances[low]
    high, above = n, chances[n]
    while high > 0 and above <= alpha / 2:
        high -= 1
        above += chances[high]
    return low, high


def _log_beta_binomial(k: int, n: int, a: float, b: float) -> float:
    choose = lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
    return choose + _log_beta(k + a, n - k + b) - _log_beta(a, b)


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)


# Means


def ewma_point(
    baseline: Baseline,
    mean: float,
    n: int,
    number: int,
    level: float | None,
    weight: float = WEIGHT,
    width: float = WIDTH,
) -> Point:
    """Return point ``number`` of an EWMA: the mean of ``n`` readings after an EWMA at ``level`` (None: none before).

    Started at the baseline's mean m0, point i is ``z_i = weight x_i + (1 - weight) z_(i-1)``, so
    ``Var(z_i - m0) = sd^2 (weight (1 - (1-weight)^2i) / ((2 - weight) n) + (1 - (1-weight)^i)^2 / baseline.n)``.
    The second term is the baseline's own error; it is nothing where the mean is known.
    """
    z = weight * mean + (1 - weight) * (baseline.mean if level is None else level)
    left = (1 - weight) ** number
    variance = weight / (2 - weight) * (1 - left**2) / n + (1 - left) ** 2 / baseline.n
    half = width * baseline.sd * sqrt(variance)
    low, high = baseline.mean - half, baseline.mean + half
    return Point(n, mean, z, baseline.mean, low, high, not low <= z <= high)


# Distributions


def distance_point(baseline: Baseline, values: Sequence[float], alpha: float = ALPHA) -> Point:
    """Hold a point's distribution against the baseline's: the largest distance of the two distribution functions."""
    d = ks_distance(baseline.values, values)
    limit = ks_limit(len(baseline.values), len(values), alpha)
    return Point(len(values), d, d, 0.0, None, limit, d > limit)


def ks_distance(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the two-sample Kolmogorov-Smirnov distance; ties are taken as they are (the limit is then too wide)."""
    first, second = np.sort(np.asarray(one, float)), np.sort(np.asarray(other, float))
    everywhere = np.concatenate([first, second])
    below = np.searchsorted(first, everywhere, side="right") / len(first)
    below_too = np.searchsorted(second, everywhere, side="right") / len(second)
    return float(np.abs(below - below_too).max())


def ks_limit(n: int, m: int, alpha: float = ALPHA) -> float:
    """Return the distance that two samples of one distribution pass with probability ``alpha`` (Smirnov's limit)."""
    return sqrt(-log(alpha / 2) / 2 * (n + m) / (n * m))
