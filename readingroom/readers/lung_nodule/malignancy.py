"""The impression of malignancy: a logistic regression on size and characteristics, learnt from the LIDC table.

Labels are radiologists' opinion, not pathology. Half of a nodule's readers give the features and the other half the
label, so that nobody is asked to agree with himself. At reading, the size is measured on the segment and the ratings
are the network's.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from readingroom.core.errors import BadInput
from readingroom.evaluation.classification import auc
from readingroom.inference.calibration import sigmoid
from readingroom.readers.lung_nodule.ratings import LidcNodule

FEATURES = ("log2 of the diameter in mm", "texture", "spiculation", "lobulation", "calcified")
LEAST_READERS = 3
BANDS_MM = ((0.0, 8.0), (8.0, 15.0), (15.0, 99.0))
FOLDS = 5


@dataclass(frozen=True)
class Malignancy:
    """``weights`` of ``FEATURES`` in log-odds and ``offset``."""

    weights: tuple[float, ...]
    offset: float

    def probability(self, diameter_mm: float, ratings: Mapping[str, float], calcified: bool) -> float:
        """Return the probability that readers find the nodule suspicious.

        ``diameter_mm``: of the ball of its volume; ``ratings``: 1 to 5, by name.
        """
        row = _row(diameter_mm, {**ratings, "calcified": float(calcified)})
        return float(sigmoid(np.array(row @ np.array(self.weights) + self.offset)))

    def as_json(self) -> dict[str, Any]:
        return {"features": list(FEATURES), "weights": list(self.weights), "offset": self.offset}


def read_malignancy(data: bytes) -> Malignancy:
    """Read what ``as_json`` wrote. Raises BadInput on anything else."""
    try:
        kept = json.loads(data)
        if tuple(kept["features"]) != FEATURES or len(kept["weights"]) != len(FEATURES):
            raise ValueError("other features")
        return Malignancy(tuple(float(w) for w in kept["weights"]), float(kept["offset"]))
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"Not a model of malignancy: {type(error).__name__}.") from None


def _row(diameter_mm: float, ratings: Mapping[str, float]) -> np.ndarray:
    return np.array([np.log2(max(diameter_mm, 2.0)), *(ratings[name] for name in FEATURES[1:])])


@dataclass(frozen=True, eq=False)
class Learnt:
    """``report``: AUC in cross-validation by patient, of all features and of the diameter alone, in all and by size."""

    model: Malignancy
    report: dict[str, Any]


def learn(nodules: Sequence[LidcNodule], without: frozenset[str], seed: int) -> Learnt:
    """Fit on nodules of ``LEAST_READERS`` and more, of patients not in ``without``; 3 ("indeterminate") is dropped.

    Raises BadInput where there are too few.
    """
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(seed)
    rows, truth, patients, sizes = [], [], [], []
    for nodule in nodules:
        if len(nodule.rows) < LEAST_READERS or nodule.patient in without:
            continue
        order = random.permutation(len(nodule.rows))
        half = (len(order) + 1) // 2
        saying = [nodule.rows[n] for n in order[:half]]
        label = float(np.mean([nodule.rows[n]["malignancy"] for n in order[half:]]))
        if label == 3.0:
            continue
        said = {name: float(np.mean([row[name] for row in saying])) for name in (*FEATURES[1:], "eq_diameter_mm")}
        rows.append(_row(said["eq_diameter_mm"], said))
        truth.append(label > 3)
        patients.append(nodule.patient)
        sizes.append(said["eq_diameter_mm"])
    if len(set(truth)) < 2 or len(set(patients)) < 2 * FOLDS:
        raise BadInput("The LIDC table holds too few nodules to learn malignancy from.")
    x, y, size = np.array(rows), np.array(truth), np.array(sizes)

    def fitted(which: np.ndarray) -> Malignancy:
        found = LogisticRegression(C=10.0, max_iter=1000).fit(x[which], y[which])
        return Malignancy(tuple(float(w) for w in found.coef_[0]), float(found.intercept_[0]))

    place = {patient: n for n, patient in enumerate(random.permutation(sorted(set(patients))).tolist())}
    fold = np.array([place[p] % FOLDS for p in patients])
    score = np.empty(len(y))
    for n in range(FOLDS):
        model = fitted(fold != n)
        score[fold == n] = x[fold == n] @ np.array(model.weights) + model.offset
    return Learnt(fitted(np.ones(len(y), bool)), _report(y, score, size, len(set(patients))))


def _report(truth: np.ndarray, score: np.ndarray, size: np.ndarray, patients: int) -> dict[str, Any]:
    def both(which: np.ndarray) -> dict[str, Any]:
        rows: dict[str, Any] = {"n": int(which.sum()), "malignant": int(truth[which].sum())}
        measure: Callable[[np.ndarray], float] = lambda s: round(auc(truth[which], s[which]), 4)  # noqa: E731
        return rows | {"auc": measure(score), "auc_diameter_alone": measure(size)}

    everything = np.ones(len(truth), bool)
    bands = {
        f"{low:g}-{high:g} mm": both(within)
        for low, high in BANDS_MM
        if (within := (size >= low) & (size < high)).any() and 0 < truth[within].sum() < within.sum()
    }
    return {"patients": patients, "all": both(everything), "by_size": bands}
