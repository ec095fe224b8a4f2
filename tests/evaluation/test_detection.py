"""FROC by hand on a case that fits on a page, and its invariants on random ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from readingroom.evaluation import detection as d

# Patient 1: two lesions, one found at 0.9 (marked again at 0.3), one missed; a false mark at 0.8. Patient 2: one lesion
# found at 0.5, false marks at 0.6 and 0.2. Patient 3: nothing to find, a false mark at 0.4.
CASES = [
    d.match([d.Lesion(), d.Lesion()], [d.Mark(0.9, 0), d.Mark(0.3, 0), d.Mark(0.8, None)]),
    d.match([d.Lesion()], [d.Mark(0.5, 0), d.Mark(0.6, None), d.Mark(0.2, None)]),
    d.match([], [d.Mark(0.4, None)]),
]


def test_the_curve_by_hand() -> None:
    curve = d.froc(CASES)
    assert curve.threshold.tolist() == [np.inf, 0.9, 0.8, 0.6, 0.5, 0.4, 0.2]
    np.testing.assert_allclose(curve.sensitivity, np.array([0, 1, 1, 1, 2, 2, 2]) / 3)
    np.testing.assert_allclose(curve.false_per_unit, np.array([0, 0, 1, 2, 2, 3, 4]) / 3)
    assert d.sensitivity_at(CASES, 0.5) == pytest.approx(1 / 3)
    assert d.sensitivity_at(CASES, 2 / 3) == pytest.approx(2 / 3)
    # At 1/8 to 1/2: 1/3 each; from 1 on: 2/3 each.
    assert d.froc_mean(CASES) == pytest.approx((3 / 3 + 4 * 2 / 3) / 7)
    assert d.sensitivity(CASES, 0.5) == pytest.approx(2 / 3)
    assert d.false_marks_per_unit(CASES, 0.5) == pytest.approx(2 / 3)


def test_lesions_that_do_not_count_are_ignored_with_their_marks() -> None:
    case = d.match([d.Lesion(counts=False), d.Lesion()], [d.Mark(0.9, 0), d.Mark(0.4, 1)])
    assert (case.found, case.false) == ((0.4,), ())
    with pytest.raises(ValueError, match="not there"):
        d.match([], [d.Mark(0.9, 0)])


def test_a_point_hits_the_nearest_lesion_it_is_within() -> None:
    centres, radii = np.array([[0.0, 0, 0], [10, 0, 0]]), np.array([3.0, 8])
    points = np.array([[2.5, 0, 0], [4, 0, 0], [30, 0, 0]])
    assert d.hits_by_distance(points, centres, radii) == [0, 1, None]
    assert d.hits_by_distance(points, centres, radii, least_mm=5) == [0, 0, None]
    assert d.hits_by_distance(points, centres[:0], radii[:0]) == [None] * 3


scores = st.lists(st.integers(0, 9).map(float), max_size=6)


@given(st.lists(st.tuples(scores, scores), min_size=1, max_size=6))
def test_sensitivity_never_falls_as_false_marks_rise(drawn: list[tuple[list[float], list[float]]]) -> None:
    cases = [d.Matched((-np.inf, *found), tuple(false)) for found, false in drawn]
    curve = d.froc(cases)
    assert (np.diff(curve.sensitivity) >= 0).all()
    assert (np.diff(curve.false_per_unit) >= 0).all()
    for threshold, sensitivity, false in zip(curve.threshold, curve.sensitivity, curve.false_per_unit, strict=True):
        assert sensitivity == pytest.approx(d.sensitivity(cases, threshold))
        assert false == pytest.approx(d.false_marks_per_unit(cases, threshold))
    assert 0 <= d.froc_mean(cases) <= 1


def test_the_interval_of_a_froc_holds_its_value() -> None:
    random = np.random.default_rng(1)
    cases = [d.Matched((float(random.normal(1)),), tuple(random.normal(size=4).tolist())) for _ in range(30)]
    found = d.froc_mean_estimate(cases, seed=2, draws=300)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high
    assert found.n == 30
