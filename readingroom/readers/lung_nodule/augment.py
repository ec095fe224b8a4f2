"""Variants of a training cube: other sizes, noise, slice thickness, contrast, shifted windows, another lung around it.

The cubes differ from any whole CT in ways a classifier can smell, so their nodules are also planted into the background
CT: then neither the noise nor the grid tells a nodule from a false mark. None of it flips anything that has a side.
"""

import numpy as np
from scipy import ndimage

from readingroom.readers.lung_nodule.cubes import Cube

PATCH = 51


def window(cube: Cube, shift: np.ndarray) -> tuple[Cube, np.ndarray]:
    """The part of a cube left when it is shifted by ``shift`` (whole voxels): the nodule is no longer in the middle.

    Returns the part and the index in the cube of its first voxel.
    """
    start = np.maximum(shift, 0).astype(int)
    box = tuple(slice(int(a), n + min(0, int(d))) for a, d, n in zip(start, shift, cube.hu.shape, strict=True))
    return Cube(cube.case_id, np.ascontiguousarray(cube.hu[box]), np.ascontiguousarray(cube.mask[box])), start


def random_shift(random: np.random.Generator, most_mm: float) -> np.ndarray:
    """A whole-voxel shift drawn evenly from a ball of ``most_mm``."""
    direction = random.normal(size=3)
    return np.trunc(direction / np.linalg.norm(direction) * most_mm * random.random() ** (1 / 3)).astype(int)


def vary(cube: Cube, random: np.random.Generator) -> Cube:
    """A variant by chance: scaled 0.8 to 1.25, blurred along the slices, noisier, of other contrast, shifted."""
    scale = np.exp(random.uniform(-0.22, 0.22)) * np.array([np.exp(random.uniform(-0.08, 0.08)), 1.0, 1.0])
    middle = (np.array(cube.hu.shape) - 1) / 2
    offset = middle - middle / scale
    hu = ndimage.affine_transform(cube.hu.astype(np.float32), 1 / scale, offset, order=1, mode="nearest")
    mask = ndimage.affine_transform(cube.mask.astype(np.float32), 1 / scale, offset, order=1, mode="nearest") > 0.5
    if scale.min() < 1:  # what came from beyond the cube is no image
        cut = [int(np.ceil(n * (1 - s) / 2)) if s < 1 else 0 for n, s in zip(hu.shape, scale, strict=True)]
        box = tuple(slice(c, n - c) for c, n in zip(cut, hu.shape, strict=True))
        hu, mask = hu[box], mask[box]
    hu = ndimage.gaussian_filter1d(hu, random.uniform(0.05, 1.2), axis=0)
    noise = ndimage.gaussian_filter(random.normal(size=hu.shape), random.uniform(0.4, 0.9))
    hu = hu + noise / noise.std() * random.uniform(0, 35)
    hu = -850 + (hu + 850) * random.uniform(0.88, 1.12)
    varied = Cube(cube.case_id, np.clip(hu, -1200, 400).astype(np.int16), mask)
    return window(varied, random_shift(random, 12.0))[0]


def plant(cube: Cube, hu: np.ndarray, lungs: np.ndarray, random: np.random.Generator) -> tuple[Cube, np.ndarray] | None:
    """The cube's nodule blended into a random place of another lung; with the lung mask there. None where it won't fit.

    ``hu``, ``lungs``: a whole chest at 1 mm. Only nodules that lie free in their lung are planted.
    """
    if cube.centre is None or cube.nodule.sum() > 6000:
        return None
    half = PATCH // 2
    inside = np.argwhere(lungs[half:-half:4, half:-half:4, half:-half:4]) * 4 + half
    if not len(inside):
        return None
    at = inside[random.integers(len(inside))]
    box = tuple(slice(int(a) - half, int(a) + half + 1) for a in at)
    around = hu[box].astype(np.float32)
    weight = np.clip(1.25 - ndimage.distance_transform_edt(~cube.nodule) / 2.5, 0, 1)
    if around.shape != weight.shape or (around[cube.nodule] > -500).mean() > 0.3:
        return None
    noise = ndimage.gaussian_filter(random.normal(size=around.shape), 0.6)
    planted = np.maximum(around, cube.hu + noise / noise.std() * random.uniform(0, 30))
    blended = around * (1 - weight) + planted * weight
    return Cube(cube.case_id, np.clip(blended, -1200, 400).astype(np.int16), cube.nodule), lungs[box]
