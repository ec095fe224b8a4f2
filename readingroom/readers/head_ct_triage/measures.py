"""What is measured of bleeding and fracture, out of fold and on the locked patients alike: AUCs with their intervals.

Of scans with DeLong's interval; of slices by bootstrap over patients; position-matched: only slices of the same tenth
of the head are compared; position-only: what the height of a slice alone gives.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from readingroom.evaluation.bootstrap import DRAWS, bootstrap_rows
from readingroom.evaluation.classification import (
    at_operating_point,
    auc,
    delong,
    expected_calibration_error,
    matched_auc,
)
from readingroom.evaluation.estimate import FEW_POSITIVES
from readingroom.readers.head_ct_triage import position
from readingroom.readers.head_ct_triage.scores import scan_scores
from readingroom.readers.head_ct_triage.slices import CLASSES, TYPES

SEED = 20261130
SLICE_DRAWS = DRAWS // 4


@dataclass(frozen=True, eq=False)
class Judged:
    """Slices with what was said of them. ``scores`` and ``truth`` ``(n, 7)``; ``patient``, ``height`` ``(n,)``;
    ``by_height`` ``(n, 7)``: what the height alone says, learnt on other patients; ``bony``: whether the bone window
    was there, without which nothing is said of fractures."""

    scores: np.ndarray
    truth: np.ndarray
    patient: np.ndarray
    height: np.ndarray
    by_height: np.ndarray
    bony: np.ndarray

    def of(self, rows: np.ndarray) -> "Judged":
        """Some of the slices."""
        return Judged(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def measure(judged: Judged) -> dict[str, Any]:
    """Return every metric by name as evaluation files write them; what can't be had (one class only) is left out."""
    found: dict[str, Any] = {}
    for number, name in enumerate(CLASSES):
        if name in TYPES:
            found |= _of_class(judged, number, f"type_{name}", slices=False)
        else:
            found |= _of_class(judged.of(judged.bony) if name == "fracture" else judged, number, name, slices=True)
    return found


def _of_class(judged: Judged, number: int, name: str, slices: bool) -> dict[str, Any]:
    truth, said = judged.truth[:, number].astype(bool), judged.scores[:, number]
    if truth.all() or not truth.any():
        return {}
    names, scans = scan_scores(judged.scores, judged.patient)
    whole = np.array([truth[judged.patient == one].any() for one in names])
    found: dict[str, Any] = {}
    if 0 < whole.sum() < len(whole):
        found[f"auc_{name}_patient"] = delong(whole, scans[:, number]).as_metric() | {"positives": int(whole.sum())}
    height, by_height, level = judged.height, judged.by_height[:, number], position.stratum(judged.height)

    def over(statistic: Any) -> dict[str, Any]:
        one: dict[str, Any] = bootstrap_rows(judged.patient, statistic, SEED, SLICE_DRAWS).as_metric()
        return one | {"positives": int(truth.sum())}

    assert len(height) == len(truth)
    found[f"auc_{name}_slice"] = over(lambda rows: auc(truth[rows], said[rows]))
    found[f"auc_{name}_slice_position_matched"] = over(lambda rows: matched_auc(truth[rows], said[rows], level[rows]))
    if slices:
        found[f"auc_{name}_position_only"] = over(lambda rows: auc(truth[rows], by_height[rows]))
    return found


def at_point(truth: np.ndarray, probability: np.ndarray, point: float) -> dict[str, Any]:
    """Return sensitivity and specificity of scans at the operating point, and the calibration error."""
    here = at_operating_point(truth, probability, point)
    return {
        "sensitivity_hemorrhage_patient": here.sensitivity.as_metric(),
        "specificity_hemorrhage_patient": here.specificity.as_metric(),
        "calibration_error_hemorrhage_patient": {
            "value": round(expected_calibration_error(truth, probability, 5), 4), "ci95": [None, None],
            "n": len(truth),
        },
    }  # fmt: skip


def few(metrics: dict[str, Any]) -> list[str]:
    """Return the metrics that rest on fewer than ``FEW_POSITIVES`` positives: no claim rests on them."""
    return sorted(n for n, m in metrics.items() if m.get("positives", FEW_POSITIVES) < FEW_POSITIVES)
