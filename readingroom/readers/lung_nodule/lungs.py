"""Lungs by threshold and morphology: air inside the body, the trachea taken out, hollows at the pleura closed.

Works on a grid of about 2 mm. Nodules on the pleura and vessels are inside the result, because each lung is closed with
a ball of ``CLOSING_MM``. What holds no air at the wall (consolidation, effusion) is found by ``dense``, which builds on
this; training draws from aerated lung alone, so that what ``dense`` finds never moves the weights.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from readingroom.imaging.volume import Volume
from readingroom.readers.lung_nodule.grid import Grid, bounding_box, resample

AIR_HU = -400
CLOSING_MM = 11.0
MIN_LUNG_ML = 150.0


@dataclass(frozen=True, eq=False)
class Lungs:
    """``masks``: a bool array per lung on the grid they were found on, larger first; ``problem`` says what is wrong."""

    masks: tuple[np.ndarray, ...]
    problem: str = ""

    @property
    def together(self) -> np.ndarray:
        return np.logical_or.reduce(self.masks)


def aerated_lungs(hu: np.ndarray, step_mm: float, top_first: bool) -> Lungs:
    """Return both lungs, as far as they hold air, of a whole chest ``hu`` (slices, rows, columns), or what was found
    and the problem. Training takes its negatives from these; use begins with them (``dense.whole_lungs``).

    ``top_first``: slice 0 is the one nearest the head.
    """
    air = hu < AIR_HU
    air &= ~_outside(air)
    air &= ~_trachea(air, step_mm, top_first)
    air = ndimage.binary_opening(air, iterations=1)
    voxel_ml = step_mm**3 / 1000
    labels, count = ndimage.label(air)
    if not count:
        return Lungs((), "no air-filled lung was found")
    sizes = np.bincount(labels.ravel())[1:] * voxel_ml
    order = np.argsort(sizes)[::-1]
    large = [int(n) for n in order[:2] if sizes[n] >= MIN_LUNG_ML]
    if not large:
        return Lungs((), "no air-filled lung was found")
    if len(large) == 2 and sizes[large[1]] >= 0.1 * sizes[large[0]]:
        parts = [labels == n + 1 for n in large]
    else:
        parts = _split(labels == large[0] + 1, voxel_ml)
    masks = tuple(close(part, step_mm) for part in parts)
    if len(masks) < 2:
        return Lungs(masks, "two lungs were not found")
    return Lungs((masks[0], masks[1] & ~masks[0]))


def refine(mask: np.ndarray, origin: tuple[float, float, float], shape: tuple[int, ...]) -> np.ndarray:
    """Bring a mask from the whole 2 mm grid to the part of the 1 mm grid that starts at ``origin`` with ``shape``."""
    out = mask
    for axis, length in enumerate(shape):
        at = (np.arange(length) + int(origin[axis]) + 1) // 2
        out = np.take(out, np.clip(at, 0, mask.shape[axis] - 1), axis=axis)
    return out


def working_grid(volume: Volume, coarse: np.ndarray) -> tuple[Grid, np.ndarray]:
    """The 1 mm grid cropped to the lungs, and the lung mask on it. ``coarse``: the mask on the whole 2 mm grid."""
    box = bounding_box(coarse, 2)
    fine = (slice(2 * box[0].start, 2 * box[0].stop), slice(2 * box[1].start, 2 * box[1].stop))
    grid = resample(volume, 1.0, (*fine, slice(2 * box[2].start, 2 * box[2].stop)))
    return grid, refine(coarse, grid.origin, grid.hu.shape)


def lungs_in_crop(hu: np.ndarray, step_mm: float = 1.0) -> np.ndarray:
    """Return the lung in a small crop of a chest CT: bool, same shape. Used for the cubes, where no body is seen."""
    air = ndimage.uniform_filter(hu.astype(np.float32), 3) < AIR_HU
    labels, count = ndimage.label(air)
    if count:
        index = np.arange(1, count + 1)
        sizes = ndimage.sum_labels(air, labels, index)
        means = ndimage.mean(hu, labels, index)
        # Room air is darker than any lung and has no vessels; small pockets are airways or noise.
        keep = (sizes >= 300 / step_mm**3) & (np.asarray(means) > -965)
        air = np.isin(labels, index[keep])
    return close(air, step_mm)


def _outside(air: np.ndarray) -> np.ndarray:
    """Air that reaches the edge of the image plane, in 3-D; the table and clothes with it."""
    framed = air.copy()
    labels, _ = ndimage.label(framed)
    edges = np.concatenate(
        [labels[:, 0].ravel(), labels[:, -1].ravel(), labels[:, :, 0].ravel(), labels[:, :, -1].ravel()]
    )
    touching = np.unique(edges)
    return np.isin(labels, touching[touching > 0])


def _trachea(air: np.ndarray, step_mm: float, top_first: bool) -> np.ndarray:
    """The trachea: a small round region near the middle, followed from the top until it opens into the lungs."""
    found = np.zeros_like(air)
    order = range(air.shape[0]) if top_first else range(air.shape[0] - 1, -1, -1)
    previous: np.ndarray | None = None
    area_before = 0.0
    middle = np.array(air.shape[1:]) / 2
    reach = np.array(air.shape[1:]) * 0.22
    for number, k in enumerate(order):
        labels, count = ndimage.label(air[k])
        if not count:
            continue
        if previous is None:
            if number * step_mm > 120:
                break
            for label, box in enumerate(ndimage.find_objects(labels), 1):
                region = labels[box] == label
                area = region.sum() * step_mm**2
                extent = np.array(region.shape) * step_mm
                centre = np.array([(s.start + s.stop) / 2 for s in box])
                round_enough = max(extent) < 40 and min(extent) > 7 and area / extent.prod() > 0.55
                if 60 <= area <= 700 and round_enough and (np.abs(centre - middle) < reach).all():
                    previous, area_before = labels == label, area
                    found[k] = previous
                    break
            continue
        hit = np.unique(labels[previous & (labels > 0)])
        if not len(hit):
            break
        region = np.isin(labels, hit)
        area = region.sum() * step_mm**2
        if area > max(2.2 * area_before, 900.0):
            break
        found[k], previous, area_before = region, region, max(area, 100.0)
    return ndimage.binary_dilation(found, iterations=1)


def _split(mask: np.ndarray, voxel_ml: float) -> list[np.ndarray]:
    """Cut one component that holds both lungs where it is thinnest; one part back where it can't be cut."""
    box = ndimage.find_objects(mask.astype(np.int8))[0]
    inside = mask[box]
    distance = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1, 1:-1]
    for depth in range(1, 9):
        labels, count = ndimage.label(distance > depth)
        if count < 2:
            continue
        sizes = np.bincount(labels.ravel())[1:]
        first, second = np.argsort(sizes)[::-1][:2]
        if sizes[second] * voxel_ml < 100 or sizes[second] < 0.15 * sizes[first]:
            continue
        seeds = np.where(labels == first + 1, 1, np.where(labels == second + 1, 2, 0))
        nearest = ndimage.distance_transform_edt(seeds == 0, return_distances=False, return_indices=True)
        owner = seeds[tuple(nearest)]
        parts = []
        for n in (1, 2):
            part = np.zeros_like(mask)
            part[box] = inside & (owner == n)
            parts.append(part)
        return parts
    return [mask]


def close(mask: np.ndarray, step_mm: float) -> np.ndarray:
    """Close with a ball of CLOSING_MM and fill holes. Beyond the array's ends the mask goes on as it is at the edge."""
    if not mask.any():
        return mask
    radius = CLOSING_MM / step_mm
    pad = int(np.ceil(radius)) + 1
    box = ndimage.find_objects(mask.astype(np.int8))[0]
    padded = np.pad(mask[box], pad, mode="edge" if mask[box].shape == mask.shape else "constant")
    grown = ndimage.distance_transform_edt(~padded) <= radius
    closed = ndimage.distance_transform_edt(grown) > radius
    closed |= padded
    closed = closed[pad:-pad, pad:-pad, pad:-pad]
    out = np.zeros_like(mask)
    out[box] = ndimage.binary_fill_holes(closed)
    return out
