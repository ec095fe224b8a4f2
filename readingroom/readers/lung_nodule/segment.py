"""The segment of one mark: where the network's mask is sure enough, the part at the mark, holes filled."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from readingroom.readers.lung_nodule.grid import bounding_box
from readingroom.readers.lung_nodule.patches import put_back

_NEAR_MM = 4.0
_JOINED = np.ones((3, 3, 3), bool)


@dataclass(frozen=True, eq=False)
class Segment:
    """``mask`` bool, with ``offset`` the grid index of its first voxel; ``centre``: centroid, grid index. ``sure``:
    whether the network drew it at ``cut``; where it drew nothing so sure, the level is half of its highest."""

    mask: np.ndarray
    offset: np.ndarray
    centre: np.ndarray
    sure: bool

    def within(self, array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what ``array`` of the whole grid holds in the segment's box, and the mask there."""
        box = tuple(slice(o, o + n) for o, n in zip(self.offset, self.mask.shape, strict=True))
        return array[box], self.mask

    def dice(self, truth: np.ndarray) -> float:
        """Return the Dice overlap with ``truth``, a bool array of the whole grid."""
        there, mask = self.within(truth)
        both = int(np.count_nonzero(mask & there))
        return 2 * both / max(1, int(np.count_nonzero(self.mask)) + int(np.count_nonzero(truth)))


def segment(chance: np.ndarray, at: np.ndarray, step: float, shape: tuple[int, ...], cut: float) -> Segment:
    """Return the segment of the patch ``chance`` (0..1, cut around the grid index ``at`` with ``step``); never empty.

    ``shape``: of the 1 mm grid, in which ``at`` lies; nothing beyond it belongs to a segment. ``cut``: how sure a voxel
    must be.
    """
    soft, first = put_back(chance, at, step)
    low = np.maximum(-first, 0)
    high = np.minimum(np.array(shape) - first, soft.shape)
    soft, first = soft[tuple(slice(a, b) for a, b in zip(low, high, strict=True))], first + low
    here = np.asarray(at, float) - first
    near = _distance(soft.shape, here) <= _NEAR_MM
    highest = float(soft[near].max()) if near.any() else float(soft.max())
    sure = highest >= cut
    mask = soft >= (cut if sure else max(0.5 * highest, 1e-6))
    mask = ndimage.binary_fill_holes(_at(mask, here))
    box = bounding_box(mask, 0)
    offset = first + np.array([b.start for b in box])
    piece = np.ascontiguousarray(mask[box])
    return Segment(piece, offset, np.argwhere(piece).mean(axis=0) + offset, sure)


def _distance(shape: tuple[int, ...], centre: np.ndarray) -> np.ndarray:
    axes = [(np.arange(n) - c) ** 2 for n, c in zip(shape, centre, strict=True)]
    return np.sqrt(axes[0][:, None, None] + axes[1][None, :, None] + axes[2][None, None, :])


def _at(mask: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """The connected part nearest the centre, larger before smaller where both are near; a voxel where there is none."""
    distance = _distance(mask.shape, centre)
    if not mask.any():
        return distance <= distance.min()
    labels, count = ndimage.label(mask, _JOINED)
    if count == 1:
        return mask
    index = np.arange(1, count + 1)
    nearest = np.asarray(ndimage.minimum(distance, labels, index))
    sizes = np.asarray(ndimage.sum_labels(mask, labels, index))
    return np.asarray(labels == index[np.argmin(nearest - 0.5 * np.cbrt(sizes))])
