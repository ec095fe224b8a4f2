"""Lung and pleural space without air at the chest wall (effusion, consolidation, large tumours): what the threshold
for air misses, found again from the rib cage.

1. Seeds: what is as dense as fluid or tissue between the ribs and aerated lung, seen along rays from the middle of the
   chest. Where lungs are healthy they touch the wall, so there are none.
2. Growth: what has the seeds' density, lies at the wall or behind such, and near where the other lung lies, mirrored.
   Fluid and consolidation stop where heart, liver and spleen begin only if their densities differ; where they don't,
   no further than the other lung, mirrored and 16 mm lower, would reach.
Where there is too little to tell from, nothing is added: ``aerated_lungs`` stay as they are. A side without any air is
measured by the other lung, mirrored, and not added. Not found: what does not lie at the wall, what reaches the
mediastinum at every level with the density of the heart, and what lies under the dome of the diaphragm.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from readingroom.imaging.volume import Volume
from readingroom.readers.lung_nodule.grid import resample
from readingroom.readers.lung_nodule.lungs import MIN_LUNG_ML, Lungs, aerated_lungs, close
from readingroom.readers.lung_nodule.ribs import RibCage, degrees_from_back, find_ribs
from readingroom.readers.lung_nodule.ribs import settings as rib_settings

SIDES = ("left", "right")
METHOD = "lower bound, from the rib cage and aerated lung"
LOW_HU, HIGH_HU = -50.0, 100.0
"""Fluid to consolidated lung, with contrast too."""
SURE = 0.2
SECTOR_DEGREES = (12.0, 115.0)
"""Directions from straight back in which ribs bound lung: neither the spine, nor the front, where the heart lies."""
APEX = 0.2
"""Of the lungs' height, from the top: there the ribs lead away from the lung and muscle lies between."""
GAP_MM = 6.0
MIN_SEED_ML = 10.0
CONTRAST_HU = 20.0
"""Least difference between the seeds and heart or abdomen that is told apart."""
ALIKE_HU = 25.0
MIRROR_MM = 28.0
LOWER_MM = 16.0
SKIN_MM = 8.0
"""Muscle and fat between ribs and pleura: what lies there need not look like fluid."""
MARGIN_MM = 50.0
SAID_ML = 50.0


@dataclass(frozen=True, eq=False)
class WholeLungs:
    """``aerated``: what air shows; ``dense``: what was added, bool, on the same grid; ``dense_ml``: how much there is
    without air, by side (``right``, ``left``), of a side without any air too."""

    aerated: Lungs
    dense: np.ndarray
    dense_ml: Mapping[str, float]

    @property
    def together(self) -> np.ndarray:
        return np.asarray(self.aerated.together | self.dense)

    @property
    def said(self) -> tuple[str, ...]:
        """What a person is told of it, a sentence a side; sides with less than ``SAID_ML`` are not spoken of."""
        return tuple(
            f"About {ml:.0f} ml of lung or pleural space on the {side} hold no air (at the least): a nodule in them "
            "can't be seen by density."
            for side, ml in sorted(self.dense_ml.items())
            if ml >= SAID_ML
        )


@dataclass(frozen=True, eq=False)
class _Chest:
    """A chest in canonical orientation (``ribs``). ``level``: HU smoothed over dense tissue alone, -1000 elsewhere;
    ``inside``: within the ribs."""

    soft: np.ndarray
    level: np.ndarray
    inside: np.ndarray
    ribs: RibCage
    wall: np.ndarray
    step_mm: float


def settings() -> tuple[object, ...]:
    """All that changes what is found: part of a reader's configuration hash."""
    return (
        LOW_HU, HIGH_HU, SURE, SECTOR_DEGREES, APEX, GAP_MM, MIN_SEED_ML, CONTRAST_HU, ALIKE_HU, MIRROR_MM, LOWER_MM,
        SKIN_MM, MARGIN_MM, SAID_ML, rib_settings(),
    )  # fmt: skip


def whole_lungs(volume: Volume, step_mm: float = 2.0) -> WholeLungs:
    """Return the lungs of a chest CT on the grid of ``step_mm``, with what holds no air."""
    hu = resample(volume, step_mm).hu
    turns = _turns(volume)
    found = aerated_lungs(hu, step_mm, top_first=float(volume.affine[2, 2]) < 0)
    if not found.masks or turns is None:
        return WholeLungs(found, np.zeros(hu.shape, bool), {})
    masks, dense, ml = recover(hu[turns], tuple(m[turns] for m in found.masks), step_mm)
    alone = len(masks) == 1 and bool(ml)
    kept = Lungs(tuple(m[turns] for m in masks), "" if alone else found.problem)
    return WholeLungs(kept, dense[turns], ml)


