"""Tilted gantry: slices that are parallel but shifted along their own plane, brought onto one upright grid and back.

A CT with a tilted gantry moves the table along z while the slices lie askew to it: each slice begins a little higher or
lower in its own plane than the one before, so that the stack is sheared. The slice planes themselves are planes of an
upright grid (rows and columns as acquired, slices along the normal). So each image is moved **within its plane** by the
part of its ImagePositionPatient that does not lie along the normal, linearly between neighbouring pixels: nothing is
interpolated from slice to slice, each slice of the volume keeps the one image it came from, and the affine of the
result is orthogonal. dicom2nifti and dcm2niix resample the whole sheared block in 3D instead and lose that tie.

GantryDetectorTilt is not read: it may be absent, of either sign, or left over from a reformatting. Positions decide.
``Volume.source`` is the way back, from voxels to pixels of the images. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from readingroom.imaging.geometry import slice_normal
from readingroom.imaging.header import SliceHeader
from readingroom.imaging.volume import SourceGrid

Offset = tuple[int, int, int]

_TILT_DEGREES = 0.2
_SAME_PIXEL = 1e-3
"""A part of a pixel that is not worth an interpolation."""


@dataclass(frozen=True, eq=False)
class Shift:
    """How the slices of a stack lie in their planes.

    ``pixels``: ``(slices, 2)``, how many rows and columns each slice's first pixel lies past that of the first slice.
    ``degrees``: angle between the stack's direction and the normal. ``stray_mm``: the farthest a slice lies from the
    straight line through the stack. ``sheared``: far enough from upright to matter, and along a line.
    """

    pixels: np.ndarray
    degrees: float
    stray_mm: float
    sheared: bool


def shift_of(slices: Sequence[SliceHeader], positions_mm: np.ndarray) -> Shift:
    """Measure how slices of one orientation, sorted along their normal, are shifted within their planes.

    ``positions_mm``: ``(slices,)``, along the normal; at least two different ones.
    """
    first = slices[0]
    orientation = np.array(first.ImageOrientationPatient, float)
    corners = np.array([s.ImagePositionPatient for s in slices], float)
    in_plane = corners - np.outer(positions_mm, slice_normal(orientation))
    in_plane -= in_plane[0]
    steps = positions_mm - positions_mm[0]
    shear = steps @ in_plane / (steps @ steps)
    stray = float(np.abs(in_plane - np.outer(steps, shear)).max())
    degrees = float(np.degrees(np.arctan(np.linalg.norm(shear))))
    row_mm, column_mm = first.PixelSpacing or (1.0, 1.0)
    pixels = np.stack([in_plane @ orientation[3:] / row_mm, in_plane @ orientation[:3] / column_mm], axis=1)
    far = bool(np.abs(pixels).max() > 0.5)
    return Shift(pixels, degrees, stray, degrees > _TILT_DEGREES and far)


def straightened_shape(shape: tuple[int, ...], shift: Shift) -> tuple[int, int, int]:
    """Return the shape ``(slices, rows, columns)`` that ``straighten`` makes of an array of ``shape``."""
    before, after = _margins(shift)
    return shape[0], shape[1] + before[0] + after[0], shape[2] + before[1] + after[1]


def straighten(array: np.ndarray, shift: Shift, fill: float) -> tuple[np.ndarray, SourceGrid]:
    """Return the slices ``(slices, rows, columns)`` on one upright grid, same type, and the way back.

    The grid holds every image whole; its first voxel lies ``-(rows, columns)`` of ``to_pixel[0]`` pixels before the
    first image's first pixel. Where a slice has no pixel it holds ``fill``.
    """
    before, _ = _margins(shift)
    to_pixel = -(shift.pixels + before)
    out = np.full(straightened_shape(array.shape, shift), fill, array.dtype)
    for plane, placed, (rows, columns) in zip(array, out, to_pixel, strict=True):
        values, row = _between_pixels(plane, 0, rows)
        values, column = _between_pixels(values, 1, columns)
        if not np.issubdtype(array.dtype, np.floating) and values is not plane:
            values = np.rint(values)
        placed[row : row + values.shape[0], column : column + values.shape[1]] = values
    return out, SourceGrid(to_pixel, array.shape[1], array.shape[2])


def on_images(grid: SourceGrid, offset: Offset, box: np.ndarray) -> tuple[Offset, np.ndarray]:
    """Move a box of voxels ``(slices, rows, columns)`` of a straightened volume onto the pixels of its images.

    ``offset``: index of its first voxel. Each slice moves by whole pixels, to the nearest (at most half a pixel off);
    what lies outside the images is cut away. Returns the index (slice, row, column) of the new box's first pixel, and
    the box, zero where it was not before. The box may be empty, ``(slices, 0, 0)``.
    """
    first, slices = offset[0], box.shape[0]
    moves = np.rint(grid.to_pixel[first : first + slices]).astype(int) + offset[1:]
    # To the images' size at most: what reaches further has no pixel.
    low = np.maximum(moves.min(axis=0), 0)
    high = np.minimum(moves.max(axis=0) + box.shape[1:], (grid.rows, grid.columns))
    if (high <= low).any():
        return (first, 0, 0), np.zeros((slices, 0, 0), box.dtype)
    moved = np.zeros((slices, *(high - low)), box.dtype)
    for plane, out, move in zip(box, moved, moves, strict=True):
        start, stop = np.maximum(move, low), np.minimum(move + plane.shape, high)
        if (stop <= start).any():
            continue
        (a, b), (c, d) = start - move, stop - move
        (e, f), (g, h) = start - low, stop - low
        out[e:g, f:h] = plane[a:c, b:d]
    return (first, int(low[0]), int(low[1])), moved


def _margins(shift: Shift) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns to add before and after. Whole numbers: the first slice is not interpolated."""
    before = np.ceil(np.maximum(-shift.pixels.min(axis=0), 0) - _SAME_PIXEL).astype(int)
    after = np.ceil(np.maximum(shift.pixels.max(axis=0), 0) - _SAME_PIXEL).astype(int)
    return before, after


def _between_pixels(plane: np.ndarray, axis: int, to_pixel: float) -> tuple[np.ndarray, int]:
    """Return the plane at whole indices of the grid along ``axis``, and the index that its first line gets."""
    whole = int(np.floor(to_pixel + _SAME_PIXEL))
    part = np.float32(to_pixel - whole)
    if part < _SAME_PIXEL:
        return plane, -whole
    low, high = (plane[:-1], plane[1:]) if axis == 0 else (plane[:, :-1], plane[:, 1:])
    mixed = high.astype(np.float32)
    mixed -= low
    mixed *= part
    mixed += low
    return mixed, -whole
