"""Probability of dementia (CDR above 0) from z-scores: a regularised logistic regression, calibrated out of fold.

Learnt of people of 60 and more only: below, the tables hold nobody with dementia, and age alone would answer. Half of
those it learnt from have dementia; for another group the probability is moved by the share expected there (Elkan 2001).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import ValidationError

from readingroom.core.errors import BadInput
from readingroom.findings.model import Contribution
from readingroom.inference.calibration import Calibration, sigmoid
from readingroom.readers.alzheimer.regions import BOTH_VOLUMES, MEDIAL_TEMPORAL, SINGLE, words_of

YOUNGEST = 60.0
AGE, MALE = "age", "male"
SETS: Mapping[str, tuple[str, ...]] = {
    "hippocampus": ("Hippocampus",),
    "medial temporal": MEDIAL_TEMPORAL,
    "all": (*BOTH_VOLUMES, *SINGLE),
}
"""Groups of regions that cross-validation chooses among; age and sex are always in."""
LARGEST_Z = 6.0
"""A z beyond is taken as this: no single region may decide alone however badly it was segmented."""


@dataclass(frozen=True)
class Dementia:
    """``weights`` in log-odds of z of ``regions``, then of decades from 75 years and of being male. ``prevalence``:
    of those it was calibrated on."""

    regions: tuple[str, ...]
    weights: tuple[float, ...]
    offset: float
    calibration: Calibration
    prevalence: float
    operating_point: float

    def score(self, z: np.ndarray, age: np.ndarray, male: np.ndarray) -> np.ndarray:
        """Return raw log-odds ``(n,)`` of z ``(n, regions)``."""
        return rows_of(z, age, male) @ np.array(self.weights) + self.offset

    def probability(self, z: Mapping[str, float], age: float, male: bool, prevalence: float | None = None) -> float:
        """Return the calibrated probability, moved to ``prevalence`` where one is given.

        Raises BadInput below YOUNGEST, where a region is missing, or for a prevalence that is none.
        """
        missing = [name for name in self.regions if name not in z]
        if age < YOUNGEST:
            raise BadInput(
                f"A probability of dementia is given from {YOUNGEST:g} years on: it learnt of nobody younger."
            )
        if missing:
            raise BadInput(f"For a probability of dementia {len(missing)} regions are missing, {words_of(missing[0])}.")
        log_odds = float(self.calibration.log_odds(self._score(z, age, male)))
        if prevalence is not None:
            if not 0 < prevalence < 1:
                raise BadInput("A prevalence lies between 0 and 1.")
            log_odds += _logit(prevalence) - _logit(self.prevalence)
        return float(sigmoid(np.array(log_odds)))

    def contributions(self, z: Mapping[str, float], age: float, male: bool) -> tuple[Contribution, ...]:
        """Return what each region moved in calibrated log-odds, largest first; the start and they sum to the score."""
        slope = self.calibration.slope
        values = rows_of(np.array([[z[name] for name in self.regions]]), np.array([age]), np.array([float(male)]))[0]
        said = [*(f"z of {words_of(name)}" for name in self.regions), "age, decades from 75", "male"]
        parts = [
            Contribution(feature=words, value=round(float(value), 3), weight=round(slope * weight * float(value), 4))
            for words, value, weight in zip(said, values, self.weights, strict=True)
        ]
        start = Contribution(
            feature="start", value=None, weight=round(slope * self.offset + self.calibration.offset, 4)
        )  # fmt: skip
        return (start, *sorted(parts, key=lambda part: -abs(part.weight)))

    def _score(self, z: Mapping[str, float], age: float, male: bool) -> np.ndarray:
        row = np.array([[z[name] for name in self.regions]])
        return self.score(row, np.array([age]), np.array([float(male)]))[0]

    def as_json(self) -> dict[str, Any]:
        return {
            "regions": list(self.regions), "weights": list(self.weights), "offset": self.offset,
            "calibration": self.calibration.model_dump(exclude_defaults=True) | {"kind": self.calibration.kind},
            "prevalence": self.prevalence, "operating_point": self.operating_point,
        }  # fmt: skip


def rows_of(z: np.ndarray, age: np.ndarray, male: np.ndarray) -> np.ndarray:
    """Return the regression's rows ``(n, regions + 2)``."""
    decades = (np.asarray(age, float) - 75) / 10
    return np.column_stack([np.clip(z, -LARGEST_Z, LARGEST_Z), decades, np.asarray(male, float)])


def read_dementia(data: bytes) -> Dementia:
    """Read what ``as_json`` wrote. Raises BadInput on anything else."""
    try:
        kept = json.loads(data)
        regions, weights = tuple(map(str, kept["regions"])), tuple(float(w) for w in kept["weights"])
        if len(weights) != len(regions) + 2 or not np.isfinite([*weights, kept["offset"]]).all():
            raise ValueError("weights")
        return Dementia(
            regions, weights, float(kept["offset"]), Calibration.model_validate(kept["calibration"]),
            float(kept["prevalence"]), float(kept["operating_point"]),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise BadInput(f"Not a model of dementia: {type(error).__name__}.") from None


def _logit(share: float) -> float:
    return float(np.log(share / (1 - share)))
