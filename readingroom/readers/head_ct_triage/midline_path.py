"""Where the midline of a brain is: the path about which its two sides are most alike, and how far it was pushed.

A brain that is pushed stays, close to its middle, much the same on both sides of the bent midline. So each place across
the head is asked, row by row, how unlike its two sides are; dynamic programming finds the smooth path of least
difference from front to back. One hill, fitted robustly to the paths of all slices, is the push: noise, a sulcus, or
the brain's own torque on one slice don't make a shift.
"""

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from readingroom.readers.head_ct_triage.midline_skull import ClosedSkull

_REACH = 22
"""Farthest place across that is asked, mm."""
_SIDE = 35
_HALF = 75
_GRID = 40


@dataclass(frozen=True)
class Settings:
    """Chosen on the patients that aren't locked (``benchmarks/midline_shift.md``). Lengths in mm."""

    levels_mm: tuple[float, float] = (30.0, 80.0)
    """Below the inside of the vertex: from above the lateral ventricles to the third one."""
    anchors_mm: tuple[float, float] = (15.0, 85.0)
    typical_mm: float = 55.0
    smooth: tuple[float, float] = (1.5, 0.8)
    """Of the picture, along and across the midline."""
    along: tuple[float, float] = (0.7, 4.0)
    """Of the comparison: over slices, and along the midline in mm."""
    fade: float = 15.0
    """How fast what lies further from the middle counts less."""
    tissue_hu: tuple[float, float] = (0.0, 60.0)
    noise_hu2: float = 4.0
    """Variance below which a difference between the sides is noise."""
    bend: float = 0.3
    tether: float = 0.3
    """What leaving the ideal midline costs at both ends of a path, for 2 mm, squared."""
    rows: tuple[float, ...] = (0.4, 0.5)
    lengths: tuple[float, ...] = (0.25, 0.35)
    """Middle and length of a hill, as parts of the way from front to back."""
    tops_mm: tuple[float, ...] = (50.0, 60.0, 70.0)
    height_mm: float = 35.0
    wrong_mm: float = 0.7
    """How wrong the ideal midline may be: its standard deviation, at the middle and at either end."""
    least_alike: float = 0.45
    worst_misfit_mm: float = 4.0


@dataclass(frozen=True)
class MidPlane:
    """x = ``x`` + ``lean`` z + ``turn`` y, in the head's frame, mm.

    ``misfit_mm``: mean distance of the inner table from its mirror image.
    """

    x: float
    lean: float
    turn: float
    misfit_mm: float


@dataclass(frozen=True, eq=False)
class Unrolled:
    """Slices turned so that the plane is the middle column: ``hu``, ``inside`` ``(levels, rows, columns)``, 1 mm.

    Rows run along the plane to the back. ``origin``: (y, x) of row 0 at 0 mm across, a level. ``turn``: cosine, sine.
    """

    hu: np.ndarray
    inside: np.ndarray
    origin: np.ndarray
    turn: tuple[float, float]

    def place(self, level: int, row: np.ndarray, across: np.ndarray) -> np.ndarray:
        """(y, x) in the head's frame, mm, of rows and places across (to the left)."""
        c, s = self.turn
        return np.asarray(self.origin[level] + np.stack([row * c - across * s, row * s + across * c], axis=-1))

    def span(self, level: int) -> tuple[int, int]:
        """First row of brain at the plane, and the one after the last."""
        rows = np.flatnonzero(self.inside[level][:, _HALF - 2 : _HALF + 3].any(axis=1))
        return int(rows[0]), int(rows[-1]) + 1


@dataclass(frozen=True, eq=False)
class Path:
    """The midline on one slice, a value a row: ``across``, ``ideal`` mm; ``alike`` 0..1, see ``MidlineShift``."""

    across: np.ndarray
    ideal: np.ndarray
    alike: np.ndarray


