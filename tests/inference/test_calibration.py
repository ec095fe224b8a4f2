"""Calibration finds the odds the data were drawn with, and reads nothing but calibrations."""

import json

import numpy as np
import pytest

from readingroom.core.errors import BadInput
from readingroom.inference.calibration import Calibration, fit_platt, read_calibration, sigmoid


def test_platt_recovers_slope_and_offset() -> None:
    random = np.random.default_rng(3)
    scores = random.normal(size=20_000) * 2
    truth = random.random(20_000) < sigmoid(0.7 * scores - 1.2)
    found = fit_platt(scores, truth)
    assert found.slope == pytest.approx(0.7, abs=0.05)
    assert found.offset == pytest.approx(-1.2, abs=0.06)


def test_separable_cases_stay_finite() -> None:
    found = fit_platt(np.array([-2.0, -1.0, 1.0, 2.0]), np.array([False, False, True, True]))
    assert 0.5 < found.probability(np.array(2.0)) < 1


def test_one_kind_only_is_refused() -> None:
    with pytest.raises(BadInput):
        fit_platt(np.zeros(4), np.ones(4, bool))


def test_prior_shift_moves_the_odds() -> None:
    plain = Calibration(kind="platt")
    shifted = plain.model_copy(update={"prior_shift": float(np.log(0.1))})
    p, q = plain.probability(np.array(0.0)), shifted.probability(np.array(0.0))
    assert q / (1 - q) == pytest.approx(0.1 * p / (1 - p))


def test_isotonic_rises_and_round_trips() -> None:
    knots = Calibration(kind="isotonic", scores=(-1, 0, 2), probabilities=(0.1, 0.1, 0.8))
    again = read_calibration(json.dumps(knots.model_dump()).encode())
    assert again == knots
    assert again.probability(np.array([-5.0, 1.0, 9.0])) == pytest.approx([0.1, 0.45, 0.8], abs=1e-3)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"kind": "magic"}', '{"kind": "isotonic", "scores": [1, 0], "probabilities": [0, 1]}']
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        read_calibration(text.encode())
