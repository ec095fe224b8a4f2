"""Patches: the part of a 1 mm grid around a candidate as the network sees it.

A patch is ``SIZE`` voxels a side. Around small candidates a voxel is 1 mm; around large ones, whose nodule would not
fit, it is ``WIDE_MM``. Beyond the data the lung's own level stands, which says neither vessel nor wall.
"""

import numpy as np
from scipy import ndimage

SIZE = 32
WIDE_SIGMA = 4.8
"""From this scale of the blob on (mm; the radius of a ball is 1.7 of it) the patch is the wide one."""
WIDE_MM = 1.5
LOW_HU, HIGH_HU = -1000.0, 200.0


def step_of(sigma: float) -> float:
    """Return the patch's voxel in mm for a candidate of scale ``sigma`` mm."""
    return WIDE_MM if sigma >= WIDE_SIGMA else 1.0


def cut(array: np.ndarray, centre: np.ndarray, step: float, outside: float, size: int = SIZE) -> np.ndarray:
    """Return float32 ``(size, size, size)`` of ``array`` around the grid index ``centre``, a voxel ``step`` wide.

    Linear in between; ``outside`` where the grid has ended. The middle lies between the two middle voxels.
    """
    offsets = (np.arange(size) - (size - 1) / 2) * step
    places = [offsets + c for c in np.asarray(centre, float)]
    low = [max(0, int(np.floor(p[0])) - 1) for p in places]
    high = [min(n, int(np.ceil(p[-1])) + 2) for p, n in zip(places, array.shape, strict=True)]
    if any(a >= b for a, b in zip(low, high, strict=True)):
        return np.full((size, size, size), outside, np.float32)
    box = array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].astype(np.float32)
    for axis in range(3):
        box = _along(box, axis, places[axis] - low[axis])
    # Half a voxel beyond the last centre still belongs to the image; what is further is not.
    for axis, n in enumerate(array.shape):
        beyond = (places[axis] < -0.5) | (places[axis] > n - 0.5)
        if beyond.any():
            box[tuple(beyond if a == axis else slice(None) for a in range(3))] = outside
    return box


def _along(array: np.ndarray, axis: int, at: np.ndarray) -> np.ndarray:
    at = np.clip(at, 0, array.shape[axis] - 1)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, array.shape[axis] - 1)
    shape = [1, 1, 1]
    shape[axis] = len(at)
    weight = (at - low).astype(np.float32).reshape(shape)
    first = array.take(low, axis)
    return np.asarray(first + (array.take(high, axis) - first) * weight, np.float32)


def normalised(hu: np.ndarray) -> np.ndarray:
    """Return HU as the network takes them: float32, -1 at ``LOW_HU`` and below, 1 at ``HIGH_HU`` and above."""
    middle, half = (LOW_HU + HIGH_HU) / 2, (HIGH_HU - LOW_HU) / 2
    return np.asarray((np.clip(hu, LOW_HU, HIGH_HU) - middle) / half, np.float32)


def put_back(patch: np.ndarray, centre: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Return a patch's values on the 1 mm grid, with the grid index of the first voxel. Inverse of ``cut``."""
    half = (SIZE - 1) / 2 * step
    first = np.ceil(np.asarray(centre, float) - half).astype(int)
    last = np.floor(np.asarray(centre, float) + half).astype(int)
    axes = [(np.arange(a, b + 1) - c) / step + (SIZE - 1) / 2 for a, b, c in zip(first, last, centre, strict=True)]
    out = patch.astype(np.float32)
    for axis in range(3):
        out = _along(out, axis, axes[axis])
    return out, first


def soft_edge(mask: np.ndarray) -> np.ndarray:
    """Return a mask as float32 whose half lies on its surface, so that cutting between voxels keeps its volume."""
    return np.asarray(ndimage.gaussian_filter(mask.astype(np.float32), 0.4), np.float32)