def recover(
    hu: np.ndarray, masks: tuple[np.ndarray, ...], step_mm: float
) -> tuple[tuple[np.ndarray, ...], np.ndarray, dict[str, float]]:
    """Return the aerated lungs (two parts of one side made one), what was added, and millilitres by side.

    ``hu`` and ``masks`` in canonical orientation (``ribs``). No millilitres: nothing was found, or it can't be told.
    """
    nothing = np.zeros(hu.shape, bool)
    box = _around(masks, step_mm)
    soft = ndimage.gaussian_filter(np.clip(hu[box], -300, 600).astype(np.float32), 2.0 / step_mm)
    cut = tuple(m[box] for m in masks)
    ribs = find_ribs(soft, np.logical_or.reduce(cut), step_mm)
    left = [np.argwhere(m.any(axis=(0, 1))).mean() > ribs.rays.column for m in cut]
    voxel_ml = step_mm**3 / 1000
    if len(set(left)) == 1:
        whole = np.logical_or.reduce(masks)
        missing = _mirrored(whole[box], ribs.rays.column) & _within(ribs, soft.shape, _thickness(ribs, step_mm))
        size = round(float((missing & (soft > LOW_HU) & (soft < 160)).sum()) * voxel_ml, 1)
        told = size >= MIN_LUNG_ML and _both_sides(ribs)
        return (whole,) if told else masks, nothing, {"right" if left[0] else "left": size} if told else {}
    thick = _thickness(ribs, step_mm)
    seeds = _seeds(soft, ribs, thick, step_mm)
    if seeds.sum() * voxel_ml < MIN_SEED_ML:
        return masks, nothing, {}
    chest = _chest(soft, ribs, thick, np.logical_or.reduce(cut), step_mm)
    added = np.zeros(soft.shape, bool)
    ml: dict[str, float] = {}
    for n, on_left in enumerate(left):
        more = _of_side(chest, seeds, cut[n], cut[1 - n], on_left)
        if more.any():
            added |= more
            ml["left" if on_left else "right"] = round(float(more.sum()) * voxel_ml, 1)
    nothing[box] = added & ~np.logical_or.reduce(cut)
    return masks, nothing, ml


def _turns(volume: Volume) -> tuple[slice, slice, slice] | None:
    """Flips that make the array canonical (its own inverse), None where rows and columns lie otherwise."""
    along = [float(volume.affine[axis, axis] / np.linalg.norm(volume.affine[:3, axis])) for axis in (2, 1, 0)]
    if min(abs(a) for a in along) < 0.9:
        return None
    turned = [slice(None, None, -1 if a < 0 else 1) for a in along]
    return turned[0], turned[1], turned[2]


