"""Marks against lesions: which mark hits what, and the free-response curve (FROC).

A case is one patient's scan. A mark has a score and the number of the lesion it hits, or None, by whatever rule the
task declares (``hits_by_distance`` is the usual one). Where several marks hit one lesion the best counts and the
others are neither hits nor false (as in LUNA16, Setio 2017, Medical Image Analysis 42:1). Marks on a lesion that is
not to be counted (``counts`` False: too small, agreed by too few) are ignored.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from readingroom.evaluation.bootstrap import DRAWS, bootstrap
from readingroom.evaluation.estimate import Estimate

LUNA_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False positives a scan at which LUNA16 averages sensitivity."""


@dataclass(frozen=True)
class Lesion:
    """``counts`` False: neither missed nor found, and marks on it are not false."""

    counts: bool = True


@dataclass(frozen=True)
class Mark:
    score: float
    hits: int | None


@dataclass(frozen=True)
class Matched:
    """One case: the best score that hit each counted lesion (-inf: missed), and the scores of false marks.

    ``units`` is what false marks are counted by: 1 for a scan, or litres of lung.
    """

    found: tuple[float, ...]
    false: tuple[float, ...]
    units: float = 1.0


def hits_by_distance(
    points_mm: np.ndarray, centres_mm: np.ndarray, radii_mm: np.ndarray, least_mm: float = 0.0
) -> list[int | None]:
    """Return for each point ``(m, 3)`` the nearest lesion within max(radius, ``least_mm``) of its centre ``(n, 3)``,
    or None.
    """
    if not len(centres_mm) or not len(points_mm):
        return [None] * len(points_mm)
    distance = np.linalg.norm(np.asarray(points_mm)[:, None] - np.asarray(centres_mm)[None], axis=2)
    reachable = np.where(distance <= np.maximum(np.asarray(radii_mm), least_mm)[None], distance, np.inf)
    nearest = reachable.argmin(axis=1)
    return [int(n) if np.isfinite(reachable[row, n]) else None for row, n in enumerate(nearest)]


def match(lesions: Sequence[Lesion], marks: Sequence[Mark], units: float = 1.0) -> Matched:
    """Return what a case's marks found. Raises ValueError for a mark that hits a lesion which is not there."""
    best = [-np.inf] * len(lesions)
    false = []
    for mark in marks:
        if mark.hits is None:
            false.append(mark.score)
        elif 0 <= mark.hits < len(lesions):
            best[mark.hits] = max(best[mark.hits], mark.score)
        else:
            raise ValueError("a mark hits a lesion that is not there")
    return Matched(tuple(b for b, lesion in zip(best, lesions, strict=True) if lesion.counts), tuple(false), units)


@dataclass(frozen=True, eq=False)
class Froc:
    """Sensitivity against false marks a unit at each threshold, from the highest score down."""

    false_per_unit: np.ndarray
    sensitivity: np.ndarray
    threshold: np.ndarray


def froc(cases: Sequence[Matched]) -> Froc:
    """Return the FROC curve of all cases together (Bunch 1978; Chakraborty 2013). Raises ValueError without a
    lesion.
    """
    found = np.array([score for case in cases for score in case.found])
    false = np.array([score for case in cases for score in case.false])
    units = sum(case.units for case in cases)
    if not len(found) or units <= 0:
        raise ValueError("a FROC curve needs a lesion and something searched")
    threshold = np.unique(np.concatenate([found[np.isfinite(found)], false]))[::-1]
    hit = len(found) - np.searchsorted(np.sort(found), threshold, side="left")
    wrong = len(false) - np.searchsorted(np.sort(false), threshold, side="left")
    return Froc(np.append(0.0, wrong / units), np.append(0.0, hit / len(found)), np.append(np.inf, threshold))


def sensitivity_at(cases: Sequence[Matched], false_per_unit: float) -> float:
    """Return the highest sensitivity at no more than so many false marks a unit (a step curve: nothing
    interpolated).
    """
    curve = froc(cases)
    return float(curve.sensitivity[curve.false_per_unit <= false_per_unit + 1e-12].max())


def froc_mean(cases: Sequence[Matched], rates: Sequence[float] = LUNA_RATES) -> float:
    """Return the mean of ``sensitivity_at`` over ``rates``: LUNA16's competition performance metric."""
    return float(np.mean([sensitivity_at(cases, rate) for rate in rates]))


def sensitivity(cases: Sequence[Matched], threshold: float) -> float:
    """Return the share of lesions hit by a mark of at least ``threshold``, all patients' lesions together."""
    found = [score >= threshold for case in cases for score in case.found]
    if not found:
        raise ValueError("no lesion to find")
    return float(np.mean(found))


def false_marks_per_unit(cases: Sequence[Matched], threshold: float) -> float:
    """Return false marks of at least ``threshold`` divided by the units searched."""
    units = sum(case.units for case in cases)
    if units <= 0:
        raise ValueError("nothing was searched")
    return sum(score >= threshold for case in cases for score in case.false) / units


def froc_mean_estimate(cases: Sequence[Matched], seed: int, draws: int = DRAWS) -> Estimate:
    """Return ``froc_mean`` with its bootstrap interval over patients."""
    return bootstrap(cases, froc_mean, seed, draws)
