"""The axial grid the network reads on: pixels of 1 mm, rows growing to the back, columns to the left, as in training.

Slices stay those of the source where it is axial, so that thick slices are not interpolated; thin ones are taken every
2 to 3 mm. Another series of the study is brought to the same grid by its place in the patient.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from readingroom.imaging.resample import OnGrid
from readingroom.imaging.volume import Volume

PIXEL_MM = 1.0
THIN_MM = 2.0
"""Slices nearer than this are skipped until they are further apart."""


@dataclass(frozen=True, eq=False)
class Grid(OnGrid):
    """``shape`` (slices, rows, columns) and ``to_lps_affine``: array index (0, 1, 2) to LPS mm."""

    shape: tuple[int, int, int]
    to_lps_affine: np.ndarray


def axial_grid(volume: Volume) -> Grid:
    """Return the grid of a volume: its own axes, turned to the nearest of the patient's, over all it covers."""
    directions = volume.affine[:3, [2, 1, 0]]
    spacing = np.array(volume.spacing_mm)
    cosines = np.abs(directions / spacing)
    # Which array axis of the volume runs along z (slices), y (rows) and x (columns).
    orders = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    order = max(orders, key=lambda o: cosines[2, o[0]] + cosines[1, o[1]] + cosines[0, o[2]])
    counts = np.array(volume.array.shape)
    corner = np.zeros(3)
    affine, shape = np.eye(4), []
    for axis, (source, patient_axis) in enumerate(zip(order, (2, 1, 0), strict=True)):
        forward = directions[patient_axis, source] > 0
        if not forward:
            corner[source] = counts[source] - 1
        every = max(1, int(np.ceil(THIN_MM / spacing[source] - 0.01))) if axis == 0 else PIXEL_MM / spacing[source]
        affine[:3, axis] = directions[:, source] * every * (1 if forward else -1)
        shape.append(int(np.floor((counts[source] - 1) / every + 1e-6)) + 1)
    affine[:3, 3] = volume.affine[:3, :3] @ corner[::-1] + volume.affine[:3, 3]
    return Grid((shape[0], shape[1], shape[2]), affine)


def onto(volume: Volume, grid: Grid, moved: np.ndarray | None = None) -> np.ndarray:
    """Return ``volume`` on ``grid``, float32, linear; 0 beyond it. ``moved``: 4 x 4, LPS of the grid's series to LPS of
    the volume, where the two do not share a frame of reference."""
    rows, columns = np.mgrid[: grid.shape[1], : grid.shape[2]]
    out = np.empty(grid.shape, np.float32)
    source = volume.array.astype(np.float32)
    for n in range(grid.shape[0]):
        lps = grid.to_lps(np.stack([np.full(rows.shape, n), rows, columns], axis=-1))
        if moved is not None:
            lps = lps @ moved[:3, :3].T + moved[:3, 3]
        at = np.moveaxis(volume.to_index(lps), -1, 0)
        out[n] = ndimage.map_coordinates(source, at, order=1, mode="grid-constant", cval=0.0)
    return out


def onto_source(values: np.ndarray, grid: Grid, volume: Volume, box: tuple[slice, slice, slice]) -> np.ndarray:
    """Return ``values`` of the grid at the voxels of ``volume`` in ``box``, float32, linear; 0 beyond the grid. At the
    first and last slice the values hold half a slice further."""
    axes = np.meshgrid(*(np.arange(side.start, side.stop) for side in box), indexing="ij")
    at = grid.to_index(volume.to_lps(np.stack(axes, axis=-1)))
    at[..., 0] = np.where(np.abs(at[..., 0] - np.clip(at[..., 0], 0, grid.shape[0] - 1)) <= 0.5,
                          np.clip(at[..., 0], 0, grid.shape[0] - 1), at[..., 0])  # fmt: skip
    return np.asarray(
        ndimage.map_coordinates(values.astype(np.float32), np.moveaxis(at, -1, 0), order=1, mode="constant", cval=0.0)
    )


def box_of(mask: np.ndarray, grid: Grid, volume: Volume) -> tuple[slice, slice, slice]:
    """Return the box of ``volume`` that holds the grid's ``mask`` (not empty) with a voxel around it."""
    hit = [np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    ends = [(int(h[0]) - 1.0, int(h[-1]) + 1.0) for h in hit]
    corners = np.array([(a, b, c) for a in ends[0] for b in ends[1] for c in ends[2]])
    index = volume.to_index(grid.to_lps(corners))
    low = np.maximum(np.floor(index.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(index.max(axis=0)).astype(int) + 1, volume.array.shape)
    a, b, c = (slice(int(x), int(max(x + 1, y))) for x, y in zip(low, high, strict=True))
    return a, b, c
