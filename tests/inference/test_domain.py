"""Out-of-domain distances: closed forms, each patient weighing the same, and a threshold that keeps its promise."""

import numpy as np
import pytest

from readingroom.core.errors import BadInput
from readingroom.inference.domain import EnsembleDomain, Places, fit, learn, read_domain, threshold

WIDTH = 12


def places(seed: int, patients: range, mixing: np.ndarray, each: int = 20) -> Places:
    """Features of patients: a shift of each patient and noise, in the same few directions."""
    random = np.random.default_rng(seed)
    inner = mixing.shape[0]
    rows = [random.normal(size=(1, inner)) * 0.7 + random.normal(size=(each, inner)) for _ in patients]
    features = np.concatenate(rows) @ mixing + 0.05 * random.normal(size=(each * len(patients), mixing.shape[1]))
    return Places(features.astype(np.float32), np.repeat(list(patients), each))


def mixing(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(4, WIDTH))


def ensemble(count: int = 60, networks: int = 3) -> EnsembleDomain:
    """Patients in turn in one fold of three; each network has directions of its own."""
    trained, unseen = [], []
    for fold in range(networks):
        whole = places(fold, range(count), mixing(fold))
        hidden = whole.patients % networks == fold
        trained.append(Places(whole.features[~hidden], whole.patients[~hidden]))
        unseen.append(Places(whole.features[hidden], whole.patients[hidden]))
    return learn(trained, unseen)


def study(seed: int, shift: float = 0.0) -> np.ndarray:
    """One new patient's features by all three networks, side by side."""
    return np.concatenate([places(seed + fold, range(1), mixing(fold)).features + shift for fold in range(3)], axis=1)


def test_the_distance_is_mahalanobis_along_the_axes_and_euclidean_outside() -> None:
    corners = np.array([[3.0, 1, 0.1], [3, -1, -0.1], [-3, 1, -0.1], [-3, -1, 0.1]])
    domain = fit(corners, np.arange(4), explained=0.99)
    assert domain.variances == pytest.approx((9, 1))
    assert domain.rest == pytest.approx(0.01)
    away = np.array([[6.0, 0, 0], [0, 2, 0], [0, 0, 0.3], [0, 0, 0]])
    assert domain.distance(away) == pytest.approx(np.array([2, 2, 3, 0]) / np.sqrt(3), abs=1e-6)


def test_what_it_was_fitted_on_is_at_one() -> None:
    some = places(1, range(30), mixing(1))
    away = fit(some.features, some.patients).distance(some.features)
    assert np.sqrt((away**2).mean()) == pytest.approx(1, abs=0.01)


def test_each_patient_weighs_the_same() -> None:
    rows = np.array([[0.0, 0], [2, 2], [2, 2], [2, 2], [2, 2]])
    assert fit(rows, np.array([0, 1, 1, 1, 1])).mean == (1, 1)


def test_a_direction_that_never_varied_stands_out() -> None:
    some = places(1, range(30), mixing(1))
    quiet = np.concatenate([some.features, np.zeros((len(some.features), 1))], axis=1)
    domain = fit(quiet, some.patients)
    strange = quiet[:1].copy()
    strange[0, -1] = 5
    assert domain.distance(strange)[0] > 5 * domain.distance(quiet).max()


def test_an_ensemble_tells_new_patients_from_strange_images() -> None:
    domain = ensemble()
    new = np.array([domain.score(study(1000 + 10 * n)) for n in range(200)])
    assert (new > 1).mean() < 0.05
    assert domain.score(study(5000, shift=3.0)) > 2
    assert read_domain(domain.model_dump_json().encode()) == domain


def test_a_few_strange_places_do_not_move_a_study() -> None:
    domain, features = ensemble(), study(1000)
    features[:3] += 100
    assert domain.distance(features)[:3].min() > domain.abstain_above * 5
    assert domain.score(features) < 1


def test_the_threshold_keeps_the_share_it_promises() -> None:
    random = np.random.default_rng(4)
    beyond = [(random.gamma(4, size=500) > threshold(random.gamma(4, size=199))).mean() for _ in range(400)]
    assert np.mean(beyond) == pytest.approx(0.01, abs=0.003)
    assert threshold(np.arange(1.0, 201.0)) == 199
    assert threshold(np.arange(1.0, 51.0)) == 50, "too few patients for a quantile: the largest"


def test_a_patients_distance_is_the_worst_of_its_studies() -> None:
    trained = places(0, range(100, 130), mixing(0))
    calm = places(1, range(12), mixing(0), each=5)
    strange = calm.features.copy()
    strange[:2] += 50  # two of five: the median over the patient doesn't see them, the one over their study does
    together = learn([trained], [Places(strange, calm.patients)])
    apart = learn([trained], [Places(strange, calm.patients, np.where(np.arange(60) < 2, "x", "y"))])
    assert apart.abstain_above > 5 * together.abstain_above
    assert together.validation_patients == apart.validation_patients == 12


def test_a_patient_on_both_sides_is_refused() -> None:
    some = places(0, range(20), mixing(0))
    with pytest.raises(BadInput, match="trained on and"):
        learn([some], [some])


def test_what_cannot_be_judged_is_refused() -> None:
    domain = ensemble()
    for features in (np.zeros((0, 36)), np.zeros((2, 35)), np.full((2, 36), np.nan)):
        with pytest.raises(BadInput):
            domain.score(features)
    with pytest.raises(BadInput, match="too few"):
        threshold(np.ones(9))
    with pytest.raises(BadInput, match="two patients"):
        fit(np.eye(3), np.zeros(3))
    with pytest.raises(BadInput, match="the same for every image"):
        fit(np.ones((4, 3)), np.arange(4))
    for data in (b"{}", b"x", domain.model_dump_json().replace('"edition":1', '"edition":2').encode()):
        with pytest.raises(BadInput, match="Not a domain"):
            read_domain(data)