@dataclass(frozen=True, eq=False)
class Hill:
    """The push: ``height_mm``, signed, to the left. It is highest on ``level`` at ``row``, a part of the way back.

    ``ideal``, ``off``: for each level, a value a row: the ideal midline as finally taken, and the path's distance.
    """

    height_mm: float
    level: int
    row: float
    alike: float
    ideal: list[np.ndarray]
    off: list[np.ndarray]


def unroll(skull: "ClosedSkull", plane: MidPlane, levels: np.ndarray) -> Unrolled:
    """Return the slices ``levels`` of the skull, turned."""
    length = float(np.hypot(1, plane.turn))
    c, s = 1 / length, plane.turn / length
    rows, across = np.arange(skull.hu.shape[1]), np.arange(-_HALF, _HALF + 1)
    y0 = (skull.hu.shape[1] - 1) / 2
    x0 = plane.x + plane.lean * skull.z_mm[levels] + plane.turn * y0
    origin = np.stack([np.full(len(levels), y0 - y0 * c), x0 - y0 * s], axis=-1)
    shape = (len(levels), len(rows), len(across))
    turned = Unrolled(np.empty(shape, np.float32), np.empty(shape, bool), origin, (c, s))
    for n, level in enumerate(levels):
        at = np.moveaxis(turned.place(n, rows[:, None], across[None]), -1, 0)
        turned.hu[n] = ndimage.map_coordinates(skull.hu[level], at, order=1, mode="nearest")
        turned.inside[n] = ndimage.map_coordinates(skull.inside[level].astype(np.float32), at, order=1) > 0.5
    return turned


def asymmetry(turned: Unrolled, settings: Settings) -> np.ndarray:
    """Return how unlike the two sides of each place are, ``(places, levels, rows)``: 0 alike, 1 not.

    Places are -22 .. 22 mm across. It is the part of the variation near the place that changes sign when mirrored.
    """
    weight = turned.inside.astype(np.float32)
    sigma = (0, *settings.smooth)
    values = ndimage.gaussian_filter(np.clip(turned.hu, *settings.tissue_hu) * weight, sigma)
    values /= np.maximum(ndimage.gaussian_filter(weight, sigma), 1e-3)
    near = np.exp(-np.arange(1, _SIDE + 1) / settings.fade).astype(np.float32)
    out = np.ones((2 * _REACH + 1, *values.shape[:2]), np.float32)

    def around(part: np.ndarray) -> np.ndarray:
        return np.asarray(ndimage.gaussian_filter(part.sum(axis=-1), settings.along))

    for n, place in enumerate(range(_HALF - _REACH, _HALF + _REACH + 1)):
        right, left = slice(place - _SIDE, place), slice(place + 1, place + 1 + _SIDE)
        w = weight[..., left] * weight[..., right][..., ::-1] * near
        odd = (values[..., left] - values[..., right][..., ::-1]) / 2
        even = (values[..., left] + values[..., right][..., ::-1]) / 2
        total = np.maximum(around(w), 1e-3)
        spread = around(w * even * even) / total - (around(w * even) / total) ** 2
        ratio = around(w * odd * odd) / total / (np.maximum(spread, 0) + settings.noise_hu2)
        out[n] = np.where(total < 0.2 * near.sum(), 1.0, np.minimum(ratio, 1.0))
    return out


