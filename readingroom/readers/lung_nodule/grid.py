"""The working grid: voxels about 1 mm apart along the axes of the source images, and the way back.

Resampling is linear and separable, so it needs one temporary array at a time. The array axes stay those of the source
(slice, row, column): nothing is rotated, so "the image plane" keeps its meaning for diameters.
"""

from dataclasses import dataclass

import numpy as np

from readingroom.imaging.volume import Volume

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class Grid:
    """HU as int16 ``(slices, rows, columns)`` on a grid of ``step_mm``, and how its indices map to those of the source.

    ``positions_mm``: place of each source slice along the normal (where the series has gaps too); ``spacing_mm`` of
    the source; ``origin``: index of the first voxel kept, in the uncropped grid.
    """

    hu: np.ndarray
    step_mm: float
    spacing_mm: tuple[float, float, float]
    positions_mm: np.ndarray
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def to_source(self, index: np.ndarray) -> np.ndarray:
        """Map grid indices ``(..., 3)`` to fractional source indices ``(..., 3)``."""
        out = (np.asarray(index, float) + self.origin) * self.step_mm / np.asarray(self.spacing_mm)
        out[..., 0] = np.interp(
            out[..., 0] * self.spacing_mm[0], self.positions_mm, np.arange(len(self.positions_mm), dtype=float)
        )
        return out

    def from_source(self, index: np.ndarray) -> np.ndarray:
        """Map source indices ``(..., 3)`` to fractional grid indices ``(..., 3)``."""
        index = np.asarray(index, float)
        mm = index * np.asarray(self.spacing_mm)
        mm[..., 0] = np.interp(index[..., 0], np.arange(len(self.positions_mm)), self.positions_mm)
        return mm / self.step_mm - self.origin


def slice_positions(volume: Volume) -> np.ndarray:
    """Distance of each slice from the first along the normal, mm."""
    if volume.slice_positions_mm:
        return np.asarray(volume.slice_positions_mm, float)
    return np.arange(volume.array.shape[0]) * volume.spacing_mm[0]


def resample(volume: Volume, step_mm: float, box: Box | None = None) -> Grid:
    """Return ``volume`` (HU) on a grid of ``step_mm``, all of it or what lies in ``box`` of that grid."""
    positions = slice_positions(volume)
    lengths_mm = (
        positions[-1],
        *((n - 1) * s for n, s in zip(volume.array.shape[1:], volume.spacing_mm[1:], strict=True)),
    )
    counts = [int(np.floor(length / step_mm + 1e-6)) + 1 for length in lengths_mm]
    box = box or (slice(0, counts[0]), slice(0, counts[1]), slice(0, counts[2]))
    out = volume.array
    # The axis that shrinks most goes first: the arrays in between stay small.
    for axis in sorted(range(3), key=lambda a: volume.spacing_mm[a]):
        mm = np.arange(box[axis].start, min(box[axis].stop, counts[axis])) * step_mm
        if axis == 0:
            at = np.interp(mm, positions, np.arange(len(positions)))
        else:
            at = np.minimum(mm / volume.spacing_mm[axis], volume.array.shape[axis] - 1)
        out = _lerp(out, axis, at)
    origin = (float(box[0].start), float(box[1].start), float(box[2].start))
    return Grid(out, step_mm, volume.spacing_mm, positions, origin)


def _lerp(array: np.ndarray, axis: int, position: np.ndarray) -> np.ndarray:
    """Linear interpolation at fractional indices ``position`` along one axis; int16."""
    low = np.floor(position).astype(int)
    high = np.minimum(low + 1, array.shape[axis] - 1)
    weight = (position - low).astype(np.float32)
    # Below a ten-thousandth of a step the place is that of the first one, not quite met by the arithmetic.
    weight[weight <= 1e-4] = 0
    shape = (*array.shape[:axis], len(position), *array.shape[axis + 1 :])
    out = np.empty(shape, np.int16)
    # Slice by slice whatever the axis: the memory of a slice lies together.
    for n, plane in enumerate(out):
        if axis == 0:
            plane[...] = _between(array[low[n]], array[high[n]], weight[n])
        else:
            across = weight[:, None] if axis == 1 else weight
            plane[...] = _between(array[n].take(low, axis - 1), array[n].take(high, axis - 1), across)
    return out


def _between(first: np.ndarray, second: np.ndarray, weight: np.ndarray) -> np.ndarray:
    near, mixed = first.astype(np.float32), second.astype(np.float32)
    mixed -= near
    mixed *= weight
    mixed += near
    np.rint(mixed, out=mixed)
    return np.clip(mixed, -2048, 3071, out=mixed)


def bounding_box(mask: np.ndarray, margin: int) -> Box:
    """Smallest box around ``mask`` (which must hold a voxel), grown by ``margin`` voxels where there is room."""
    sides = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        sides.append(slice(max(0, int(hit[0]) - margin), min(mask.shape[axis], int(hit[-1]) + 1 + margin)))
    return sides[0], sides[1], sides[2]
