"""From scores of slices to what is said of them and of the scan: how a scan is scored, calibration, operating points.

Fixed before any training: a scan's score is the mean of its ``TOP`` highest slices; the operating point is the highest
at which at least ``SENSITIVITY`` of the bleeding patients are found out of fold; a slice is called positive above what
``SLICE_SPECIFICITY`` of the slices without blood stay below out of fold.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from readingroom.core.errors import BadInput
from readingroom.inference.calibration import Calibration
from readingroom.readers.head_ct_triage.slices import CLASSES

TOP = 3
SENSITIVITY = 0.90
SLICE_SPECIFICITY = 0.95


def scan_score(scores: np.ndarray) -> np.ndarray:
    """Return the scores of a scan ``(classes,)`` of those of its slices ``(slices, classes)``."""
    return np.asarray(np.sort(scores, axis=0)[-TOP:].mean(axis=0))


def scan_scores(scores: np.ndarray, patient: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the patients, ascending, and the scores of their scans ``(patients, classes)``."""
    names = np.unique(patient)
    return names, np.stack([scan_score(scores[patient == name]) for name in names])


@dataclass(frozen=True, eq=False)
class Calibrations:
    """Of each class: ``slices`` and ``scans``. ``slice_point``: probability from which a slice is called positive."""

    slices: Mapping[str, Calibration]
    scans: Mapping[str, Calibration]
    slice_point: float

    def as_json(self) -> dict[str, object]:
        return {
            "slices": {name: one.model_dump() for name, one in self.slices.items()},
            "scans": {name: one.model_dump() for name, one in self.scans.items()},
            "slice_point": self.slice_point,
        }


def read_calibrations(data: bytes) -> Calibrations:
    """Read the JSON. Raises BadInput on anything else."""
    try:
        kept = json.loads(data)
        parts = [{name: Calibration.model_validate(kept[part][name]) for name in CLASSES} for part in PARTS]
        return Calibrations(parts[0], parts[1], float(kept["slice_point"]))
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"Not the calibrations of this reader: {type(error).__name__}.") from None


PARTS = ("slices", "scans")


def operating_point(truth: np.ndarray, probability: np.ndarray) -> float:
    """Return the highest probability at which at least ``SENSITIVITY`` of ``truth`` reach it."""
    reached = np.sort(probability[truth])[::-1]
    return float(reached[int(np.ceil(SENSITIVITY * len(reached))) - 1])


def slice_point(truth: np.ndarray, probability: np.ndarray) -> float:
    """Return the probability below which ``SLICE_SPECIFICITY`` of the slices without blood stay."""
    return float(np.nextafter(np.quantile(probability[~truth], SLICE_SPECIFICITY), 1))
