"""From a 1 mm grid and its lungs to marks: candidates, features, score, one mark a nodule. One way for CT and cubes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from readingroom.readers.lung_nodule import candidates, features
from readingroom.readers.lung_nodule.segment import Segment, segment

Score = Callable[[np.ndarray], np.ndarray]
"""Features ``(n, f)`` -> raw score ``(n,)`` in log-odds."""

APART_MM = 6.0
MOST = 60
"""At most so many marks are segmented and reported; a chest with more is not one this reader can help with."""


@dataclass(frozen=True, eq=False)
class Mark:
    """One place with its raw score. ``index``: fractional grid index of the segment's centroid."""

    index: np.ndarray
    sigma: float
    score: float
    row: np.ndarray
    segment: Segment


def find_marks(hu: np.ndarray, lungs: np.ndarray, score: Score, threshold: float) -> list[Mark]:
    """Return marks whose raw score is at least ``threshold``, best first."""
    found = candidates.find_candidates(hu, lungs)
    if not len(found):
        return []
    rows = features.compute(hu, lungs, found)
    return merge(hu, lungs, found, rows, score(rows), threshold)


def merge(
    hu: np.ndarray,
    lungs: np.ndarray,
    found: candidates.Candidates,
    rows: np.ndarray,
    scores: np.ndarray,
    threshold: float,
) -> list[Mark]:
    """Turn scored candidates into marks: the best first, those within its segment or ``APART_MM`` merged into it."""
    level = candidates.lung_level(hu, lungs)
    marks: list[Mark] = []
    peaks: list[np.ndarray] = []
    for n in np.argsort(-scores, kind="stable"):
        if scores[n] < threshold or len(marks) >= MOST:
            break
        at = found.index[n]
        if any(_same(at, mark, peak) for mark, peak in zip(marks, peaks, strict=True)):
            continue
        piece = segment(hu, lungs, level, at, float(found.sigma[n]))
        # The other way round too: a larger segment that swallows a better mark is that mark again.
        if any(np.linalg.norm(piece.centre - mark.index) < APART_MM / 2 for mark in marks):
            continue
        marks.append(Mark(piece.centre, float(found.sigma[n]), float(scores[n]), rows[n], piece))
        peaks.append(at)
    return marks


def _same(at: np.ndarray, mark: Mark, peak: np.ndarray) -> bool:
    if min(np.linalg.norm(at - mark.index), np.linalg.norm(at - peak)) < APART_MM:
        return True
    local = np.rint(at - mark.segment.offset).astype(int)
    shape = mark.segment.mask.shape
    if (local < -2).any() or (local >= np.array(shape) + 2).any():
        return False
    low = np.clip(local - 2, 0, shape)
    high = np.clip(local + 3, 0, shape)
    return bool(mark.segment.mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].any())


def litres(lungs: np.ndarray | Sequence[np.ndarray], step_mm: float = 1.0) -> float:
    """Volume of a lung mask (or several), litres."""
    return float(np.count_nonzero(lungs)) * step_mm**3 / 1e6
