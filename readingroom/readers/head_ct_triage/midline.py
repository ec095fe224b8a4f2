"""Midline shift on a head CT, in millimetres: how far the brain's middle lies from where the skull says it should.

Read as a radiologist reads it, in three steps; no training, no labels (``benchmarks/midline_shift.md``):

- The **ideal** midline (``midline_skull.py``) joins the places where the falx is held by the skull.
- The **actual** one (``midline_path.py``) is, slice by slice, the path from front to back about which the brain's two
  sides are most alike: interhemispheric fissure, septum pellucidum, third ventricle, falx.
- The **shift** is the height of the one smooth hill, highest near the ventricles and nothing at the skull, that
  explains best how the paths of all slices lie off the ideal midline. A single slice cannot decide it.

Side: LPS x is taken at its word (positive is the patient's left). A measure of a brain window (-20 .. 100 HU) is the
same: what is denser or lighter isn't looked at.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from readingroom.imaging.resample import Region
from readingroom.readers.head_ct_triage.midline_path import Hill, Settings, asymmetry, fit_hill, path_through, unroll
from readingroom.readers.head_ct_triage.midline_skull import (
    Anchors,
    ClosedSkull,
    NoMidline,
    closed_skull,
    falx_anchors,
    head_width_mm,
    mirror_plane,
)

__all__ = ["MidlineLine", "MidlineShift", "NoMidline", "SliceShift", "measure", "measure_slice", "windowed_head"]

Point = tuple[float, float, float]

SETTINGS = Settings()
HEAD_WIDTH_MM = 150.0
"""Outer width of an adult's skull (about 145 to 155), for pictures that do not say how large a pixel is."""
WINDOW_HU = (-20.0, 100.0)
"""What black and white of a brain window (level 40, width 120) stand for."""


@dataclass(frozen=True)
class MidlineLine:
    """The evidence on one slice, front to back, LPS mm: where the midline should be and where it is.

    ``shift_mm``: their distance where the shift is measured, signed as in ``MidlineShift``.
    """

    ideal: tuple[Point, ...]
    actual: tuple[Point, ...]
    shift_mm: float


@dataclass(frozen=True)
class MidlineShift:
    """``shift_mm``: signed, positive to the patient's left. ``level``: index of the slice, in the array that was given.

    ``place``: the actual midline where it was measured, LPS mm. ``confidence``: 0 to 1, the part of the difference
    between the brain's sides that is gone when they are compared about the actual midline; below
    ``Settings.least_alike`` nothing is said. ``lines``: by level.
    """

    shift_mm: float
    level: int
    place: Point
    confidence: float
    lines: dict[int, MidlineLine]

    @property
    def side(self) -> Literal["left", "right"]:
        """The side the midline is pushed to."""
        return "left" if self.shift_mm > 0 else "right"


@dataclass(frozen=True)
class SliceShift:
    """The shift on one picture whose columns run to the patient's left. Points are (column, row), pixel centres from 0.

    ``shift_mm`` is None where nobody said how large a pixel is. ``percent``: of the skull's outer width on this slice.
    """

    shift_pixels: float
    percent: float
    shift_mm: float | None
    confidence: float
    ideal: tuple[tuple[float, float], ...]
    actual: tuple[tuple[float, float], ...]


def measure(head: Region, settings: Settings = SETTINGS) -> MidlineShift | NoMidline:
    """Return the midline shift of a head, or why nothing is said.

    ``head``: HU ``(z, y, x)`` growing to S, P and L, as ``imaging.resample.along_patient(volume, 0.5)`` gives it;
    spacings up to 1.5 mm in the slice and 8 mm across.
    """
    across = np.diag(head.to_lps_affine[[2, 1, 0], :3]) / np.array(head.spacing_mm)
    if (across < 0.8).any() or head.spacing_mm[0] > 8 or max(head.spacing_mm[1:]) > 1.5:
        return NoMidline("The slices do not lie across the head, or are too coarse.")
    skull = closed_skull(head)
    if isinstance(skull, NoMidline):
        return skull
    below = skull.z_mm[-1] + skull.gap_mm / 2 - skull.z_mm
    found = _read(skull, below, settings)
    if isinstance(found, NoMidline):
        return found
    spacing = np.array(head.spacing_mm)
    lines = {}
    for n, level in enumerate(found.levels):
        z = float(skull.z_mm[level])
        ideal, actual = (
            tuple(_point(head, np.array([z, *yx]) / spacing) for yx in line[::4]) for line in found.lines_yx[n]
        )
        lines[round(z / spacing[0])] = MidlineLine(ideal, actual, round(float(found.shift_on[n]), 2))
    top = skull.z_mm[found.levels[found.hill.level]]
    place = _point(head, np.array([top, *found.place_yx]) / spacing)
    return MidlineShift(
        round(found.hill.height_mm, 2), round(float(top / spacing[0])), place, round(found.hill.alike, 3), lines
    )


