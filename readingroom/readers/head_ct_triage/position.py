"""What the height of a slice alone says: the row that stands beside every measure on slices.

A slice in the middle of the head bleeds far more often than one of the neck or the crown: whoever knows only how high a
slice lies has a slice AUC well above a half. The share of positive slices at each height, smoothed.
"""

import numpy as np

BINS = 10
WIDTH = 0.06
"""Of the smoothing, in heads."""
KNOTS = 50


def learn(height: np.ndarray, truth: np.ndarray) -> list[float]:
    """Return the share of positives at ``KNOTS`` heights. ``height`` ``(n,)`` 0..1, ``truth`` ``(n,)``."""
    at = (np.arange(KNOTS) + 0.5) / KNOTS
    weight = np.exp(-0.5 * ((at[:, None] - height[None]) / WIDTH) ** 2)
    return [round(float(v), 6) for v in (weight @ truth.astype(float)) / weight.sum(axis=1)]


def score(height: np.ndarray, shares: list[float]) -> np.ndarray:
    """Return what ``shares`` say of slices at ``height``."""
    return np.asarray(np.interp(height, (np.arange(KNOTS) + 0.5) / KNOTS, shares))


def stratum(height: np.ndarray) -> np.ndarray:
    """Return the tenth of the head that each slice lies in: slices are compared within it (position-matched AUC)."""
    return np.minimum((height * BINS).astype(int), BINS - 1)
