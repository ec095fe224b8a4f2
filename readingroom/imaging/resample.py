"""Other grids of the same patient: a box at isotropic spacing, and a small volume along the patient's own axes.

Each result carries its affine, so that every voxel still says where in the patient it lies.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from readingroom.imaging.volume import Volume


class OnGrid:
    """What has array indices (0, 1, 2) that ``to_lps_affine`` maps to LPS mm."""

    to_lps_affine: np.ndarray

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distances of voxel centres along the array's axes, mm."""
        a, b, c = np.linalg.norm(self.to_lps_affine[:3, :3], axis=0)
        return float(a), float(b), float(c)

    def to_lps(self, index: np.ndarray) -> np.ndarray:
        """Map indices ``(..., 3)`` in the array's axis order to LPS mm."""
        return np.asarray(index, float) @ self.to_lps_affine[:3, :3].T + self.to_lps_affine[:3, 3]

    def to_index(self, lps_mm: np.ndarray) -> np.ndarray:
        """Map LPS mm ``(..., 3)`` to fractional indices in the array's axis order."""
        inverse = np.linalg.inv(self.to_lps_affine)
        return np.asarray(lps_mm, float) @ inverse[:3, :3].T + inverse[:3, 3]


@dataclass(frozen=True, eq=False)
class Region(OnGrid):
    """A resampled piece. ``array``: ``(n0, n1, n2)``; ``to_lps_affine`` maps array index (0, 1, 2) to LPS mm."""

    array: np.ndarray
    to_lps_affine: np.ndarray


def resample_box(
    volume: Volume, centre_lps_mm: np.ndarray, size_mm: float, spacing_mm: float = 1.0, fill: float = -1024.0
) -> Region:
    """Return a cube around a point, at isotropic spacing, linear, float32, along the volume's own axes.

    ``size_mm`` is the edge; the result has ``round(size / spacing)`` voxels an edge, its middle on the point. Outside
    the volume it holds ``fill``. Right on irregular volumes (slice positions are followed).
    """
    count = max(1, round(size_mm / spacing_mm))
    directions = volume.affine[:3, [2, 1, 0]] / np.array(volume.spacing_mm)
    offsets = (np.arange(count) - (count - 1) / 2) * spacing_mm
    affine = np.eye(4)
    affine[:3, :3] = directions * spacing_mm
    affine[:3, 3] = np.asarray(centre_lps_mm, float) + directions @ np.full(3, offsets[0])
    # The axes stay the volume's: each index depends on one axis only, so three short lines make the whole grid.
    middle = volume.to_index(np.asarray(centre_lps_mm, float))
    if volume.irregular:
        points = np.asarray(centre_lps_mm, float) + np.outer(offsets, directions[:, 0])
        first = volume.to_index(points)[:, 0]
    else:
        first = middle[0] + offsets / volume.spacing_mm[0]
    lines = [first, *(middle[n] + offsets / volume.spacing_mm[n] for n in (1, 2))]
    # Only the slab that is needed is converted to float.
    low = [int(max(0, np.floor(line.min()) - 1)) for line in lines]
    high = [int(min(size, np.ceil(line.max()) + 2)) for line, size in zip(lines, volume.array.shape, strict=True)]
    if any(b - a < 1 for a, b in zip(low, high, strict=True)):
        return Region(np.full((count,) * 3, fill, np.float32), affine)
    piece = volume.array[low[0] : high[0], low[1] : high[1], low[2] : high[2]].astype(np.float32)
    grid = np.meshgrid(*(line - a for line, a in zip(lines, low, strict=True)), indexing="ij")
    array = ndimage.map_coordinates(piece, np.stack(grid), order=1, mode="constant", cval=fill)
    return Region(array, affine)


def along_patient(volume: Volume, step_mm: float = 4.0) -> Region:
    """Return a coarse copy along the patient's axes: array ``(z, y, x)`` growing to S, P and L.

    Voxels are picked, not averaged, near ``step_mm`` apart: milliseconds, good for body, lungs and skull, not for
    lesions. Oblique volumes get the nearest axes; ``to_lps_affine`` stays exact on regular volumes.
    """
    steps = [max(1, round(step_mm / spacing)) for spacing in volume.spacing_mm]
    array = volume.array[:: steps[0], :: steps[1], :: steps[2]]
    affine = np.eye(4)
    affine[:3, :3] = volume.affine[:3, [2, 1, 0]] * np.array(steps)
    affine[:3, 3] = volume.affine[:3, 3]
    order = _axis_order(affine[:3, :3])
    array = array.transpose(order)
    affine[:3, :3] = affine[:3, list(order)]
    for axis, patient_axis in enumerate((2, 1, 0)):
        if affine[patient_axis, axis] < 0:
            affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
            affine[:3, axis] *= -1
            array = np.flip(array, axis)
    return Region(array, affine)


def _axis_order(directions: np.ndarray) -> tuple[int, int, int]:
    """Which array axis runs along z, y and x: the pairing with the largest total cosine."""
    size = np.abs(directions / np.linalg.norm(directions, axis=0))
    orders = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    return max(orders, key=lambda o: size[2, o[0]] + size[1, o[1]] + size[0, o[2]])
