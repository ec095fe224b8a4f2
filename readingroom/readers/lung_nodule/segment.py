"""The segment of one candidate: half-way threshold around its core, vessels and wall cut off by opening.

Works on a patch of the 1 mm grid. The threshold lies ``EDGE`` of the way from the lung's level to the candidate's core,
so ground glass gets a lower one than solid tissue. Two rounds: the second starts from the first one's centroid.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from readingroom.readers.lung_nodule.features import RAYS
from readingroom.readers.lung_nodule.grid import bounding_box

REACH = 26
EDGE = 0.30
OPENING = 0.44
"""Radius of the opening as a share of the radius: larger cuts thicker vessels and more spicules."""
BALL = 1.5
"""Nothing further from the centre than this many radii belongs to the nodule."""
CORE_HIGH_HU = 50.0
LARGEST_RADIUS = 17.0


@dataclass(frozen=True, eq=False)
class Segment:
    """``mask`` bool, with ``offset`` the grid index of its first voxel; ``centre``: centroid, grid index."""

    mask: np.ndarray
    offset: np.ndarray
    centre: np.ndarray
    threshold_hu: float


def segment(hu: np.ndarray, lungs: np.ndarray, level: float, centre: np.ndarray, sigma: float) -> Segment:
    """Return the segment around ``centre`` (grid index) in ``hu`` (1 mm grid); never empty.

    ``lungs``: bool mask on the same grid; ``level``: HU of lung here; ``sigma``: scale of the candidate, mm.
    """
    start = np.maximum(np.rint(centre).astype(int) - REACH, 0)
    box = tuple(slice(a, min(a + 2 * REACH + 1, n)) for a, n in zip(start, hu.shape, strict=True))
    patch = np.clip(hu[box], -1000, 200).astype(np.float32)
    patch = ndimage.gaussian_filter(patch, 0.6)
    allowed = ndimage.binary_dilation(lungs[box], iterations=2)
    here = np.asarray(centre, float) - start
    if not allowed[_voxel(here, allowed.shape)]:
        allowed = np.ones_like(allowed)
    mask = np.zeros_like(allowed)
    threshold = level
    radius = max(2.0, 1.7 * sigma)
    for _ in range(2):
        core = _core(patch, here, radius)
        threshold = level + EDGE * (core - level)
        bright = (patch > threshold) & allowed
        radius = _radius(patch, here, threshold)
        mask = _cut(bright, here, radius)
        here = np.argwhere(mask).mean(axis=0)
    return Segment(mask, start, here + start, float(threshold))


def _voxel(point: np.ndarray, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(n) for n in np.clip(np.rint(point), 0, np.array(shape) - 1))


def _distance(shape: tuple[int, ...], centre: np.ndarray) -> np.ndarray:
    axes = [(np.arange(n) - c) ** 2 for n, c in zip(shape, centre, strict=True)]
    return np.sqrt(axes[0][:, None, None] + axes[1][None, :, None] + axes[2][None, None, :])


def _core(patch: np.ndarray, centre: np.ndarray, radius: float) -> float:
    """HU of the core: the upper part of what lies near the centre, so that a cavity does not lower it."""
    near = patch[_distance(patch.shape, centre) <= max(1.5, 0.5 * radius)]
    return min(float(np.percentile(near, 70)), CORE_HIGH_HU) if near.size else -300.0


def _radius(patch: np.ndarray, centre: np.ndarray, threshold: float) -> float:
    """Typical distance to the surface: the 40th percentile over directions (vessels and walls are the long ones)."""
    steps = np.arange(0.0, REACH, 0.5)
    points = centre + RAYS[:, None, :] * steps[None, :, None]
    rays = ndimage.map_coordinates(patch, points.reshape(-1, 3).T, order=1, mode="nearest").reshape(len(RAYS), -1)
    # Out of the core first: a cavity or a centre beside the bright part must not end every ray at once.
    below = rays < threshold
    below[:, -1] = True
    return float(np.clip(np.percentile(steps[below.argmax(axis=1)], 40), 1.5, LARGEST_RADIUS))


def _cut(bright: np.ndarray, centre: np.ndarray, radius: float) -> np.ndarray:
    distance = _distance(bright.shape, centre)
    bright = bright & (distance <= BALL * radius + 1.5)
    if not bright.any():
        return distance <= max(1.5, radius)
    mask = np.zeros_like(bright)
    # One voxel more than what is bright: further out there is nothing that could change a distance or close a hole.
    box = bounding_box(bright, 1)
    mask[box] = _opened(bright[box], distance[box], max(0.0, OPENING * radius))
    return mask


def _opened(bright: np.ndarray, distance: np.ndarray, depth: float) -> np.ndarray:
    """The part of ``bright`` nearest the centre once what is thinner than ``depth`` is cut off; holes filled."""
    kept = bright
    if depth >= 1.0:
        inner = ndimage.distance_transform_edt(bright) > depth
        if inner.any():
            body = _component(inner, distance)
            kept = bright & (ndimage.distance_transform_edt(~body) <= depth + 0.8)
    return ndimage.binary_fill_holes(_component(kept, distance))


def _component(mask: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """The connected part nearest the centre, larger before smaller where both are near."""
    labels, count = ndimage.label(mask)
    if count <= 1:
        return mask
    index = np.arange(1, count + 1)
    nearest = np.asarray(ndimage.minimum(distance, labels, index))
    sizes = np.asarray(ndimage.sum_labels(mask, labels, index))
    return labels == index[np.argmin(nearest - 0.5 * np.cbrt(sizes))]
