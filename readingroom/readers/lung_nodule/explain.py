"""Why a mark got its score: what each group of the first look's features added, what the network did, and where it saw
it.

For every subset of groups the first look is asked what it would say if only those groups had this candidate's values
and the others those of the usual false candidate: exact Shapley values. Both looks are added up in log-odds, so that
the contributions and the baseline give the mark's log-odds exactly.
"""

from dataclasses import dataclass
from itertools import combinations
from math import factorial

import numpy as np
from scipy import ndimage

from readingroom.findings.model import Contribution
from readingroom.inference.calibration import Calibration
from readingroom.readers.lung_nodule.detect import Mark, Score, Weighing
from readingroom.readers.lung_nodule.features import GROUPS, GROUPS_OF, NAMES
from readingroom.readers.lung_nodule.grid import Grid
from readingroom.readers.lung_nodule.measure import SourceMask
from readingroom.readers.lung_nodule.patches import SIZE

BASELINE = "usual false candidate (baseline)"
NETWORK = "second look: log-odds of the network"
_SHOWN = {
    "blob shape": ("sphericity_hessian", "1 is a ball"),
    "size": ("ray_median", "median radius in mm"),
    "density": ("core_hu", "HU at the centre"),
    "outline": ("ray_spread", "spread of the radii, 0 is even"),
    "attachments": ("bright_1.7", "bright share at 1.7 radii"),
    "surroundings": ("depth_mm", "depth in the lung, at most 15 mm"),
}
"""The one feature shown for each group, and what its value is in words."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """``typical``: features ``(f,)`` of the usual false candidate; ``second``: the network's log-odds of it."""

    typical: np.ndarray
    second: float
    weighing: Weighing
    calibration: Calibration
    first: Score

    def contributions(self, mark: Mark) -> tuple[Contribution, ...]:
        """Return the baseline, and one contribution a group and one of the network, largest first.

        The calibration is a straight line (Platt), so that shares of the score are shares of the log-odds.
        """
        slope = self.calibration.slope
        found = []
        shapley, start = _shapley(mark.row, self.typical, self.first)
        for group, name in enumerate(GROUPS):
            shown, words = _SHOWN[name]
            value = round(float(mark.row[NAMES.index(shown)]), 3)
            weight = slope * self.weighing.first * shapley[group]
            found.append(Contribution(feature=f"{name}: {words}", value=value, weight=round(weight, 4)))
        weight = slope * self.weighing.second * (mark.second - self.second)
        found.append(Contribution(feature=NETWORK, value=round(mark.second, 3), weight=round(weight, 4)))
        at = float(self.calibration.log_odds(self.weighing.score(np.array(start), np.array(self.second))))
        baseline = Contribution(feature=BASELINE, value=None, weight=round(at, 4))
        return (baseline, *sorted(found, key=lambda c: -abs(c.weight)))


def _shapley(row: np.ndarray, baseline: np.ndarray, first: Score) -> tuple[list[float], float]:
    """Shapley value of each group of features, and the first look's score of the baseline."""
    members = [np.array([g == group for g in GROUPS_OF]) for group in GROUPS]
    count = len(GROUPS)
    subsets = [frozenset(s) for size in range(count + 1) for s in combinations(range(count), size)]
    rows = np.tile(baseline, (len(subsets), 1))
    for n, subset in enumerate(subsets):
        for group in subset:
            rows[n, members[group]] = row[members[group]]
    value = dict(zip(subsets, first(rows), strict=True))
    found = []
    for group in range(count):
        weight = 0.0
        for subset in subsets:
            if group not in subset:
                share = factorial(len(subset)) * factorial(count - len(subset) - 1) / factorial(count)
                weight += share * float(value[subset | {group}] - value[subset])
        found.append(weight)
    return found, float(value[frozenset()])


def heat_map(mark: Mark, grid: Grid, source: SourceMask) -> np.ndarray:
    """Return where the network found what speaks for a nodule: float32 0..1 on the box of the segment ``source``.

    1 is the highest in the box; all 0 where nothing there spoke for it.
    """
    axes = np.meshgrid(
        *(np.arange(n) + o for n, o in zip(source.mask.shape, source.offset, strict=True)), indexing="ij"
    )
    here = (grid.from_source(np.stack(axes, axis=-1)) - mark.at) / mark.step + (SIZE - 1) / 2
    values = ndimage.map_coordinates(mark.where, here.reshape(-1, 3).T, order=1, mode="constant", cval=0.0)
    values = np.maximum(values.reshape(source.mask.shape), 0)
    highest = float(values.max())
    return np.asarray(np.clip(values / highest, 0, 1) if highest > 0 else values, np.float32)
