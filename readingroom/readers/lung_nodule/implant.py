"""Simulated nodules put into real lungs, for what real data lack: small, ground-glass, part-solid and calcified ones.

The contrast profile is that of Solomon and Samei 2014 (Phys Med Biol 59:6637): (1 - (r/R)^2)^n within the surface R of
each direction, where n sets how sharp the edge is; it is blended over the lung as their "superposition" does, so that
noise and vessels of the place stay. The surface is a ball with a few random low-order waves (lobulation) and narrow
peaks (spiculation). What comes out is called simulated wherever it shows.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage

Kind = Literal["solid", "part-solid", "ground-glass", "calcified"]
KINDS: tuple[Kind, ...] = ("solid", "part-solid", "ground-glass", "calcified")
_LEVELS: dict[Kind, tuple[float, float]] = {
    "solid": (-20.0, 60.0),
    "part-solid": (-680.0, -520.0),
    "ground-glass": (-720.0, -520.0),
    "calcified": (250.0, 700.0),
}
"""HU at the core, drawn evenly; of a part-solid nodule that of its ground-glass part (its core is solid)."""


@dataclass(frozen=True, eq=False)
class Implant:
    """``hu``: the box with the nodule in it; ``mask`` bool: at least half of the profile; all ``(slice, row, column)``
    at 1 mm. ``diameter_mm``: of the ball of its mask's volume; ``solid_mm``: that of its solid part."""

    hu: np.ndarray
    mask: np.ndarray
    kind: Kind
    diameter_mm: float
    solid_mm: float
    spiculated: bool
    lobulated: bool


def implant(hu: np.ndarray, centre: np.ndarray, diameter_mm: float, kind: Kind, random: np.random.Generator) -> Implant:
    """Return ``hu`` (a box of a 1 mm grid) with a nodule of about ``diameter_mm`` at the fractional index ``centre``.

    The scanner's blur is that of a kernel of 0.5 mm in the plane and 0.5 to 1 mm across. Never raises.
    """
    lobulated = bool(random.random() < 0.4)
    spiculated = bool(kind in ("solid", "part-solid") and diameter_mm > 6 and random.random() < 0.35)
    fine = _profile(hu.shape, centre, diameter_mm / 2, random, lobulated, spiculated, sharp=kind != "ground-glass")
    core, spread = random.uniform(*_LEVELS[kind]), (random.uniform(0.5, 1.0), 0.5, 0.5)
    whole = ndimage.gaussian_filter(fine, spread)
    target = np.full(hu.shape, core, np.float32)
    solid = np.zeros(hu.shape, np.float32)
    if kind == "part-solid":
        inner = diameter_mm * random.uniform(0.25, 0.75)
        where = np.asarray(centre) + random.normal(size=3) * (diameter_mm - inner) / 10
        solid = ndimage.gaussian_filter(_profile(hu.shape, where, inner / 2, random, False, False, True), spread)
        solid = np.minimum(solid, whole)
        target += (random.uniform(-20.0, 60.0) - core) * solid
    elif kind != "ground-glass":
        solid = whole
    around = hu.astype(np.float32)
    # What is already denser there (a vessel through ground glass) stays as it is.
    made = np.where(target > around, around + (target - around) * whole, around)
    mask, firm = whole >= 0.5, solid >= 0.5
    if not mask.any():
        mask = whole >= 0.5 * whole.max()
    return Implant(
        np.clip(made, -1200, 1500).astype(np.int16), mask, kind, _ball_mm(mask), _ball_mm(firm), spiculated, lobulated
    )


def _ball_mm(mask: np.ndarray) -> float:
    return float(2 * (3 * np.count_nonzero(mask) / (4 * np.pi)) ** (1 / 3))


def _profile(
    shape: tuple[int, ...], centre: np.ndarray, radius: float, random: np.random.Generator, lobulated: bool,
    spiculated: bool, sharp: bool,
) -> np.ndarray:  # fmt: skip
    """The contrast profile 0..1 on the box, before the scanner's blur."""
    axes = np.meshgrid(*(np.arange(n) - c for n, c in zip(shape, centre, strict=True)), indexing="ij", copy=False)
    stretch = np.exp(random.normal(0, 0.10, 3))
    scaled = np.stack([a / s for a, s in zip(axes, stretch, strict=True)], axis=-1).astype(np.float32)
    distance = np.linalg.norm(scaled, axis=-1)
    unit = scaled / np.maximum(distance, 1e-3)[..., None]
    surface = np.ones(shape, np.float32)
    for _ in range(4):
        direction, order = random.normal(size=3), int(random.integers(2, 5))
        wave = np.cos(order * np.arccos(np.clip(unit @ (direction / np.linalg.norm(direction)), -1, 1)))
        surface += np.float32((0.13 if lobulated else 0.04) * random.random()) * wave
    if spiculated:
        for _ in range(int(random.integers(8, 18))):
            direction = random.normal(size=3)
            along = unit @ (direction / np.linalg.norm(direction))
            width = random.uniform(0.06, 0.15)
            surface += np.float32(random.uniform(0.3, 0.9)) * np.exp(-((1 - along) / width**2) * 2)
    ratio = np.clip(distance / (radius * np.maximum(surface, 0.3)), 0, 1)
    # n of Solomon and Samei: 0.1 to 0.5 is an edge as of a solid nodule, 0.8 to 1.5 the soft one of ground glass.
    return np.asarray((1 - ratio**2) ** (random.uniform(0.1, 0.5) if sharp else random.uniform(0.8, 1.5)), np.float32)
