"""Does a heat map show what a score rests on? Deletion and insertion after Petsiuk 2018 (RISE, BMVC; arXiv:1806.07421).

**Deletion** replaces the voxels of an image by those of a ``ground`` (what an image without the finding looks like:
the mean, a blurred copy), the most important first, and follows the score; **insertion** begins with the ground and
puts the image's voxels in. A faithful map makes the score fall, or rise, early: a small area under the deletion curve,
a large one under the insertion curve. Only the order a map gives matters.

Neither area means much alone: a score that falls whatever is removed gives every map a small one. Each is therefore set
against maps of random order on the same image, and the **gain** over them is what a claim may rest on. What is removed
leaves images no model has been trained on, so a gain tells of the score's use of the voxels and not of the disease.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from readingroom.evaluation.bootstrap import bootstrap_rows
from readingroom.evaluation.estimate import Estimate

STEPS = 32
RANDOM_MAPS = 8

Score = Callable[[np.ndarray], float]
"""The score to explain, of an image of the shape of the heat map."""


@dataclass(frozen=True, eq=False)
class FidelityCurve:
    """``score`` after the ``share`` (0..1) of voxels was taken or put in, most important first: ``(steps + 1,)``."""

    share: np.ndarray
    score: np.ndarray

    @property
    def area(self) -> float:
        """Area under the curve by trapezia, in units of the score."""
        return float(np.trapezoid(self.score, self.share))


@dataclass(frozen=True, eq=False)
class Fidelity:
    """Both curves of one heat map, and the mean area of random maps on the same image."""

    deletion: FidelityCurve
    insertion: FidelityCurve
    random_deletion_area: float
    random_insertion_area: float

    @property
    def deletion_gain(self) -> float:
        """How much sooner than at random the score falls; > 0 is better than random."""
        return self.random_deletion_area - self.deletion.area

    @property
    def insertion_gain(self) -> float:
        """How much sooner than at random the score rises; > 0 is better than random."""
        return self.insertion.area - self.random_insertion_area


class FidelityEstimates(BaseModel):
    """Means over cases, each with its interval by bootstrap over patients."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    deletion_area: Estimate
    insertion_area: Estimate
    deletion_gain: Estimate
    insertion_gain: Estimate


def fidelity(
    image: np.ndarray, heat_map: np.ndarray, ground: np.ndarray, score: Score, seed: int, *, steps: int = STEPS,
    random_maps: int = RANDOM_MAPS,
) -> Fidelity:  # fmt: skip
    """Return the fidelity of ``heat_map`` for ``score`` of ``image``; all three arrays have one shape, any dimensions.

    Voxels of equal importance are taken in random order (``seed``), so that a map that says nothing is no better than a
    random one. Asks for the score ``2 * (steps - 1) * (1 + random_maps) + 2`` times. Raises ValueError for shapes that
    differ, maps that are not finite, no steps or random maps, and a score that is not finite.
    """
    if not image.shape == heat_map.shape == ground.shape or image.size == 0:
        raise ValueError("image, heat map and ground need one shape, and a voxel at least")
    if not np.all(np.isfinite(heat_map)):
        raise ValueError("a heat map with values that are not finite gives no order")
    if steps < 1 or random_maps < 1:
        raise ValueError("there is no curve without a step, and no baseline without a random map")
    random = np.random.default_rng(seed)
    ends = _asked(score, image), _asked(score, ground)
    order = np.lexsort((random.permutation(heat_map.size), -heat_map.ravel()))
    deletion, insertion = _curves(image, ground, order, score, steps, ends)
    others = [_curves(image, ground, random.permutation(heat_map.size), score, steps, ends) for _ in range(random_maps)]
    return Fidelity(
        deletion=deletion,
        insertion=insertion,
        random_deletion_area=float(np.mean([other.area for other, _ in others])),
        random_insertion_area=float(np.mean([other.area for _, other in others])),
    )


def over_cases(cases: Sequence[Fidelity], groups: np.ndarray, seed: int) -> FidelityEstimates:
    """Return the means over ``cases``; ``groups`` ``(n,)`` names the patient of each, and patients are resampled.

    Raises ValueError for no case, or lengths that differ.
    """
    if len(cases) != len(groups) or not cases:
        raise ValueError("each case needs its patient, and there must be one")

    def mean(of: Callable[[Fidelity], float]) -> Estimate:
        values = np.array([of(case) for case in cases])
        return bootstrap_rows(groups, lambda rows: float(values[rows].mean()), seed)

    return FidelityEstimates(
        deletion_area=mean(lambda case: case.deletion.area),
        insertion_area=mean(lambda case: case.insertion.area),
        deletion_gain=mean(lambda case: case.deletion_gain),
        insertion_gain=mean(lambda case: case.insertion_gain),
    )


def _asked(score: Score, image: np.ndarray) -> float:
    value = float(score(image))
    if not np.isfinite(value):
        raise ValueError("the score is not finite")
    return value


def _curves(
    image: np.ndarray, ground: np.ndarray, order: np.ndarray, score: Score, steps: int, ends: tuple[float, float]
) -> tuple[FidelityCurve, FidelityCurve]:
    """Deletion and insertion in this order of the flat voxels; ``ends``: the scores of the image and the ground."""
    counts = np.unique(np.rint(np.linspace(0, image.size, steps + 1)).astype(int))
    whole, bare = ends
    deleted, inserted = [whole], [bare]
    for count in counts[1:-1]:
        taken = np.zeros(image.shape, bool)
        taken.flat[order[:count]] = True
        deleted.append(_asked(score, np.where(taken, ground, image)))
        inserted.append(_asked(score, np.where(taken, image, ground)))
    share = counts / image.size
    return FidelityCurve(share, np.array([*deleted, bare])), FidelityCurve(share, np.array([*inserted, whole]))
