"""From what the network says of a crop to the outline of the hippocampus and its parts. One way for sets and heads."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from readingroom.readers.hippocampus.crops import PARTS

_JOINED = np.ones((3, 3, 3), bool)


@dataclass(frozen=True)
class Shift:
    """What is added to the logits of anterior and posterior, so that volumes are neither too large nor too small on
    crops that no network was trained on."""

    anterior: float = 0.0
    posterior: float = 0.0

    def as_json(self) -> dict[str, float]:
        return {"anterior": self.anterior, "posterior": self.posterior}


@dataclass(frozen=True, eq=False)
class Outline:
    """``labels`` uint8 on the crop's grid: 0, 1 anterior, 2 posterior; ``chance`` float32 ``(3, ...)`` of each, summing
    to 1 (softmax, not calibrated)."""

    labels: np.ndarray
    chance: np.ndarray

    def volume_mm3(self, part: str) -> float:
        """Of the voxels of a part; a voxel is 1 mm3."""
        return float(np.count_nonzero(self.labels == 1 + PARTS.index(part)))

    def confidence(self, part: str) -> float:
        """The mean softmax of a part over its voxels; 0 where there is none."""
        label = 1 + PARTS.index(part)
        inside = self.labels == label
        return float(self.chance[label][inside].mean()) if inside.any() else 0.0


def outline(logits: np.ndarray, shift: Shift) -> Outline:
    """Return the outline of ``logits`` ``(3, ...)``: the likeliest class of each voxel after ``shift``, of both parts
    together the largest connected piece, holes filled with what is likelier there."""
    moved = logits.astype(np.float32) + np.array([0.0, shift.anterior, shift.posterior], np.float32).reshape(3, 1, 1, 1)
    moved -= moved.max(axis=0)
    chance = np.exp(moved)
    chance /= chance.sum(axis=0)
    labels = chance.argmax(axis=0).astype(np.uint8)
    pieces, n = ndimage.label(labels > 0, _JOINED)
    if n:
        sizes = np.bincount(pieces.ravel())
        sizes[0] = 0
        whole = ndimage.binary_fill_holes(pieces == sizes.argmax())
        labels = np.where(whole, 1 + chance[1:].argmax(axis=0), 0).astype(np.uint8)
    return Outline(labels, chance)
