"""The inner surface of the rib cage: a radius for each height and direction around a line in the middle of the chest.

Ribs are seen only where they cross, so the surface between them is the weighted mean of what is seen near by. Where a
ray meets aerated lung, the first bone beyond it is rib; from there the surface is followed to where no lung is aerated.
All arrays here are canonical: slices from feet to head, rows from front to back, columns from right to left.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

DIRECTIONS = 240
BONE_HU = 150
MIN_BONE_ML = 1.2
"""Smaller specks are noise or lime."""
REACH_MM = 10.0
"""Bone that lies so much further out than aerated lung is no rib: a scapula."""
BACK_MM = 12.0
PASSES_MM = ((10.0, 20.0), (8.0, 10.0), (6.0, 10.0))
"""How far beyond the surface found so far bone still counts, and how wide (height) the mean is; pass by pass."""
FAINT = 0.005
"""Less weight than this is no knowledge of the surface there."""
ACROSS = 3.0
"""Width of the mean over directions, steps of 1.5 degrees."""


@dataclass(frozen=True, eq=False)
class Rays:
    """Rays from ``(row, column)`` in every slice: ``rows``, ``columns`` ``(directions, radii)`` are the voxels on them,
    ``seen`` those inside the image. Direction 0 is to the back, growing to the patient's left; radii in voxels."""

    row: float
    column: float
    rows: np.ndarray
    columns: np.ndarray
    seen: np.ndarray

    def polar(self, array: np.ndarray) -> np.ndarray:
        """``array`` (slices, rows, columns) on the rays: (slices, directions, radii)."""
        return np.asarray(array[:, self.rows, self.columns])

    def cartesian(self, polar: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """The other way: each voxel takes the value of the ray it lies on; False beyond the rays' end."""
        down = np.arange(shape[1])[:, None] - self.row
        left = np.arange(shape[2])[None] - self.column
        radius = np.rint(np.hypot(down, left)).astype(int)
        direction = np.floor(np.arctan2(left, down) % (2 * np.pi) / (2 * np.pi) * DIRECTIONS).astype(int) % DIRECTIONS
        on = polar[:, direction, np.minimum(radius, polar.shape[2] - 1)]
        return np.asarray(on & (radius < polar.shape[2]))


@dataclass(frozen=True, eq=False)
class RibCage:
    """``radius``: of the ribs' inner surface, voxels, ``(slices, directions)``; ``sure``: how much bone was seen near
    there, 0..1; ``lung``: the outermost aerated voxel on each ray, -1 where there is none."""

    rays: Rays
    radius: np.ndarray
    sure: np.ndarray
    lung: np.ndarray


def settings() -> tuple[object, ...]:
    """All that changes the surface."""
    return DIRECTIONS, BONE_HU, MIN_BONE_ML, REACH_MM, BACK_MM, PASSES_MM, FAINT, ACROSS


def degrees_from_back() -> np.ndarray:
    """How far each direction is turned from straight back, 0 to 180 degrees."""
    turned = (np.arange(DIRECTIONS) + 0.5) / DIRECTIONS * 360
    return np.minimum(turned, 360 - turned)


def find_ribs(soft: np.ndarray, aerated: np.ndarray, step_mm: float) -> RibCage:
    """Return the rib cage of a chest. ``soft``: HU, lightly smoothed; ``aerated``: the lungs found by their air."""
    bone = _bones(soft, step_mm)
    box = ndimage.find_objects(aerated.astype(np.int8))[0]
    column = midline(soft, bone, box[0], step_mm)
    rays = _rays(soft.shape, (box[1].start + box[1].stop) / 2, column)
    on_bone = rays.polar(bone) & rays.seen
    on_lung = rays.polar(aerated) & rays.seen
    count = on_bone.shape[2]
    lung = np.where(on_lung.any(2), count - 1 - np.argmax(on_lung[:, :, ::-1], axis=2), -1)
    reach = REACH_MM / step_mm
    seen = _first(on_bone, np.where(lung > 0, lung, count).astype(np.float32))
    trusted = (seen > 0) & (seen - lung < reach)
    radius, known = _mean(seen, trusted, 30.0 / step_mm, ACROSS + 1)
    # A side without air is taken to be shaped like the other, to begin with.
    radius = np.where(known > FAINT, radius, radius[:, ::-1])
    sure = np.zeros_like(radius)
    for beyond, height in PASSES_MM:
        seen = _first(on_bone, np.maximum(radius - BACK_MM / step_mm, lung))
        radius, sure = _mean(seen, (seen > 0) & (seen - radius < beyond / step_mm), height / step_mm, ACROSS)
    return RibCage(rays, radius, sure, lung)


def midline(soft: np.ndarray, bone: np.ndarray, slices: slice, step_mm: float) -> float:
    """The column of the spine: the densest with bone, within 40 mm of the middle of the body."""
    body = np.flatnonzero((soft[slices] > -300).mean(axis=(0, 1)) > 0.15)
    middle = (body[0] + body[-1]) / 2 if len(body) else soft.shape[2] / 2
    columns = ndimage.gaussian_filter1d(bone[slices].sum(axis=(0, 1)).astype(float), 16.0 / step_mm)
    low = max(0, int(middle - 40 / step_mm))
    return float(low + np.argmax(columns[low : int(middle + 40 / step_mm) + 1]))


def _bones(soft: np.ndarray, step_mm: float) -> np.ndarray:
    labels, _ = ndimage.label(soft > BONE_HU)
    large = np.bincount(labels.ravel()) * step_mm**3 / 1000 >= MIN_BONE_ML
    large[0] = False
    return np.asarray(large[labels])


def _rays(shape: tuple[int, ...], row: float, column: float) -> Rays:
    length = int(np.hypot(max(row, shape[1] - row), max(column, shape[2] - column))) + 1
    turned = (np.arange(DIRECTIONS)[:, None] + 0.5) / DIRECTIONS * 2 * np.pi
    rows = np.rint(row + np.cos(turned) * np.arange(length)).astype(int)
    columns = np.rint(column + np.sin(turned) * np.arange(length)).astype(int)
    seen = (rows >= 0) & (rows < shape[1]) & (columns >= 0) & (columns < shape[2])
    return Rays(row, column, np.clip(rows, 0, shape[1] - 1), np.clip(columns, 0, shape[2] - 1), seen)


def _first(bone: np.ndarray, start: np.ndarray) -> np.ndarray:
    """The radius of the first bone beyond ``start`` on each ray, -1 where there is none."""
    beyond = bone & (np.arange(bone.shape[2]) > start[..., None])
    return np.where(beyond.any(2), np.argmax(beyond, axis=2), -1).astype(np.float32)


def _mean(values: np.ndarray, known: np.ndarray, height: float, across: float) -> tuple[np.ndarray, np.ndarray]:
    """The Gaussian mean of what is known near by (normalised convolution, Knutsson 1993), and its weight."""
    weight = known.astype(np.float32)

    def blurred(array: np.ndarray) -> np.ndarray:
        tall = ndimage.gaussian_filter1d(array, height, axis=0, mode="nearest", truncate=6.0)
        return ndimage.gaussian_filter1d(tall, across, axis=1, mode="wrap")

    total = blurred(weight)
    return blurred(weight * values) / np.maximum(total, 1e-9), total
