"""Intervals: Wilson against Newcombe's worked examples, the bootstrap against theory, subgroups."""

import numpy as np
import pytest

from readingroom.evaluation.bootstrap import bootstrap, bootstrap_rows, by_patient, paired_difference
from readingroom.evaluation.estimate import Estimate, proportion
from readingroom.evaluation.subgroups import AGE_BANDS, band, by_subgroup


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_as_newcombe_1998_prints_it(hits: int, n: int, low: float, high: float) -> None:
    found = proportion(hits, n)
    assert (found.low, found.high) == pytest.approx((low, high), abs=6e-5)


def test_a_proportion_of_nothing_is_refused() -> None:
    for hits, n in ((0, 0), (3, 2), (-1, 5)):
        with pytest.raises(ValueError, match="no proportion"):
            proportion(hits, n)


def test_bootstrap_of_a_mean_agrees_with_theory() -> None:
    values = np.random.default_rng(1).normal(10, 2, 400).tolist()
    found = bootstrap(values, lambda drawn: float(np.mean(drawn)), seed=7)
    half = 1.96 * np.std(values) / 20
    assert found.low == pytest.approx(np.mean(values) - half, abs=0.03)
    assert found.high == pytest.approx(np.mean(values) + half, abs=0.03)
    assert bootstrap(values, lambda drawn: float(np.mean(drawn)), seed=7) == found


def test_paired_bootstrap_takes_the_same_patients_for_both() -> None:
    random = np.random.default_rng(2)
    shared = random.normal(0, 10, 60)
    first, second = (shared + 1).tolist(), shared.tolist()
    found = paired_difference(first, second, lambda drawn: float(np.mean(drawn)), seed=3)
    assert (found.value, found.low, found.high) == pytest.approx((1, 1, 1))
    with pytest.raises(ValueError, match="same patients"):
        paired_difference(first, second[:-1], lambda drawn: 0.0, seed=3)


def test_rows_of_a_patient_stay_together() -> None:
    groups = np.array(["b", "a", "b", "c", "a"])
    assert [rows.tolist() for rows in by_patient(groups)] == [[0, 2], [1, 4], [3]]
    # 40 patients of 25 equal rows: an interval over rows would be five times too narrow.
    patients = np.repeat(np.arange(40), 25)
    values = np.random.default_rng(4).normal(size=40)[patients]
    found = bootstrap_rows(patients, lambda rows: float(values[rows].mean()), seed=5)
    assert found.n == 40
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low == pytest.approx(2 * 1.96 / 40**0.5, rel=0.25)


def test_too_few_cases_have_no_interval() -> None:
    found = bootstrap([1.0], lambda drawn: float(np.mean(drawn)), seed=1)
    assert (found.value, found.low, found.high) == (1.0, None, None)
    assert found.as_metric() == {"value": 1.0, "ci95": [None, None], "n": 1}


def test_subgroups_say_what_they_lack() -> None:
    def share(cases: object) -> Estimate:
        got = list(cases)  # type: ignore[call-overload]
        if len(got) < 2:
            raise ValueError("one case only")
        return proportion(sum(got), len(got))

    parts = by_subgroup([1, 0, 1], [{"sex": "F"}, {"sex": "F"}, {"sex": ""}], share)
    assert [(p.value, p.n, p.estimate is None, p.reason) for p in parts] == [
        ("F", 2, False, ""),
        ("unknown", 1, True, "one case only"),
    ]
    assert band(39.9, AGE_BANDS, "years") == "18 to under 40 years"
    assert band(80, AGE_BANDS, "years") == "75 years and more"
    assert band(None, AGE_BANDS, "years") == band(-1, AGE_BANDS, "years") == "unknown"
