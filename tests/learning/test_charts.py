"""Control charts against published examples, independent calculations, and what they were simulated to do."""

from collections.abc import Callable
from itertools import pairwise
from math import inf

import numpy as np
import pytest
from scipy import stats

from readingroom.learning.drift.charts import (
    ALPHA,
    BASELINE_READINGS,
    POINT_READINGS,
    Baseline,
    Chart,
    Point,
    baseline_of,
    ewma_point,
    ks_distance,
    ks_limit,
    point_of,
    share_limits,
    share_point,
)

Draw = Callable[[int], np.ndarray]


def ewma_run(baseline: Baseline, means: list[float], n: int = 1, **constants: float) -> list[Point]:
    points: list[Point] = []
    for number, mean in enumerate(means, 1):
        level = points[-1].statistic if points else None
        points.append(ewma_point(baseline, mean, n, number, level, **constants))
    return points


def follow(chart: Chart, baseline: Baseline, draw: Draw, points: int) -> list[Point]:
    """Points of a stream that go on being drawn from ``draw``."""
    found: list[Point] = []
    for number in range(1, points + 1):
        level = found[-1].statistic if found else None
        found.append(point_of(chart, baseline, draw(POINT_READINGS[chart]), number, level))
    return found


# Published examples


def test_ewma_is_the_one_of_the_nist_handbook() -> None:
    """NIST/SEMATECH e-Handbook of Statistical Methods, 6.3.2.4: lambda 0.3, mean 50, s 2.0539, limits 3 wide."""
    data = [52.0, 47.0, 53.0, 49.3, 50.1, 47.0, 51.0, 50.1, 51.2, 50.5,
            49.6, 47.6, 49.9, 51.3, 47.8, 51.2, 52.6, 52.4, 53.6, 52.1]  # fmt: skip
    printed = [50.60, 49.52, 50.56, 50.18, 50.16, 49.21, 49.75, 49.85, 50.26, 50.33,
               50.11, 49.36, 49.52, 50.05, 49.38, 49.92, 50.73, 51.23, 51.94, 51.99]  # fmt: skip
    points = ewma_run(Baseline(inf, 50.0, 2.0539), data, weight=0.3, width=3.0)
    assert [point.statistic for point in points] == pytest.approx(printed, abs=0.006)
    assert (points[-1].lower, points[-1].upper) == pytest.approx((47.4115, 52.5884), abs=0.0005)
    assert not any(point.out for point in points)


def test_shares_out_of_control_are_those_of_the_textbook() -> None:
    """Montgomery, Statistical Quality Control, example 7.1: 30 samples of 50 cans; 15 and 23 are out of control."""
    bad = [12, 15, 8, 10, 4, 7, 16, 9, 14, 10, 5, 6, 17, 12, 22,
           8, 10, 5, 13, 11, 20, 18, 24, 15, 9, 12, 7, 13, 9, 6]  # fmt: skip
    baseline = Baseline(1500, sum(bad) / 1500)
    assert baseline.mean == pytest.approx(0.2313, abs=0.00005)
    points = [share_point(baseline, [1] * x + [0] * (50 - x), alpha=0.0027) for x in bad]
    assert [number for number, point in enumerate(points, 1) if point.out] == [15, 23]


# Independent calculations


@pytest.mark.parametrize(("successes", "trials", "n"), [(0, 100, 20), (3, 100, 20), (50, 100, 50), (99, 100, 20)])
def test_share_limits_are_those_of_scipy(successes: int, trials: int, n: int) -> None:
    low, high = share_limits(Baseline(trials, successes / trials), n)
    law = stats.betabinom(n, successes + 0.5, trials - successes + 0.5)
    assert law.cdf(low - 1) <= ALPHA / 2
    assert law.sf(high) <= ALPHA / 2
    # And no narrower ones keep that.
    assert law.cdf(low) > ALPHA / 2
    assert law.sf(high - 1) > ALPHA / 2


def test_ewma_variance_is_that_of_its_weights() -> None:
    """The limits against the variance worked out from the weight of every single mean, baseline's included."""
    weight, n, number = 0.2, 20, 7
    weights = [weight * (1 - weight) ** (number - i) for i in range(1, number + 1)]
    variance = sum(w * w for w in weights) / n + sum(weights) ** 2 / 100
    point = ewma_run(Baseline(100, 0.0, 2.0), [0.0] * number, n, width=3.0)[-1]
    assert point.upper == pytest.approx(3.0 * 2.0 * variance**0.5)


