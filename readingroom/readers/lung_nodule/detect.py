"""From a 1 mm grid and its lungs to marks, in two looks. One way for CT, cubes and training.

The first look scores every candidate by its features and leaves the ``LOOKED_PER_LITRE`` most nodule-like; the network
looks at those. The score of a mark is what both say, weighed (``Weighing``), in log-odds.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from readingroom.core.errors import BadInput
from readingroom.inference.calibration import sigmoid
from readingroom.readers.lung_nodule import candidates, features
from readingroom.readers.lung_nodule.patches import cut, normalised, step_of
from readingroom.readers.lung_nodule.ratings import NAMES
from readingroom.readers.lung_nodule.segment import Segment, segment

Score = Callable[[np.ndarray], np.ndarray]
"""Features ``(n, f)`` -> raw score ``(n,)`` in log-odds."""
Network = Callable[[np.ndarray], dict[str, np.ndarray]]
"""Patches ``(n, 1, 32, 32, 32)`` float32 -> outputs by name (``OUTPUTS``)."""

OUTPUTS = ("nodule", "mask", "ratings", "features", "where")
"""Of the network: ``nodule`` (n) log-odds, ``mask`` (n, 32, 32, 32) log-odds, ``ratings`` (n, 4) 0..1 of
``ratings.NAMES``, ``features`` (n, g), ``where`` (n, 32, 32, 32), at least 0."""
LOOKED_PER_LITRE = 60
LOOKED_AT_LEAST = 24
BATCH = 32
APART_MM = 6.0
MOST = 60
"""At most so many marks are segmented and reported; a chest with more is not one this reader can help with."""


@dataclass(frozen=True)
class Weighing:
    """How the two looks make one score: ``first`` and ``second`` multiply their log-odds. ``cut``: what probability a
    voxel of the network's mask must have to belong to the segment."""

    first: float
    second: float
    cut: float = 0.5

    def score(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return self.first * first + self.second * second

    def as_json(self) -> dict[str, float]:
        return {"first": self.first, "second": self.second, "cut": self.cut}


def read_weighing(data: bytes) -> Weighing:
    """Read what ``as_json`` wrote. Raises BadInput on anything else."""
    try:
        kept = json.loads(data)
        return Weighing(float(kept["first"]), float(kept["second"]), float(kept["cut"]))
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"Not a weighing: {type(error).__name__}.") from None


@dataclass(frozen=True, eq=False)
class Looked:
    """The candidates the network looked at: ``rows`` features ``(n, f)``, ``first`` and ``second`` log-odds ``(n,)``,
    ``mask`` log-odds, ``where`` ``(n, 32, 32, 32)``, ``ratings`` 0..1 ``(n, 4)``, ``features`` ``(n, g)``."""

    found: candidates.Candidates
    rows: np.ndarray
    first: np.ndarray
    second: np.ndarray
    mask: np.ndarray
    where: np.ndarray
    ratings: np.ndarray
    features: np.ndarray

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True, eq=False)
class Mark:
    """One place with its score. ``index``: fractional grid index of the segment's centroid; ``at``, ``step``: of the
    patch whose ``where`` this is; ``ratings``: 1 to 5 by name."""

    index: np.ndarray
    sigma: float
    score: float
    first: float
    second: float
    row: np.ndarray
    segment: Segment
    at: np.ndarray
    step: float
    where: np.ndarray
    ratings: dict[str, float]
    features: np.ndarray


def look(hu: np.ndarray, lungs: np.ndarray, first: Score, network: Network) -> Looked | None:
    """Return what both looks say of the candidates in ``hu`` (1 mm grid) inside ``lungs``; None where there is none."""
    found = candidates.find_candidates(hu, lungs)
    if not len(found):
        return None
    rows = features.compute(hu, lungs, found)
    scores = first(rows)
    most = max(LOOKED_AT_LEAST, int(LOOKED_PER_LITRE * litres(lungs)))
    best = np.argsort(-scores, kind="stable")[:most]
    kept = found.take(best)
    level = candidates.lung_level(hu, lungs)
    steps = [step_of(float(s)) for s in kept.sigma]
    said: list[dict[str, np.ndarray]] = []
    for n in range(0, len(kept), BATCH):
        some = [cut(hu, kept.index[m], steps[m], level) for m in range(n, min(n + BATCH, len(kept)))]
        said.append(network(normalised(np.stack(some))[:, None]))
    out = {name: np.concatenate([one[name] for one in said]) for name in said[0]}
    return Looked(
        kept, rows[best], scores[best], out["nodule"].astype(np.float64), out["mask"], out["where"], out["ratings"],
        out["features"],
    )  # fmt: skip


def marks_of(looked: Looked | None, weighing: Weighing, shape: tuple[int, ...], threshold: float) -> list[Mark]:
    """Return marks whose score is at least ``threshold``, best first; those of one nodule are merged into the best.

    One nodule: within its segment or ``APART_MM``. ``shape``: of the grid.
    """
    if looked is None:
        return []
    scores = weighing.score(looked.first, looked.second)
    marks: list[Mark] = []
    peaks: list[np.ndarray] = []
    for n in np.argsort(-scores, kind="stable"):
        if scores[n] < threshold or len(marks) >= MOST:
            break
        at, sigma = looked.found.index[n], float(looked.found.sigma[n])
        if any(_same(at, mark, peak) for mark, peak in zip(marks, peaks, strict=True)):
            continue
        step = step_of(sigma)
        piece = segment(sigmoid(looked.mask[n]), at, step, shape, weighing.cut)
        # The other way round too: a larger segment that swallows a better mark is that mark again.
        if any(np.linalg.norm(piece.centre - mark.index) < APART_MM / 2 for mark in marks):
            continue
        marks.append(
            Mark(
                piece.centre, sigma, float(scores[n]), float(looked.first[n]), float(looked.second[n]), looked.rows[n],
                piece, at, step, looked.where[n],
                {name: 1 + 4 * float(v) for name, v in zip(NAMES, looked.ratings[n], strict=True)}, looked.features[n],
            )
        )  # fmt: skip
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
