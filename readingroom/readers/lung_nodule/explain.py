"""Why a mark got its score: exact Shapley values over the groups of features, in calibrated log-odds.

For every subset of groups the model is asked what it would say if only those groups had this candidate's values and the
others those of the usual false candidate. The contributions and the baseline add up to the mark's log-odds exactly.
"""

from collections.abc import Callable
from itertools import combinations
from math import factorial

import numpy as np

from readingroom.findings.model import Contribution
from readingroom.readers.lung_nodule.features import GROUPS, GROUPS_OF, NAMES

BASELINE = "usual false candidate (baseline)"
_SHOWN = {
    "blob shape": ("sphericity_hessian", "1 is a ball"),
    "size": ("ray_median", "median radius in mm"),
    "density": ("core_hu", "HU at the centre"),
    "outline": ("ray_spread", "spread of the radii, 0 is even"),
    "attachments": ("bright_1.7", "bright share at 1.7 radii"),
    "surroundings": ("depth_mm", "depth in the lung, at most 15 mm"),
}
"""The one feature shown for each group, and what its value is in words."""


def contributions(
    row: np.ndarray, baseline: np.ndarray, log_odds: Callable[[np.ndarray], np.ndarray]
) -> tuple[Contribution, ...]:
    """Return the baseline and one contribution a group, largest first. ``row``, ``baseline``: ``(f,)``."""
    members = [np.array([g == group for g in GROUPS_OF]) for group in GROUPS]
    count = len(GROUPS)
    subsets = [frozenset(s) for size in range(count + 1) for s in combinations(range(count), size)]
    rows = np.tile(baseline, (len(subsets), 1))
    for n, subset in enumerate(subsets):
        for group in subset:
            rows[n, members[group]] = row[members[group]]
    value = dict(zip(subsets, log_odds(rows), strict=True))
    found = []
    for group, name in enumerate(GROUPS):
        weight = 0.0
        for subset in subsets:
            if group not in subset:
                share = factorial(len(subset)) * factorial(count - len(subset) - 1) / factorial(count)
                weight += share * (value[subset | {group}] - value[subset])
        shown, words = _SHOWN[name]
        value_shown = round(float(row[NAMES.index(shown)]), 3)
        found.append(Contribution(feature=f"{name}: {words}", value=value_shown, weight=round(weight, 4)))
    start = Contribution(feature=BASELINE, value=None, weight=round(float(value[frozenset()]), 4))
    return (start, *sorted(found, key=lambda c: -abs(c.weight)))
