"""Agreement against published worked examples and scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from readingroom.evaluation.agreement import bland_altman, cohen_kappa, fleiss_kappa, icc

# Shrout and Fleiss 1979, table 2: six targets, four judges.
SHROUT_FLEISS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
# Fleiss 1971's measure as worked in many texts: ten subjects, fourteen raters, five categories; kappa 0.210.
FLEISS = [
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
]  # fmt: skip
# Bland and Altman 1986, table 1: peak expiratory flow, large and mini Wright meter, first readings.
LARGE = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
MINI = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]


def readers(table: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    rows = [(i, j) for i, row in enumerate(table) for j, count in enumerate(row) for _ in range(count)]
    first, second = zip(*rows, strict=True)
    return np.array(first), np.array(second)


def test_kappa_of_a_two_by_two_table() -> None:
    first, second = readers([[20, 5], [10, 15]])
    found = cohen_kappa(first, second)
    assert found.value == pytest.approx(0.4)
    # Fleiss, Cohen and Everitt's standard error for this table is 0.127.
    assert (found.low, found.high) == pytest.approx((0.4 - 1.96 * 0.1268, 0.4 + 1.96 * 0.1268), abs=2e-3)
    assert cohen_kappa(first, first).value == pytest.approx(1)


@pytest.mark.parametrize("weights", ["none", "linear", "quadratic"])
def test_weighted_kappa_is_scikit_learns(weights: str) -> None:
    random = np.random.default_rng(1)
    first = random.integers(0, 4, 80)
    second = np.clip(first + random.integers(-1, 2, 80), 0, 3)
    expected = cohen_kappa_score(first, second, weights=None if weights == "none" else weights)
    found = cohen_kappa(first, second, weights)  # type: ignore[arg-type]
    assert found.value == pytest.approx(expected)
    assert found.low is not None
    # The large-sample interval against the bootstrap's.
    draws = [random.integers(0, 80, 80) for _ in range(800)]
    low = np.percentile([cohen_kappa(first[d], second[d], weights).value for d in draws], 2.5)  # type: ignore[arg-type]
    assert found.low == pytest.approx(low, abs=0.05)


def test_fleiss_kappa_of_the_worked_example() -> None:
    found = fleiss_kappa(np.array(FLEISS))
    assert found.value == pytest.approx(0.210, abs=5e-4)
    assert found.low is not None
    assert found.low < 0.21
    with pytest.raises(ValueError, match="same number"):
        fleiss_kappa(np.array([[2, 0], [1, 2]]))


def test_icc_of_shrout_and_fleiss() -> None:
    found = icc(np.array(SHROUT_FLEISS))
    assert found.value == pytest.approx(0.29, abs=5e-3)
    assert (found.low, found.high) == pytest.approx((0.019, 0.761), abs=2e-3)
    assert icc(np.array([[1, 1], [2, 2], [3, 3]])).value == pytest.approx(1)


def test_bland_and_altmans_own_data() -> None:
    found = bland_altman(np.array(LARGE), np.array(MINI))
    assert found.bias.value == pytest.approx(-2.1, abs=0.05)
    assert (found.bias.low, found.bias.high) == pytest.approx((-22.0, 17.8), abs=0.1)
    # They print limits at two standard deviations, -79.7 and 75.5, each -/+ 34.6; ours are at 1.96.
    assert found.upper.value == pytest.approx(-2.1 + 1.96 * 38.8, abs=0.15)
    assert found.lower.value == pytest.approx(-2.1 - 1.96 * 38.8, abs=0.15)
    assert found.lower.high is not None
    assert found.lower.high - found.lower.value == pytest.approx(34.6, abs=0.1)


def test_what_has_no_answer_is_refused() -> None:
    same = np.zeros(5, int)
    for call in (
        lambda: cohen_kappa(same, same),
        lambda: cohen_kappa(same, same[:3]),
        lambda: icc(np.ones((4, 2))),
        lambda: icc(np.array([[1.0, np.nan], [2, 3]])),
        lambda: bland_altman(np.ones(2), np.ones(2)),
    ):
        with pytest.raises(ValueError, match=r"."):
            call()