def path_through(unlike: np.ndarray, span: tuple[int, int], ideal: np.ndarray, settings: Settings) -> Path:
    """Return the cheapest way from the first row of brain to the last. ``unlike``: ``(places, rows)`` of one level."""
    places = np.arange(-_REACH, _REACH + 1)
    cost = unlike[:, slice(*span)]
    rows = cost.shape[1]
    ends = np.exp(-np.arange(rows) / 4.0)
    whole = cost + settings.tether * (ends + ends[::-1]) * ((places[:, None] - ideal) / 2) ** 2
    step = settings.bend * (places[:, None] - places[None]) ** 2
    total, back = whole[:, 0], np.zeros(cost.shape, int)
    for row in range(1, rows):
        ways = total[None] + step
        back[:, row] = ways.argmin(axis=1)
        total = ways.min(axis=1) + whole[:, row]
    way = np.empty(rows, int)
    way[-1] = int(total.argmin())
    for row in range(rows - 1, 0, -1):
        way[row - 1] = back[way[row], row]
    # Between whole millimetres the cost is taken for a parabola.
    inner = np.clip(way, 1, len(places) - 2)
    a, b, c = (whole[inner + n, np.arange(rows)] for n in (-1, 0, 1))
    across = places[inner] + np.clip((a - c) / 2 / np.maximum(a + c - 2 * b, 1e-3), -0.5, 0.5)
    usual = np.maximum(np.median(cost, axis=0), 1e-3)
    alike = np.clip(1 - cost[way, np.arange(rows)] / usual, 0, 1)
    return Path(ndimage.gaussian_filter1d(across, 2.0), ideal, alike)


def fit_hill(paths: list[Path], below_mm: np.ndarray, settings: Settings) -> Hill:
    """Return the hill that explains best how the paths lie off the ideal midline; robust to what it can't explain.

    Beside it the ideal midline may be a little wrong: an offset, a lean and a turn, each drawn to nothing.
    """
    part = np.linspace(0.02, 0.98, _GRID)
    off, weight = (
        np.array([np.interp(part, np.linspace(0, 1, len(values)), values) for values in lines])
        for lines in ([p.across - p.ideal for p in paths], [np.maximum(p.alike, 0.02) for p in paths])
    )
    height = (below_mm[:, None] - settings.typical_mm) / 25 + 0 * part
    turn = 2 * part - 1 + 0 * height
    lengths = np.array([len(p.across) for p in paths])[:, None]
    held = 1 - np.exp(-((np.minimum(part, 1 - part) * lengths / 10) ** 2))
    prior = np.diag([settings.wrong_mm**-2] * 3 + [15.0**-2])
    tries = []
    for row, length, top in product(settings.rows, settings.lengths, settings.tops_mm):
        down = (below_mm[:, None] - top) / settings.height_mm if len(paths) > 1 else 0.0
        hill = held * np.exp(-(((part - row) / length) ** 2) - np.square(down))
        design = np.stack([np.ones(off.size), height.ravel(), turn.ravel(), hill.ravel()], axis=1)
        cost, values = _robust(design, off.ravel(), weight.ravel(), prior)
        tries.append((cost, values, hill))
    _, values, hill = min(tries, key=lambda one: one[0])
    level, at = (int(n) for n in np.unravel_index(hill.argmax(), hill.shape))
    ideal = []
    for path, z in zip(paths, height[:, 0], strict=True):
        rows = np.linspace(-1, 1, len(path.across))
        ideal.append(path.ideal + values[0] + values[1] * z + values[2] * rows)
    beside = [ndimage.gaussian_filter1d(p.across - i, 4.0) for p, i in zip(paths, ideal, strict=True)]
    alike = float(np.mean([p.alike.mean() for p in paths]))
    return Hill(float(values[3] * hill.max()), level, float(part[at]), alike, ideal, beside)


def _robust(design: np.ndarray, off: np.ndarray, weight: np.ndarray, prior: np.ndarray) -> tuple[float, np.ndarray]:
    """Huber's fit with a prior; ``(cost, values)``. All rows together count as much as 60 independent ones."""
    share, knee = 60 / len(off), 0.7
    values, left, now = np.zeros(design.shape[1]), np.abs(off), weight
    for _ in range(6):
        gram = design.T @ (design * now[:, None]) * share + prior
        values = np.linalg.solve(gram, design.T @ (now * off) * share)
        left = np.abs(off - design @ values)
        now = weight / np.maximum(left, knee)
    loss = np.where(left < knee, left**2 / 2 / knee, left - knee / 2)
    return float((weight * loss).sum() * share + values @ prior @ values / 2), values
