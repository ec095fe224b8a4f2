"""Where the midline of a head should be, from its skull: the plane that mirrors it, then where it holds the falx.

The *head's frame*: millimetres along the array's axes (z to the head, y to the back, x to the left) from the first
voxel. A head may lie turned, lean or off the middle; the plane is fitted in three dimensions to the inner table. Skulls
are not even (plagiocephaly, a flat spot): the frontal crest in front and the falx, sagittal sinus and occipital crest
behind then say where exactly, all slices together.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, optimize

from readingroom.imaging.resample import Region
from readingroom.readers.head_ct_triage.midline_path import MidPlane, Unrolled

BONE_HU = 90.0
"""Denser is bone. A brain window ends at 100 HU, so that this holds for windowed pictures too."""
_DENSE_HU = 48.0
"""Brain is lighter; falx, sinus and bone are denser."""
_SLICE_MM = 5.0
_SEARCHED = 12
_SEEN = 20
_NARROW = 11


@dataclass(frozen=True)
class NoMidline:
    """Nothing is said, and why; a sentence for people."""

    reason: str


@dataclass(frozen=True, eq=False)
class ClosedSkull:
    """The part of a head where the skull is one ring: ``hu``, ``inside`` ``(slices, rows, columns)``, pixels of 1 mm.

    ``z_mm``: height of each slice in the head's frame, ``gap_mm`` apart.
    """

    hu: np.ndarray
    inside: np.ndarray
    z_mm: np.ndarray
    gap_mm: float


@dataclass(frozen=True, eq=False)
class Anchors:
    """Where the falx is held, in mm across from the mirror plane. ``front``, ``back``: ``(levels,)``."""

    front: np.ndarray
    back: np.ndarray

    def ideal(self, level: int, span: tuple[int, int]) -> np.ndarray:
        """The straight line between them, a value a row."""
        return np.linspace(self.front[level], self.back[level], span[1] - span[0])


def closed_skull(head: Region, least: int = 4) -> ClosedSkull | NoMidline:
    """Return the slices from the vertex down to where the skull is no longer one ring, at least ``least``."""
    hu, z_mm, gap_mm = _thick_slices(head)
    inside = np.stack([_inside(plane) for plane in hu])
    area = inside.sum(axis=(1, 2))
    low = high = int(area.argmax())
    # The posterior fossa is a second, smaller ring.
    while low > 0 and area[low - 1] > 0.55 * area.max():
        low -= 1
    while high + 1 < len(area) and area[high + 1] > 0:
        high += 1
    if area.max() < 6000 or high - low + 1 < least:
        return NoMidline("There is no closed skull with brain in it, or on too few slices.")
    kept = slice(low, high + 1)
    return ClosedSkull(hu[kept], inside[kept], z_mm[kept], gap_mm)


def _thick_slices(head: Region) -> tuple[np.ndarray, np.ndarray, float]:
    """Pixels of 1 mm, thin slices averaged to about 5 mm; ``(hu, height of each, distance)``."""
    dz, dy, dx = head.spacing_mm
    together = min(max(1, round(_SLICE_MM / dz - 0.2)), len(head.array))
    count = len(head.array) // together
    # From the top: the vertex is what the levels are counted from.
    first = len(head.array) - count * together
    hu = head.array[first:].reshape(count, together, *head.array.shape[1:]).mean(axis=1, dtype=np.float32)
    blur = [0.0, *(0.4 / d if d < 0.8 else 0.0 for d in (dy, dx))]
    shape = (count, int((hu.shape[1] - 1) * dy) + 1, int((hu.shape[2] - 1) * dx) + 1)
    hu = ndimage.affine_transform(ndimage.gaussian_filter(hu, blur), [1, 1 / dy, 1 / dx], 0, shape, order=1)
    return hu, (first + np.arange(count) * together + (together - 1) / 2) * dz, together * dz


def _inside(plane: np.ndarray) -> np.ndarray:
    """What one ring of bone encloses, or nothing where there is no such ring."""
    ring = _largest(plane > BONE_HU)
    closed = ndimage.binary_closing(np.pad(ring, 4), iterations=2)[4:-4, 4:-4]
    inside = _largest(ndimage.binary_opening(ndimage.binary_fill_holes(closed) & ~closed, iterations=3))
    size = int(inside.sum())
    if size < 3000:
        return np.zeros(plane.shape, bool)
    # Area against that of the ellipse with the same spread: a brain's outline is nearly one.
    ellipse = 4 * np.pi * np.sqrt(np.linalg.det(np.cov(np.argwhere(inside).T)))
    whole = size > 0.95 * ellipse and (plane[inside] < -15).mean() < 0.02
    return ndimage.binary_fill_holes(inside) if whole else np.zeros(plane.shape, bool)


def _largest(mask: np.ndarray) -> np.ndarray:
    labels, count = ndimage.label(mask)
    return np.asarray(labels == 1 + int(np.bincount(labels.ravel())[1:].argmax())) if count else mask


def head_width_mm(skull: ClosedSkull) -> float:
    """Outer width of the skull on its widest slice: the smallest over turns by up to 30 degrees."""
    widest = int(skull.inside.sum(axis=(1, 2)).argmax())
    places = np.argwhere(ndimage.binary_fill_holes(_largest(skull.hu[widest] > BONE_HU)))
    turns = np.radians(np.arange(-30, 31, 3))
    return 1.0 + float(np.ptp(places @ np.array([np.sin(turns), np.cos(turns)]), axis=0).min())


def mirror_plane(skull: ClosedSkull) -> MidPlane:
    """Return the plane that mirrors the inner table onto itself best, by the mirrored points' distance from it."""
    depth = np.stack([ndimage.distance_transform_edt(m) - ndimage.distance_transform_edt(~m) for m in skull.inside])
    found = np.argwhere(skull.inside & (depth <= 1))
    edge = found[:: max(1, len(found) // 2500)] * np.array([skull.gap_mm, 1, 1])
    middle = np.array(ndimage.center_of_mass(skull.inside)) * [skull.gap_mm, 1, 1]
    free = 3 if len(skull.inside) > 1 else 2

    def misfit(values: np.ndarray) -> float:
        x, turn, lean = (*values, 0.0)[:3]
        normal = np.array([-lean, -turn, 1.0])
        away = ((edge - middle) @ normal - x) / (normal @ normal)
        mirrored = (edge - 2 * np.outer(away, normal)) / [skull.gap_mm, 1, 1]
        there = mirrored[(mirrored[:, 0] >= 0) & (mirrored[:, 0] <= len(depth) - 1)]
        if len(there) < 0.3 * len(edge):
            return 99.0
        off = ndimage.map_coordinates(depth, there.T, order=1, mode="nearest") - 0.5
        # Far off is wrong, however far: a bump on one side must not turn the plane.
        return float(np.minimum(np.abs(off), 6.0).mean())

    tries = []
    for turn in (-0.3, 0.0, 0.3):
        start = np.array([0.0, turn, 0.0])[:free]
        simplex = start + np.vstack([np.zeros(free), np.diag([4.0, 0.08, 0.08][:free])])
        options = {"initial_simplex": simplex, "xatol": 1e-3, "fatol": 1e-4, "maxiter": 250}
        tries.append(optimize.minimize(misfit, start, method="Nelder-Mead", options=options))
    best = min(tries, key=lambda one: one.fun)
    x, turn, lean = (float(v) for v in (*best.x, 0.0)[:3])
    z0 = float(skull.z_mm[0])
    return MidPlane(float(middle[2]) + x - lean * (middle[0] + z0) - turn * middle[1], lean, turn, float(best.fun))


def falx_anchors(turned: Unrolled, height_mm: np.ndarray) -> Anchors:
    """Return where crest, sinus and falx meet the skull: the densest narrow thing near the mirror plane at both ends.

    ``height_mm``: of each level, from the typical one. Each level votes for a place; the straight line over the levels
    with most votes wins, drawn towards the mirror plane where the votes are few.
    """
    votes = np.array([_dense_ends(turned, n) for n in range(len(height_mm))])
    front, back = (_elect(votes[:, end, 0], votes[:, end, 1], height_mm / 25) for end in (0, 1))
    return Anchors(front, back)


def _dense_ends(turned: Unrolled, level: int) -> list[tuple[float, float]]:
    """For front and back: (mm across of what is dense between brain and skull, how much of it)."""
    inside = np.pad(turned.inside[level], 14)
    # What closing with a ball of 12 mm adds to the inside of the skull are its crests.
    near = ndimage.distance_transform_edt(~inside) <= 12
    hull = (ndimage.distance_transform_edt(near) > 12)[14:-14, 14:-14]
    dense = np.clip(ndimage.gaussian_filter(turned.hu[level], 0.7) - _DENSE_HU, 0, 25) / 25 * hull
    first, last = turned.span(level)
    middle = turned.hu.shape[2] // 2
    found = []
    for rows in (slice(max(0, first - 8), first + 14), slice(last - 14, last + 8)):
        line = ndimage.gaussian_filter1d(dense[rows, middle - _SEEN : middle + _SEEN + 1].sum(axis=0), 1.0)
        # Crest, sinus and falx are narrow; the skull, where it curves into view, isn't.
        line -= ndimage.grey_opening(line, _NARROW)
        peak = _SEEN - _SEARCHED + int(line[_SEEN - _SEARCHED : _SEEN + _SEARCHED + 1].argmax())
        part = slice(peak - 3, peak + 4)
        mass = float(line[part].sum())
        found.append((float(line[part] @ np.arange(-_SEEN, _SEEN + 1)[part]) / max(mass, 1e-6), mass))
    return found


def _elect(place: np.ndarray, mass: np.ndarray, height: np.ndarray) -> np.ndarray:
    """The line ``a + b * height`` that most votes lie on, as a value a level."""
    mass = np.minimum(mass, 10.0)
    a, b = np.meshgrid(np.arange(-11, 11.1, 0.5), np.arange(-3, 3.1, 0.5), indexing="ij")
    off = place - (a[..., None] + b[..., None] * height)
    score = (mass * np.exp(-((off / 2) ** 2) / 2)).sum(axis=-1) - 2 * ((a / 5) ** 2 + (b / 1.5) ** 2)
    best = np.unravel_index(score.argmax(), score.shape)
    line = np.array([a[best], b[best]])
    design = np.stack([np.ones_like(height), height], axis=1)
    for _ in range(5):
        weight = mass * np.exp(-(((place - design @ line) / 2) ** 2) / 2)
        prior = np.diag([4 / 25, 4 / 2.25])
        line = np.linalg.solve(design.T @ (design * weight[:, None]) + prior, design.T @ (weight * place))
    return np.asarray(design @ line)
