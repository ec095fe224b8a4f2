"""Measures of a segment: volume, mean HU, long and short axis in the image plane, as Fleischner 2017 asks.

The long axis is the longest distance in one slice; the short one the longest chord across it, at a right angle, in the
same slice (Bankier 2017, Radiology 285:584). Both run from pixel edge to pixel edge.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from readingroom.findings.codes import code
from readingroom.findings.model import Axis, Measurement
from readingroom.imaging.volume import Volume
from readingroom.readers.diameters import perpendicular_diameters
from readingroom.readers.lung_nodule.grid import Grid
from readingroom.readers.lung_nodule.segment import Segment


@dataclass(frozen=True, eq=False)
class SourceMask:
    """A segment on the grid of the source series: ``mask`` ``(slices, rows, columns)`` and the index it starts at."""

    mask: np.ndarray
    offset: tuple[int, int, int]


def on_source(piece: Segment, grid: Grid, shape: tuple[int, ...]) -> SourceMask:
    """Bring a segment from the working grid to the grid of the source volume of ``shape``. Never empty."""
    inside = np.argwhere(piece.mask) + piece.offset
    low = np.maximum(np.floor(grid.to_source(inside.min(axis=0) - 1.5)).astype(int), 0)
    high = np.minimum(np.ceil(grid.to_source(inside.max(axis=0) + 1.5)).astype(int) + 1, shape)
    axes = np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij")
    where = grid.from_source(np.stack(axes, axis=-1)) - piece.offset
    soft = ndimage.map_coordinates(
        piece.mask.astype(np.float32), where.reshape(-1, 3).T, order=1, mode="constant", cval=0.0
    ).reshape(axes[0].shape)
    mask = soft >= 0.5
    if not mask.any():
        mask = soft >= soft.max()
    offset = (int(low[0]), int(low[1]), int(low[2]))
    hit = [np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    box = tuple(slice(int(h[0]), int(h[-1]) + 1) for h in hit)
    start = (offset[0] + int(hit[0][0]), offset[1] + int(hit[1][0]), offset[2] + int(hit[2][0]))
    return SourceMask(np.ascontiguousarray(mask[box]), start)


def axes_of(source: SourceMask, volume: Volume) -> tuple[Axis, Axis]:
    """Return the long and the short axis, ends in LPS mm, in the slice where the long one is longest."""
    _, row_mm, column_mm = volume.spacing_mm
    best: tuple[float, int, np.ndarray] | None = None
    for k in range(source.mask.shape[0]):
        if not source.mask[k].any():
            continue
        found = perpendicular_diameters(source.mask[k], row_mm, column_mm)
        length = float(np.linalg.norm(found[0, 1] - found[0, 0]))
        if best is None or length > best[0] + 1e-9:
            best = (length, k, found)
    assert best is not None, "an empty segment"
    _, k, ((start, end), (short_start, short_end)) = best

    def lps(point: np.ndarray) -> tuple[float, float, float]:
        index = np.array([k, point[0] / row_mm, point[1] / column_mm]) + source.offset
        x, y, z = (round(float(c), 3) for c in volume.to_lps(index))
        return x, y, z

    return (
        Axis(role="long", start_lps_mm=lps(start), end_lps_mm=lps(end)),
        Axis(role="short", start_lps_mm=lps(short_start), end_lps_mm=lps(short_end)),
    )


def length_mm(axis: Axis) -> float:
    """Length of an axis."""
    return float(np.linalg.norm(np.subtract(axis.end_lps_mm, axis.start_lps_mm)))


def diameter_of(name: str, axes: tuple[Axis, Axis]) -> Measurement:
    """Return the mean of long and short axis as the measurement with the code ``name``, mm."""
    mean = (length_mm(axes[0]) + length_mm(axes[1])) / 2
    return Measurement(code=code(name), value=round(mean, 1), unit=code("mm"), method="mean of long and short axis")


def measurements_of(source: SourceMask, volume: Volume, axes: tuple[Axis, Axis]) -> tuple[Measurement, ...]:
    """Return volume, long and short axis, their mean (the size Fleischner 2017 uses) and mean HU."""
    voxel_mm3 = float(np.prod(volume.spacing_mm))
    box = tuple(slice(o, o + n) for o, n in zip(source.offset, source.mask.shape, strict=True))
    mean_hu = float(volume.array[box][source.mask].mean())
    long, short = length_mm(axes[0]), length_mm(axes[1])
    mm = code("mm")
    return (
        Measurement(
            code=code("volume"), value=round(float(source.mask.sum()) * voxel_mm3, 1), unit=code("mm3"),
            method="voxels of the segment",
        ),
        Measurement(code=code("long-axis"), value=round(long, 1), unit=mm, method="longest in the image plane"),
        Measurement(code=code("short-axis"), value=round(short, 1), unit=mm, method="across the long axis"),
        diameter_of("diameter", axes),
        Measurement(
            code=code("attenuation"), value=round(mean_hu, 1), unit=code("hounsfield"), method="mean of the segment"
        ),
    )  # fmt: skip
