"""From the network's map to the images: where the mark lies, the heat map of each positive slice, the region."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from readingroom.findings.model import SegmentMask
from readingroom.imaging.volume import Volume
from readingroom.inference.calibration import sigmoid
from readingroom.readers.head_ct_triage import head
from readingroom.readers.head_ct_triage.look import Looked
from readingroom.readers.head_ct_triage.picture import Picture

SHOWN = 0.5
"""Share of the strongest cell from which a place belongs to the region."""


@dataclass(frozen=True, eq=False)
class Mark:
    """``index``: where in the volume (slice, row, column); ``mask``: the region; ``heat``: float32 0..1 on its box."""

    index: np.ndarray
    mask: SegmentMask
    heat: np.ndarray


def mark_of(looked: Looked, shown: np.ndarray, strongest: int, made: Picture, volume: Volume) -> Mark:
    """Return the mark of a scan. ``shown``: bool of each slice of the picture, those whose map is shown, ``strongest``
    among them."""
    cells = looked.where.shape[1]
    row, column = np.unravel_index(int(looked.where[strongest].argmax()), looked.where[strongest].shape)
    wide = head.SEEN / cells
    at = looked.square.to_stack((row + 0.5) * wide - 0.5, (column + 0.5) * wide - 0.5)
    group = made.slices[strongest]
    index = np.array([float(group.mean()), *made.to_source(*at)])
    heat = np.zeros(volume.array.shape, np.float32)
    chance = sigmoid(looked.where[shown])
    for values, slices in zip(chance, [made.slices[n] for n in np.flatnonzero(shown)], strict=True):
        heat[slices] = _on_slice(values, looked, made)
    heat = np.clip(heat / max(float(heat.max()), 1e-6), 0, 1)
    region = heat >= SHOWN
    box = tuple(
        slice(int(hit[0]), int(hit[-1]) + 1)
        for hit in (np.flatnonzero((heat > 0.1).any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    )
    offset = (box[0].start, box[1].start, box[2].start)
    mask = SegmentMask(volume.series_instance_uid, offset, region[box], volume.sop_instance_uids[box[0]])
    return Mark(index, mask, np.ascontiguousarray(heat[box]))


def _on_slice(values: np.ndarray, looked: Looked, made: Picture) -> np.ndarray:
    """One map ``(20, 20)`` on the pixels of the volume's slices, linear between the middles of its cells; nothing
    beyond it."""
    lines = []
    step = looked.square.side / head.SEEN
    for axis, middle in ((0, looked.square.row), (1, looked.square.column)):
        pixels = made.from_source(axis, np.arange(made.shape[axis], dtype=float))
        seen = (pixels - middle) / step + (head.SEEN - 1) / 2
        lines.append((seen + 0.5) / head.SEEN * values.shape[axis] - 0.5)
    grid = np.meshgrid(*lines, indexing="ij")
    found = ndimage.map_coordinates(values.astype(np.float32), grid, order=1, mode="nearest")
    outside = np.zeros(found.shape, bool)
    for axis in (0, 1):
        outside |= (grid[axis] < -0.5) | (grid[axis] > values.shape[axis] - 0.5)
    return np.asarray(np.where(outside, 0, found), np.float32)
