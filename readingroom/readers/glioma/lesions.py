"""From the network's probabilities to lesions: connected parts, how sure each is, what may be reported."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

CUT = 0.5
"""A pixel is tumour where the networks say more likely than not. Fixed beforehand."""
LEAST_MM2 = 20.0
"""Parts whose largest slice is smaller than this are not looked at: a few pixels."""
MOST = 12
_JOINED = np.ones((3, 3, 3), bool)


@dataclass(frozen=True, eq=False)
class Lesion:
    """``mask``: bool on the whole stack. ``score``: log of the probability (summed over pixels, mm2) in the slice that
    holds most of it: it rises with size and sureness, whatever the distance of the slices."""

    mask: np.ndarray
    score: float


def lesions_of(chance: np.ndarray, pixel_mm2: float = 1.0) -> list[Lesion]:
    """Return the connected parts (corners counting) of ``chance`` ``(slices, rows, columns)`` above CUT, surest
    first."""
    labels, count = ndimage.label(chance > CUT, _JOINED)
    if not count:
        return []
    index = np.arange(1, count + 1)
    weight = np.stack([ndimage.sum_labels(plane, its, index) for plane, its in zip(chance, labels, strict=True)])
    area = np.stack([np.bincount(its.ravel(), minlength=count + 1)[1:] for its in labels])
    large = np.flatnonzero(area.max(axis=0) * pixel_mm2 >= LEAST_MM2)
    scores = np.log(weight.max(axis=0) * pixel_mm2 + 1e-9)
    kept = sorted(large, key=lambda n: (-scores[n], n))[:MOST]
    return [Lesion(labels == n + 1, float(scores[n])) for n in kept]


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)), float32."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * np.asarray(x, np.float32))), np.float32)
