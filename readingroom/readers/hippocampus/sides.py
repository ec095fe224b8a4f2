"""The two hippocampi of a placed head: a crop around each, its outline, and the way back to the voxels it came from."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from readingroom.imaging.volume import Volume
from readingroom.readers.hippocampus.crops import PARTS, SHAPE, padded, unpadded
from readingroom.readers.hippocampus.head import Placed
from readingroom.readers.hippocampus.outline import Outline, Shift, outline

SIDES = ("left", "right")
USUAL = (36, 50, 35)
"""Median size of the training crops, voxels along R, A, S."""
MARGIN = 4
"""At least so many voxels of a training crop lie around the hippocampus."""

Network = Callable[[np.ndarray], dict[str, np.ndarray]]
"""Images ``(n, 1, 48, 64, 48)`` float32 -> ``logits`` ``(n, 3, 48, 64, 48)``, ``features`` ``(n, f)``."""


@dataclass(frozen=True, eq=False)
class Hippocampus:
    """One side. ``affine``: index of ``outline`` (1 mm voxels) -> LPS mm; ``away_mm``: how far its middle lies from
    where the template has it, along the template's axes (R, A, S on the left; L, A, S on the right)."""

    side: str
    outline: Outline
    affine: np.ndarray
    features: np.ndarray
    away_mm: np.ndarray

    @property
    def volume_mm3(self) -> float:
        return sum(self.outline.volume_mm3(part) for part in PARTS)


def find(volume: Volume, placed: Placed, side: str, network: Network, shift: Shift) -> Hippocampus | None:
    """Return the hippocampus of ``side``: looked for where the template has it, then cut out as the training crops are
    and outlined. None where the network sees none there."""
    first = placed.grid(side, SHAPE)
    seen = outline(network(padded(_cut(volume, first, SHAPE))[None, None])["logits"][0], shift)
    inside = np.argwhere(seen.labels > 0)
    if len(inside) < 50:
        return None
    low, high = inside.min(axis=0), inside.max(axis=0)
    size = tuple(
        int(min(whole, max(usual, extent + 2 * MARGIN)))
        for whole, usual, extent in zip(SHAPE, USUAL, high - low + 1, strict=True)
    )
    middle = first[:3, :3] @ ((low + high) / 2) + first[:3, 3]
    affine = placed.grid(side, size, middle)
    said = network(padded(_cut(volume, affine, size))[None, None])
    found = outline(unpadded4(said["logits"][0], size), shift)
    centre = np.argwhere(found.labels > 0)
    if len(centre) < 50:
        return None
    there = affine[:3, :3] @ centre.mean(axis=0) + affine[:3, 3]
    expected = first[:3, :3] @ ((np.array(SHAPE) - 1) / 2) + first[:3, 3]
    return Hippocampus(side, found, affine, said["features"][0], first[:3, :3].T @ (there - expected))


def unpadded4(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return ``unpadded`` of each channel."""
    return np.stack([unpadded(one, shape) for one in array])


def inside(volume: Volume, placed: Placed, side: str) -> float:
    """Return what share of the usual crop's corners and middle lies in the volume."""
    affine = placed.grid(side, USUAL)
    ends = np.stack(np.meshgrid(*((0, (n - 1) / 2, n - 1) for n in USUAL), indexing="ij"), axis=-1).reshape(-1, 3)
    index = volume.to_index(ends @ affine[:3, :3].T + affine[:3, 3])
    return float(((index >= -0.5) & (index <= np.array(volume.array.shape) - 0.5)).all(axis=1).mean())


def _cut(volume: Volume, affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The volume on a crop's grid, linear, float32; beyond its end the last voxel."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    at = volume.to_index(index @ affine[:3, :3].T + affine[:3, 3])
    low = np.clip(np.floor(at.reshape(-1, 3).min(axis=0)).astype(int) - 1, 0, np.array(volume.array.shape) - 1)
    high = np.clip(np.ceil(at.reshape(-1, 3).max(axis=0)).astype(int) + 2, low + 1, volume.array.shape)
    piece = volume.array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].astype(np.float32)
    return np.asarray(ndimage.map_coordinates(piece, np.moveaxis(at - low, -1, 0), order=1, mode="nearest"))


@dataclass(frozen=True, eq=False)
class OnSource:
    """A box of the source: ``chance`` ``(3, slices, rows, columns)``, ``labels``, and ``offset``, its first voxel."""

    labels: np.ndarray
    chance: np.ndarray
    offset: tuple[int, int, int]


def on_source(found: Hippocampus, volume: Volume) -> OnSource:
    """Return the outline on the voxels of the volume it was found in: chances in between, then the likeliest."""
    shape = np.array(found.outline.labels.shape)
    ends = np.stack(np.meshgrid(*((0, n - 1) for n in shape), indexing="ij"), axis=-1).reshape(-1, 3)
    index = volume.to_index(ends @ found.affine[:3, :3].T + found.affine[:3, 3])
    low = np.clip(np.floor(index.min(axis=0)).astype(int), 0, np.array(volume.array.shape) - 1)
    high = np.clip(np.ceil(index.max(axis=0)).astype(int) + 1, low + 1, volume.array.shape)
    box = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij"), axis=-1)
    at = (volume.to_lps(box) - found.affine[:3, 3]) @ found.affine[:3, :3]  # its axes are 1 mm and perpendicular
    # What is not of the largest piece is background here too.
    whole = found.outline.labels > 0
    near = ndimage.binary_dilation(whole, iterations=2)
    chance = np.where(near, found.outline.chance, np.array([1.0, 0.0, 0.0], np.float32).reshape(3, 1, 1, 1))
    moved = np.stack(
        [
            ndimage.map_coordinates(one, np.moveaxis(at, -1, 0), order=1, mode="constant", cval=float(n == 0))
            for n, one in enumerate(chance)
        ]
    )
    return OnSource(moved.argmax(axis=0).astype(np.uint8), moved, (int(low[0]), int(low[1]), int(low[2])))
