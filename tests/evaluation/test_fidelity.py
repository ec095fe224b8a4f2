"""Fidelity of heat maps for made-up scores, of which it is known what they rest on."""

from collections.abc import Callable

import numpy as np
import pytest

from readingroom.evaluation.fidelity import Fidelity, fidelity, over_cases

SHAPE = (4, 10, 10)
IMAGE, GROUND = np.ones(SHAPE), np.zeros(SHAPE)


def resting_on(weights: np.ndarray) -> Callable[[np.ndarray], float]:
    """A score that is the weighted mean of the image: 1 for the image, 0 for the ground."""
    return lambda image: float((weights * image).sum() / weights.sum())


def corner() -> np.ndarray:
    """A quarter of the voxels count, all the same."""
    weights = np.zeros(SHAPE)
    weights[:, :5, :5] = 1
    return weights


def test_a_map_that_shows_what_counts_has_the_areas_geometry_says() -> None:
    weights = corner()
    found = fidelity(IMAGE, weights, GROUND, resting_on(weights), seed=1, steps=40)
    # Straight from 1 to 0 while the first quarter goes, and the mirror of it.
    assert found.deletion.area == pytest.approx(0.25 / 2)
    assert found.insertion.area == pytest.approx(1 - 0.25 / 2)
    assert found.deletion.score[[0, 10, 40]] == pytest.approx([1, 0, 0])
    assert found.insertion.score[[0, 10, 40]] == pytest.approx([0, 1, 1])
    # At random every voxel costs the same: the diagonal.
    assert found.random_deletion_area == pytest.approx(0.5, abs=0.03)
    assert found.random_insertion_area == pytest.approx(0.5, abs=0.03)
    assert found.deletion_gain == pytest.approx(0.375, abs=0.03)
    assert found.insertion_gain == pytest.approx(0.375, abs=0.03)


def test_a_map_that_shows_the_opposite_is_worse_than_random() -> None:
    weights = corner()
    found = fidelity(IMAGE, 1 - weights, GROUND, resting_on(weights), seed=1, steps=40)
    assert found.deletion.area == pytest.approx(1 - 0.25 / 2)
    assert found.insertion_gain < -0.3


def test_only_the_order_counts() -> None:
    weights = np.random.default_rng(3).random(SHAPE)
    score = resting_on(weights**4)
    first, second = (fidelity(IMAGE, heat, GROUND, score, seed=1) for heat in (weights, np.exp(9 * weights) - 5))
    assert first.deletion.area == second.deletion.area
    # With weights w^4, w even on 0..1, the best order leaves (1 - share)^5 of the score.
    assert np.abs(first.deletion.score - (1 - first.deletion.share) ** 5).max() < 0.08


def test_the_score_is_asked_for_images_made_of_both_and_as_often_as_told() -> None:
    image, ground = np.arange(8.0), -np.ones(8)
    asked: list[np.ndarray] = []

    def score(shown: np.ndarray) -> float:
        asked.append(shown.copy())
        return float(shown.sum())

    found = fidelity(image, image, ground, score, seed=0, steps=4, random_maps=2)
    assert len(asked) == 2 * 3 * (1 + 2) + 2
    assert all(((one == image) | (one == ground)).all() for one in asked)
    # The largest two of 0..7 go first.
    assert found.deletion.score.tolist() == [28, 13, 2, -5, -8]
    assert found.insertion.share.tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_more_steps_than_voxels_take_one_at_a_time() -> None:
    found = fidelity(np.ones(3), np.arange(3.0), np.zeros(3), np.sum, seed=0, steps=50)
    assert found.deletion.score.tolist() == [3, 2, 1, 0]


def many(heat: Callable[[np.ndarray, np.random.Generator], np.ndarray], cases: int = 24) -> list[Fidelity]:
    found = []
    for seed in range(cases):
        random = np.random.default_rng(seed)
        weights = random.random((6, 6, 6)) ** 3
        image = np.ones(weights.shape)
        found.append(
            fidelity(image, heat(weights, random), image * 0, resting_on(weights), seed, steps=16, random_maps=4)
        )
    return found


def test_over_cases_a_faithful_map_is_told_from_one_that_says_nothing() -> None:
    patients = np.arange(24)
    faithful = over_cases(many(lambda weights, _: weights), patients, seed=7)
    for gain in (faithful.deletion_gain, faithful.insertion_gain):
        assert gain.low is not None
        assert gain.low > 0.2
        assert gain.n == 24
    for nothing in (many(lambda w, _: np.full_like(w, 0.5)), many(lambda w, random: random.random(w.shape))):
        gain = over_cases(nothing, patients, seed=7).deletion_gain
        assert gain.low is not None
        assert gain.high is not None
        assert gain.low < 0 < gain.high
        assert gain.high - gain.low < 0.05


def test_findings_of_one_patient_are_one_case() -> None:
    found = many(lambda weights, _: weights, cases=4)
    estimates = over_cases(found, np.array([1, 1, 2, 2]), seed=7)
    assert estimates.deletion_area.n == 2
    assert estimates.deletion_area.value == pytest.approx(np.mean([one.deletion.area for one in found]))
    alone = over_cases(found[:1], np.array([1]), seed=7).insertion_gain
    assert (alone.n, alone.low) == (1, None)


@pytest.mark.parametrize(
    ("image", "heat", "ground", "options", "why"),
    [
        (np.ones(3), np.ones(4), np.ones(3), {}, "one shape"),
        (np.ones(3), np.ones(3), np.ones((3, 1)), {}, "one shape"),
        (np.ones(0), np.ones(0), np.ones(0), {}, "a voxel"),
        (np.ones(2), np.array([1, np.nan]), np.ones(2), {}, "not finite"),
        (np.ones(2), np.ones(2), np.ones(2), {"steps": 0}, "step"),
        (np.ones(2), np.ones(2), np.ones(2), {"random_maps": 0}, "random map"),
        (np.array([1, np.inf]), np.ones(2), np.ones(2), {}, "score is not finite"),
    ],
)
def test_questions_without_an_answer(
    image: np.ndarray, heat: np.ndarray, ground: np.ndarray, options: dict[str, int], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        fidelity(image, heat, ground, np.sum, 0, **options)
    with pytest.raises(ValueError, match="its patient"):
        over_cases([], np.zeros(0), 0)
