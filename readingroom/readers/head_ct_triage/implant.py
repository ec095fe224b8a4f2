"""Simulated bleeds in real heads that do not bleed: the few patients of the set show few of the places blood can be.

Greys are those of the brain window (-20 to 100 HU on 0 to 255). Fresh blood has 45 to 85 HU (Osborn's Brain, 2nd ed.).
A bleed replaces what is smooth in the picture and leaves its noise, over three neighbouring slices.
"""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from readingroom.readers.head_ct_triage.slices import CLASSES

LOW_HU, HIGH_HU = 45.0, 85.0
LEAST_INSIDE = 3000
"""Pixels within the skull that a slice needs."""
LEAST_BLOOD = 12


def grey_of(hu: float) -> float:
    """Grey of the brain window."""
    return (hu + 20) / 120 * 255


def implant(
    greys: np.ndarray, within: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, str] | None:
    """Put a bleed into float ``(3, rows, columns)``, a slice between its neighbours, and return it with where it is
    on the middle slice, bool, and its type; None where no place was found. ``within``: ``head.inside`` of the middle.
    """
    if within.sum() < LEAST_INSIDE:
        return None
    kind, shape = _KINDS[int(random.choice(len(_KINDS), p=_SHARES))]
    at = shape(greys[1], within, random)
    if at is None:
        return None
    reach = random.uniform(0.7, 3.0)
    blood = grey_of(random.uniform(LOW_HU, HIGH_HU))
    out = greys.astype(np.float32).copy()
    deep = ndimage.distance_transform_edt(at)
    for n in range(3):
        # Away from the middle slice it becomes smaller and paler.
        away = abs(n - 1) / reach
        if away >= 1:
            continue
        here = deep > deep.max() * (1 - np.sqrt(1 - away**2)) * 0.8
        weight = ndimage.gaussian_filter(here.astype(np.float32), random.uniform(0.6, 1.3)) * (1 - 0.5 * away)
        smooth = ndimage.gaussian_filter(out[n], 2.0)
        out[n] += weight * (blood - smooth) * within
    middle = at & within
    if middle.sum() < LEAST_BLOOD or (out[1] - greys[1])[middle].mean() < 12:
        return None
    return out, middle, kind


def _edge_place(within: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A point of the inner border of the skull and the distance of every pixel from it."""
    border = np.argwhere(within & ~ndimage.binary_erosion(within))
    point = border[int(random.integers(len(border)))]
    grid = np.indices(within.shape).astype(np.float32)
    return point, np.hypot(grid[0] - point[0], grid[1] - point[1])


def _lens(grey: np.ndarray, within: np.ndarray, random: np.random.Generator) -> np.ndarray | None:
    point, _ = _edge_place(within, random)
    middle = np.argwhere(within).mean(axis=0)
    outward = (point - middle) / max(1e-6, float(np.linalg.norm(point - middle)))
    radius = random.uniform(10, 40)
    centre = point + outward * radius * random.uniform(0.3, 0.8)
    grid = np.indices(within.shape).astype(np.float32)
    return np.asarray((np.hypot(grid[0] - centre[0], grid[1] - centre[1]) < radius) & within)


def _crescent(grey: np.ndarray, within: np.ndarray, random: np.random.Generator) -> np.ndarray | None:
    _, far = _edge_place(within, random)
    deep = ndimage.distance_transform_edt(within)
    thick = random.uniform(2.5, 9) * np.clip(1 - (far / random.uniform(25, 70)) ** 2, 0, None)
    return np.asarray(within & (deep <= thick) & (thick > 0.8))


def _lump(grey: np.ndarray, within: np.ndarray, random: np.random.Generator) -> np.ndarray | None:
    deep = np.argwhere(ndimage.distance_transform_edt(within) > 8)
    if not len(deep):
        return None
    point = deep[int(random.integers(len(deep)))]
    grid = np.indices(within.shape).astype(np.float32) - point[:, None, None].astype(np.float32)
    angle, radius, flat = random.uniform(0, np.pi), random.uniform(2.5, 16), random.uniform(0.5, 1)
    turned = np.cos(angle) * grid[0] + np.sin(angle) * grid[1], -np.sin(angle) * grid[0] + np.cos(angle) * grid[1]
    ragged = ndimage.gaussian_filter(random.normal(0, 1, within.shape), 3.0) * 3
    return np.asarray((np.hypot(turned[0], turned[1] / flat) < radius * (1 + np.clip(ragged, -0.5, 0.5))) & within)


def _in_fluid(central: bool) -> Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray | None]:
    """Blood in the fluid of the ventricles (deep), or of furrows and cisterns (near the skull)."""

    def shape(grey: np.ndarray, within: np.ndarray, random: np.random.Generator) -> np.ndarray | None:
        deep = ndimage.distance_transform_edt(within)
        smooth = ndimage.gaussian_filter(grey.astype(np.float32), 0.8)
        fluid = within & (smooth < 88) & (smooth > 25) & ((deep > 22) if central else (deep < 22))
        places = np.argwhere(fluid)
        if len(places) < LEAST_BLOOD:
            return None
        point = places[int(random.integers(len(places)))]
        grid = np.indices(within.shape)
        near = np.hypot(grid[0] - point[0], grid[1] - point[1]) < random.uniform(8, 35)
        return np.asarray(fluid & near)

    return shape


_KINDS = (
    ("epidural", _lens),
    ("subdural", _crescent),
    ("intraparenchymal", _lump),
    ("intraventricular", _in_fluid(central=True)),
    ("subarachnoid", _in_fluid(central=False)),
)
_SHARES = (0.25, 0.25, 0.3, 0.08, 0.12)
assert all(kind in CLASSES for kind, _ in _KINDS)
