"""The longest diameter of a flat region and the longest one across it, as diameter rules ask for.

The long diameter is the longest distance in the plane; the short one the longest chord at a right angle to it (Bankier
2017, Radiology 285:584, of nodules; Macdonald 1990, J Clin Oncol 8:1277, of brain tumours). Both run from pixel edge to
pixel edge.
"""

import numpy as np
from scipy.spatial import ConvexHull, QhullError


def perpendicular_diameters(plane: np.ndarray, row_mm: float, column_mm: float) -> np.ndarray:
    """Return the ends of the long and the short diameter of ``plane`` (bool, rows x columns, not empty): array
    ``(2, 2, 2)``, long then short, start then end, (row, column) in mm from the middle of pixel (0, 0)."""
    corners = _corners(plane) * (row_mm, column_mm)
    hull = _hull(corners)
    distance = np.linalg.norm(hull[:, None] - hull[None], axis=2)
    a, b = np.unravel_index(int(distance.argmax()), distance.shape)
    start, end = hull[a], hull[b]
    return np.array([[start, end], _across(corners, start, end, min(row_mm, column_mm))])


def _corners(plane: np.ndarray) -> np.ndarray:
    """Corners of all pixels of ``plane`` ``(n, 2)``, in (row, column) pixels."""
    pixels = np.argwhere(plane)
    return np.unique(np.concatenate([pixels + np.array((dy, dx)) for dy in (-0.5, 0.5) for dx in (-0.5, 0.5)]), axis=0)


def _hull(points: np.ndarray) -> np.ndarray:
    try:
        return points[ConvexHull(points).vertices]
    except QhullError:
        return points


def _across(points: np.ndarray, start: np.ndarray, end: np.ndarray, pixel_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """The longest chord at a right angle to start-end."""
    along = (end - start) / max(float(np.linalg.norm(end - start)), 1e-9)
    side = np.array([-along[1], along[0]])
    u, v = (points - start) @ along, (points - start) @ side
    slots = np.rint(u / pixel_mm).astype(int)
    best = (-1.0, 0.0, 0.0, 0.0)
    for slot in np.unique(slots):
        here = v[slots == slot]
        length = float(here.max() - here.min())
        if length > best[0]:
            best = (length, slot * pixel_mm, float(here.min()), float(here.max()))
    _, at, low, high = best
    foot = start + along * at
    return foot + side * low, foot + side * high