def _around(masks: tuple[np.ndarray, ...], step_mm: float) -> tuple[slice, slice, slice]:
    """The part of the image that matters: slices near the lungs; all rows and columns, for the other side."""
    hit = np.flatnonzero(np.logical_or.reduce(masks).any(axis=(1, 2)))
    margin = int(MARGIN_MM / step_mm)
    return slice(max(0, int(hit[0]) - margin), int(hit[-1]) + 1 + margin // 2), slice(None), slice(None)


def _thickness(ribs: RibCage, step_mm: float) -> float:
    """How far aerated lung lies from the ribs in this chest, voxels: pleura, fat and blur."""
    gap = ribs.radius - ribs.lung
    usual = gap[_sector(ribs) & (ribs.lung > 0) & (gap > 0) & (gap < 12 / step_mm)]
    return float(np.clip(np.median(usual), 2 / step_mm, 8 / step_mm)) if usual.size else 4 / step_mm


def _sector(ribs: RibCage) -> np.ndarray:
    turned = degrees_from_back()
    return np.asarray((ribs.sure > SURE) & (turned > SECTOR_DEGREES[0]) & (turned < SECTOR_DEGREES[1]))


def _both_sides(ribs: RibCage) -> bool:
    """Whether ribs are seen on both sides: the image shows the whole chest, and it is a chest."""
    slices = (ribs.lung > 0).any(axis=1)
    turned = degrees_from_back()
    at_side = (turned > 20) & (turned < 100)
    first = np.arange(len(turned)) < len(turned) // 2
    return all((ribs.sure[slices][:, at_side & half] > SURE / 4).mean() > 0.7 for half in (first, ~first))


def _below_apex(ribs: RibCage) -> np.ndarray:
    """Which slices lie below the apex of the lungs, ``(slices, 1)``."""
    hit = np.flatnonzero((ribs.lung > 0).any(axis=1))
    top = hit[-1] - APEX * (hit[-1] - hit[0])
    return (np.arange(len(ribs.lung)) < top)[:, None]


def _within(ribs: RibCage, shape: tuple[int, ...], thick: float) -> np.ndarray:
    radii = np.arange(ribs.rays.rows.shape[1])
    slices = (ribs.sure > SURE / 4) & _below_apex(ribs)
    polar = (radii <= (ribs.radius - thick)[..., None] + 0.5) & slices[..., None] & (radii > 0)
    return ribs.rays.cartesian(polar, shape)


def _seeds(soft: np.ndarray, ribs: RibCage, thick: float, step_mm: float) -> np.ndarray:
    """Dense voxels between aerated lung and the ribs, where there is more of them than a wall's thickness."""
    radii = np.arange(ribs.rays.rows.shape[1])
    end = (ribs.radius - thick)[..., None]
    wide = _sector(ribs) & _below_apex(ribs) & (ribs.lung > 0) & (ribs.radius - thick - ribs.lung > GAP_MM / step_mm)
    polar = (radii > ribs.lung[..., None]) & (radii <= end + 0.5) & wide[..., None]
    found = ribs.rays.cartesian(polar, soft.shape) & (soft > LOW_HU) & (soft < HIGH_HU)
    return ndimage.binary_opening(found, iterations=max(1, round(4 / step_mm)))


def _chest(soft: np.ndarray, ribs: RibCage, thick: float, aerated: np.ndarray, step_mm: float) -> _Chest:
    tissue = (soft > -60) & (soft < 160) & ~aerated
    # Smoothed over tissue alone: neither air nor fat nor bone reaches in.
    weight = ndimage.gaussian_filter(tissue.astype(np.float32), 4.0 / step_mm)
    level = ndimage.gaussian_filter(np.where(tissue, soft, 0), 4.0 / step_mm) / np.maximum(weight, 1e-3)
    level[~tissue] = -1000
    return _Chest(soft, level, _within(ribs, soft.shape, thick), ribs, ribs.radius - thick, step_mm)


def _of_side(chest: _Chest, seeds: np.ndarray, lung: np.ndarray, other: np.ndarray, on_left: bool) -> np.ndarray:
    """What is added to ``lung``: nothing where this side holds too few seeds."""
    nothing = np.zeros(lung.shape, bool)
    step, voxel_ml = chest.step_mm, chest.step_mm**3 / 1000
    away = np.arange(lung.shape[2]) - chest.ribs.rays.column
    half = (away if on_left else -away) > 10 / step
    seeds = seeds & half & (chest.level > LOW_HU) & (chest.level < HIGH_HU)
    core = chest.level[ndimage.binary_erosion(seeds)]
    if seeds.sum() * voxel_ml < MIN_SEED_ML or not core.size:
        return nothing
    middle = float(np.median(core))
    contrast = min((abs(middle - hu) for hu in _organs(chest, seeds, lung)), default=0.0)
    apart = contrast >= CONTRAST_HU
    alike = chest.inside & half & (np.abs(chest.level - middle) <= (min(ALIKE_HU, contrast / 2) if apart else ALIKE_HU))
    alike &= _reach_of(other, chest.ribs.rays.column, apart, step)
    alike |= ndimage.binary_closing(alike) & chest.inside
    alike = (_from_wall(chest, alike) | seeds) & chest.inside
    ball = ndimage.generate_binary_structure(3, 1)
    grown = ndimage.binary_opening(alike, ball, iterations=max(1, round(4 / step))) | seeds
    labels, count = ndimage.label(grown)
    held = np.bincount(labels[seeds], minlength=count + 1) * voxel_ml >= MIN_SEED_ML
    held[0] = False
    grown = held[labels]
    if not grown.any():
        return nothing
    closed = close(lung | grown, step) & chest.inside & (chest.soft < 130) & ~other
    return np.asarray(closed & ~lung & ndimage.binary_dilation(grown, iterations=2))


def _organs(chest: _Chest, seeds: np.ndarray, lung: np.ndarray) -> list[float]:
    """Median HU of the middle of the chest (heart and vessels) and of what lies under the lung."""
    rays, step = chest.ribs.rays, chest.step_mm
    row, column = int(rays.row), int(rays.column)
    heart = chest.level[:, row - int(24 / step) : row + 1, column - int(30 / step) : column + int(30 / step)]
    low = int(np.flatnonzero(lung.any(axis=(1, 2)))[0]) + int(24 / step)
    near = np.abs(np.arange(lung.shape[2]) - column) < 80 / step
    under = chest.level[:low][(chest.inside & near & ~seeds)[:low]]
    return [float(np.median(v[v > LOW_HU])) for v in (heart, under) if (v > LOW_HU).sum() > 200]


def _reach_of(other: np.ndarray, column: float, apart: bool, step_mm: float) -> np.ndarray:
    """Where lung may be on this side: about where the other is; strictly so where density tells nothing."""
    mirror = _mirrored(other, column)
    if apart:
        return np.asarray(ndimage.distance_transform_edt(~mirror) <= MIRROR_MM / step_mm)
    up = int(LOWER_MM / step_mm)
    out = np.zeros_like(mirror)
    out[up:] = mirror[up:] & mirror[:-up]
    return out


def _mirrored(mask: np.ndarray, column: float) -> np.ndarray:
    across = np.rint(2 * column - np.arange(mask.shape[2])).astype(int)
    seen = (across >= 0) & (across < mask.shape[2])
    return np.asarray(mask[:, :, np.clip(across, 0, mask.shape[2] - 1)] & seen)


def _from_wall(chest: _Chest, alike: np.ndarray) -> np.ndarray:
    """The part of ``alike`` that is reached from the wall along a ray without meeting anything else."""
    rays = chest.ribs.rays
    radii = np.arange(rays.rows.shape[1])
    free = rays.polar(alike) | (radii > (chest.wall - SKIN_MM / chest.step_mm)[..., None])
    reached = np.minimum.accumulate(free[:, :, ::-1], axis=2)[:, :, ::-1]
    return alike & rays.cartesian(reached, alike.shape)
