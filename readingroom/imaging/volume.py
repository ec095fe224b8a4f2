"""The volume: voxels with their place in the patient. Our own type; adapters to other libraries live at the edge."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Unit = Literal["HU", "arbitrary", "ADC"]


@dataclass(frozen=True, eq=False)
class SourceGrid:
    """Where the voxels of a straightened volume come from in the images.

    ``to_pixel``: ``(slices, 2)``; voxel (slice, row, column) shows pixel (row, column) + ``to_pixel[slice]`` of that
    slice's image, fractional. ``rows``, ``columns``: size of the images; the volume is larger, by what was shifted.
    """

    to_pixel: np.ndarray
    rows: int
    columns: int


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels of one series on an upright grid: its three directions are perpendicular to each other.

    ``array``: ``(slices, rows, columns)``, int16 or float32, in ``unit``. Slices are sorted along the slice normal
    (row direction x column direction) so that ``affine`` has a positive determinant wherever the images are not
    mirrored. ``affine``: 4 x 4 float64, maps ``(column, row, slice, 1)`` indices of voxel centres to LPS mm.
    ``sop_instance_uids`` and ``frames`` (1-based): the source of each slice, same order.
    ``slice_positions_mm``: distance of each slice along the normal; only where ``irregular``. ``source``: only where
    the gantry was tilted and each slice was moved within its plane; a voxel's row and column are then not those of a
    pixel of the image (``to_pixel`` tells), while its place in the patient is right.
    """

    array: np.ndarray
    affine: np.ndarray
    frame_of_reference_uid: str
    series_instance_uid: str
    study_instance_uid: str
    modality: str
    unit: Unit
    sop_instance_uids: tuple[str, ...]
    frames: tuple[int, ...]
    irregular: bool = False
    slice_positions_mm: tuple[float, ...] = ()
    extra_axes: dict[str, tuple[float, ...]] = field(default_factory=dict)
    source: SourceGrid | None = None

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """``(slice, row, column)`` distances of voxel centres, mm: the order of the array's axes."""
        norms = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(norms[2]), float(norms[1]), float(norms[0])

    def to_lps(self, kji: np.ndarray) -> np.ndarray:
        """Map array indices ``(..., 3)`` in (slice, row, column) order to LPS mm ``(..., 3)``.

        Right on irregular volumes too: the slice index then goes through ``slice_positions_mm``.
        """
        ijk = np.array(kji, float)[..., ::-1]
        if self.irregular:
            ijk[..., 2] = _follow(ijk[..., 2], np.arange(len(self.slice_positions_mm)), self._steps)
        return ijk @ self.affine[:3, :3].T + self.affine[:3, 3]

    def to_index(self, lps_mm: np.ndarray) -> np.ndarray:
        """Map LPS mm ``(..., 3)`` to fractional array indices ``(..., 3)`` in (slice, row, column) order."""
        inverse = np.linalg.inv(self.affine)
        ijk = np.asarray(lps_mm, float) @ inverse[:3, :3].T + inverse[:3, 3]
        if self.irregular:
            ijk[..., 2] = _follow(ijk[..., 2], self._steps, np.arange(len(self.slice_positions_mm)))
        return ijk[..., ::-1]

    def to_pixel(self, kji: np.ndarray) -> tuple[str, float, float]:
        """Return where an index (slice, row, column) lies on the images: SOPInstanceUID, column, row (``ImagePlace``).

        Between slices it is the nearer one. Raises IndexError beyond the first or last slice.
        """
        k = round(float(kji[0]))
        if not 0 <= k < len(self.sop_instance_uids):
            raise IndexError("No slice of the volume lies there.")
        rows, columns = (0.0, 0.0) if self.source is None else self.source.to_pixel[k]
        return self.sop_instance_uids[k], float(kji[2]) + float(columns), float(kji[1]) + float(rows)

    @property
    def _steps(self) -> np.ndarray:
        """Where each slice of an irregular volume lies, in steps of the affine."""
        return np.array(self.slice_positions_mm) / np.linalg.norm(self.affine[:3, 2])


def _follow(values: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Piecewise linear y(x); beyond the ends along the last piece."""
    piece = np.clip(np.searchsorted(x, values) - 1, 0, len(x) - 2)
    return y[piece] + (values - x[piece]) * (y[piece + 1] - y[piece]) / (x[piece + 1] - x[piece])


@dataclass(frozen=True)
class SeriesProblem:
    """Something found in a series that a reader and a person must know.

    ``code``: ``missing-slice``, ``duplicate-slice``, ``irregular-spacing``, ``tilted-gantry``, ``multi-frame``,
    ``mixed-orientation``, ``mixed-size``, ``no-position``, ``undecodable``, ``single-slice``, ... ; ``fatal`` when no
    volume can be made. ``detail`` names slices by position (mm) or instance number, never by patient.
    """

    code: str
    detail: str
    fatal: bool
    sop_instance_uids: tuple[str, ...] = ()