def measure_slice(
    hu: np.ndarray, pixel_mm: float | None = None, settings: Settings = SETTINGS
) -> SliceShift | NoMidline:
    """Return the midline shift on one axial slice at the height of the ventricles, or why nothing is said.

    ``hu``: ``(rows, columns)``, back of the head below, patient's left at the right side. Without ``pixel_mm`` the
    skull is taken to be 150 mm wide, for finding things only: the answer is in pixels and per cent. Weaker than
    ``measure``.
    """
    known = pixel_mm or _assumed_pixel(hu[None], 5.0)
    if known is None:
        return NoMidline("There is no closed skull with brain in it.")
    skull = closed_skull(_flat_head(hu[None], known, 5.0), least=1)
    if isinstance(skull, NoMidline):
        return skull
    found = _read(skull, np.array([settings.typical_mm]), settings)
    if isinstance(found, NoMidline):
        return found
    ideal, actual = (tuple((float(x) / known, float(y) / known) for y, x in line[::4]) for line in found.lines_yx[0])
    shift = found.hill.height_mm
    return SliceShift(
        shift_pixels=round(shift / known, 2),
        percent=round(100 * shift / head_width_mm(skull), 2),
        shift_mm=round(shift, 2) if pixel_mm else None,
        confidence=round(found.hill.alike, 3),
        ideal=ideal,
        actual=actual,
    )


def windowed_head(pictures: np.ndarray, pixel_mm: float | None = None, slice_mm: float = 5.0) -> Region | NoMidline:
    """Return the head of which ``pictures`` are the brain windows, 8 bits, from the feet up, for ``measure``.

    ``(slices, rows, columns)``, patient's left at the right side. Without ``pixel_mm`` the skull's widest slice is
    taken to be 150 mm wide: a shift in mm is then as uncertain as that (a few per cent of it). Its places are no LPS.
    """
    low, high = WINDOW_HU
    hu = pictures.astype(np.float32) / 255 * (high - low) + low
    known = pixel_mm or _assumed_pixel(hu, slice_mm)
    return _flat_head(hu, known, slice_mm) if known else NoMidline("There is no closed skull with brain in it.")


@dataclass(frozen=True, eq=False)
class _Found:
    """``levels``: indices of the skull's slices. ``lines_yx``: ideal and actual of each, (y, x) mm a row."""

    levels: np.ndarray
    hill: Hill
    lines_yx: list[tuple[np.ndarray, np.ndarray]]
    shift_on: np.ndarray
    place_yx: np.ndarray


def _read(skull: ClosedSkull, below: np.ndarray, settings: Settings) -> _Found | NoMidline:
    """The three steps. ``below``: how far each slice lies below the inside of the vertex, mm."""
    plane = mirror_plane(skull)
    if plane.misfit_mm > settings.worst_misfit_mm:
        return NoMidline("The skull is too uneven, or cut off: its two sides do not mirror each other.")
    seen = np.flatnonzero((below >= settings.anchors_mm[0]) & (below <= settings.anchors_mm[1]))
    turned = unroll(skull, plane, seen)
    anchors: Anchors = falx_anchors(turned, below[seen] - settings.typical_mm)
    low, high = settings.levels_mm
    used = [n for n, depth in enumerate(below[seen]) if low <= depth <= high]
    if len(used) < min(3, len(skull.hu)):
        return NoMidline("Too few slices at the height of the ventricles.")
    unlike = asymmetry(turned, settings)
    paths = [path_through(unlike[:, n], turned.span(n), anchors.ideal(n, turned.span(n)), settings) for n in used]
    hill = fit_hill(paths, below[seen][used], settings)
    if hill.alike < settings.least_alike:
        return NoMidline("The brain's two sides are too unlike, or too blurred, to tell where its middle is.")
    lines = []
    for n, path, ideal in zip(used, paths, hill.ideal, strict=True):
        rows = np.arange(*turned.span(n))
        lines.append((turned.place(n, rows, ideal), turned.place(n, rows, path.across)))
    rows_at = [round((len(path.across) - 1) * hill.row) for path in paths]
    shift_on = np.array([hill.off[n][row] for n, row in enumerate(rows_at)])
    return _Found(seen[used], hill, lines, shift_on, lines[hill.level][1][rows_at[hill.level]])


def _point(head: Region, index: np.ndarray) -> Point:
    x, y, z = (round(float(value), 2) for value in head.to_lps(index))
    return x, y, z


def _flat_head(hu: np.ndarray, pixel_mm: float, slice_mm: float) -> Region:
    return Region(hu.astype(np.float32), np.diag([slice_mm, pixel_mm, pixel_mm, 1.0])[[2, 1, 0, 3]])


def _assumed_pixel(hu: np.ndarray, slice_mm: float) -> float | None:
    """The pixel size at which the skull is as wide as adults' are, mm."""
    pixel = 0.9 * 256 / hu.shape[2]
    # Sizes in mm help to find the skull: once to find it, once with its size known.
    for _ in range(2):
        skull = closed_skull(_flat_head(hu, pixel, slice_mm), least=1)
        if isinstance(skull, NoMidline):
            return None
        pixel *= HEAD_WIDTH_MM / head_width_mm(skull)
    return pixel
