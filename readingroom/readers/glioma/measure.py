"""Measures of a lesion: volume, extent along the patient's axes, and the two diameters whose product RANO asks for.

Macdonald 1990 (J Clin Oncol 8:1277): the longest diameter in the slice where the tumour is largest, times the longest
one at a right angle to it. RANO (Wen 2010, J Clin Oncol 28:1963) keeps this product; of what does not take up contrast
it is measured on FLAIR (van den Bent 2011, Lancet Oncol 12:583). Measurable there: both 10 mm at least.
"""

import math

import numpy as np

from readingroom.findings.codes import code
from readingroom.findings.model import Axis, Measurement
from readingroom.readers.diameters import perpendicular_diameters
from readingroom.readers.glioma.grid import Grid

MEASURABLE_MM = 10.0


def axes_of(mask: np.ndarray, grid: Grid) -> tuple[Axis, Axis]:
    """Return the long and the short axis in the axial slice where ``mask`` has the largest area; ends in LPS mm."""
    slice_number = int(mask.sum(axis=(1, 2)).argmax())
    _, row_mm, column_mm = grid.spacing_mm
    long, short = perpendicular_diameters(mask[slice_number], row_mm, column_mm)

    def lps(point: np.ndarray) -> tuple[float, float, float]:
        x, y, z = grid.to_lps(np.array([slice_number, point[0] / row_mm, point[1] / column_mm]))
        return round(float(x), 3), round(float(y), 3), round(float(z), 3)

    return (
        Axis(role="long", start_lps_mm=lps(long[0]), end_lps_mm=lps(long[1])),
        Axis(role="short", start_lps_mm=lps(short[0]), end_lps_mm=lps(short[1])),
    )


def measurements_of(
    mask: np.ndarray, grid: Grid, axes: tuple[Axis, Axis], millilitres: float
) -> tuple[Measurement, ...]:
    """Return volume, long and short axis, their product, and the extent in three directions.

    ``millilitres``: the segment's volume on the source. Extents run along the grid's axes, the nearest to the
    patient's: between the outer edges of the outermost voxels, a slice as thick as the slices are apart.
    """
    long, short = (math.dist(axis.start_lps_mm, axis.end_lps_mm) for axis in axes)
    hit = [np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    spans = [int(np.ptp(where)) + 1 for where in hit]
    head_foot, front_back, left_right = (n * mm for n, mm in zip(spans, grid.spacing_mm, strict=True))
    mm = code("mm")
    rano = "Macdonald 1990, RANO (Wen 2010): largest axial slice"
    return (
        Measurement(code=code("volume"), value=round(millilitres, 2), unit=code("mL"), method="voxels of the segment"),
        Measurement(code=code("long-axis"), value=round(long, 1), unit=mm, method=rano),
        Measurement(code=code("short-axis"), value=round(short, 1), unit=mm, method=f"{rano}, across the long axis"),
        Measurement(code=code("diameter-product"), value=round(long * short, 0), unit=code("mm2"), method=rano),
        *(
            Measurement(code=code(name), value=round(value, 1), unit=mm, method="outermost voxels of the segment")
            for name, value in (
                ("extent-left-right", left_right), ("extent-front-back", front_back), ("extent-head-foot", head_foot)
            )
        ),
    )  # fmt: skip