def test_ks_is_that_of_scipy() -> None:
    rng = np.random.default_rng(5)
    for shift in (0.0, 0.4, 3.0):
        one, other = rng.normal(size=100), rng.normal(shift, size=50)
        assert ks_distance(one, other) == pytest.approx(stats.ks_2samp(one, other).statistic)
    ties, more = rng.integers(0, 4, 100), rng.integers(0, 5, 50)
    assert ks_distance(ties, more) == pytest.approx(stats.ks_2samp(ties, more).statistic)
    # At the limit scipy's exact probability is near alpha, and not above it.
    grid = np.arange(0, 1.0001, 1 / 100)
    just_over = grid[grid > ks_limit(100, 50)][0]
    assert 0.0005 < stats.kstwo.sf(just_over, round(100 * 50 / 150)) <= ALPHA


# What they were simulated to do


def starts(points: list[Point]) -> int:
    """How many alarms begin: an EWMA stays out for a while."""
    out = [False, *(point.out for point in points)]
    return sum(now and not before for before, now in pairwise(out))


@pytest.mark.parametrize(
    ("chart", "law"),
    [
        (Chart.EWMA, "normal"),
        (Chart.EWMA, "beta"),
        (Chart.KS, "normal"),
        (Chart.P, "rare"),
        (Chart.P, "usual"),
    ],
)
def test_false_alarms_are_as_few_as_is_said(chart: Chart, law: str) -> None:
    """At most one in a thousand points begins a false alarm, each stream with a baseline of its own."""
    rng = np.random.default_rng(2)
    laws: dict[str, Draw] = {
        "normal": lambda n: rng.normal(size=n),
        # Skewed as probabilities are.
        "beta": lambda n: rng.beta(0.5, 2.0, size=n),
        "rare": lambda n: (rng.random(n) < 0.03).astype(float),
        "usual": lambda n: (rng.random(n) < 0.7).astype(float),
    }
    draw, streams, points = laws[law], 200, 50
    began = sum(
        starts(follow(chart, baseline_of(chart, draw(BASELINE_READINGS)), draw, points)) for _ in range(streams)
    )
    assert began / (streams * points) <= 0.001 + 3 * (0.001 / (streams * points)) ** 0.5


@pytest.mark.parametrize(
    ("chart", "at_first", "then", "within"),
    [
        (Chart.EWMA, lambda r, n: r.normal(0.6, 0.2, n), lambda r, n: r.normal(0.4, 0.2, n), 2),
        (Chart.EWMA, lambda r, n: r.normal(0.6, 0.2, n), lambda r, n: r.normal(0.5, 0.2, n), 15),
        (Chart.P, lambda r, n: r.random(n) < 0.02, lambda r, n: r.random(n) < 0.5, 2),
        (Chart.P, lambda r, n: r.random(n) < 0.85, lambda r, n: r.random(n) < 0.4, 3),
        # The mean stays, the shape does not.
        (Chart.KS, lambda r, n: r.normal(0.5, 0.1, n), lambda r, n: r.choice([0.3, 0.7], n), 2),
    ],
)
def test_a_shift_is_seen(chart: Chart, at_first: Callable, then: Callable, within: int) -> None:
    """In eight of ten streams or more, within so many points."""
    rng = np.random.default_rng(3)
    seen = 0
    for _ in range(100):
        baseline = baseline_of(chart, at_first(rng, BASELINE_READINGS).astype(float))
        points = follow(chart, baseline, lambda n: then(rng, n).astype(float), within)
        seen += any(point.out for point in points)
    assert seen >= 80


# Corners


def test_a_share_of_parts_has_narrower_limits_than_it_could() -> None:
    """One trial may be a part (2 of 3 findings accepted): less spread than yes or no, so no more false alarms."""
    rng = np.random.default_rng(4)
    parts: Draw = lambda n: rng.binomial(3, 0.7, n) / 3  # noqa: E731
    began = sum(starts(follow(Chart.P, baseline_of(Chart.P, parts(BASELINE_READINGS)), parts, 50)) for _ in range(100))
    assert began <= 5


def test_limits_that_nothing_can_pass_are_none() -> None:
    point = share_point(Baseline(100, 0.0), [0.0] * 20)
    assert (point.lower, point.centre, point.out) == (None, 0.0, False)
    assert point.upper is not None
    assert share_point(Baseline(100, 0.5), [1.0, 0.0]).upper is None


def test_equal_values_have_no_spread() -> None:
    assert baseline_of(Chart.EWMA, [0.1] * 100).sd == 0.0
    with pytest.raises(ValueError, match="two values"):
        baseline_of(Chart.EWMA, [1.0])
