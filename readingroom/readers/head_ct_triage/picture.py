"""From a head CT in HU to the windowed slices that the network knows: the way the pictures of ``head_ct_ich`` look.

Slices of about 5 mm from the neck up, the face at the top and the patient's right at the left, pixels of about 1 mm,
brain window (level 40, width 120) and bone window (level 700, width 3200) as 8-bit greys. Windows are made after slices
are averaged and before pixels are, as a scanner and then a screen do. Other windows would show more (subdural: width
250), but the set holds no HU to learn them from.
"""

from dataclasses import dataclass

import numpy as np

from readingroom.imaging.volume import Volume

SLICE_MM = 5.0
PIXEL_MM = 250 / 256
BRAIN, BONE = (40.0, 120.0), (700.0, 3200.0)
"""Level and width, HU."""
UPRIGHT = 0.8
"""Cosine between slice normal and body axis: a gantry tilted by up to 30 degrees or so."""
IN_PLANE = 0.9


@dataclass(frozen=True, eq=False)
class Picture:
    """``brain`` and ``bone``: uint8 ``(n, rows, columns)``. ``slices``: which of the volume's slices each was made of;
    ``step``: pixels of the volume a pixel of the picture is wide, (row, column); ``flip``: whether rows and columns of
    the volume run the other way; ``shape`` of the volume's slices.
    """

    brain: np.ndarray
    bone: np.ndarray
    slices: tuple[np.ndarray, ...]
    step: tuple[float, float]
    flip: tuple[bool, bool]
    shape: tuple[int, int]

    def to_source(self, row: float, column: float) -> tuple[float, float]:
        """Row and column in the volume of a place in the picture."""
        out = []
        for at, step, flip, size in zip((row, column), self.step, self.flip, self.shape, strict=True):
            here = (at + 0.5) * step - 0.5
            out.append(size - 1 - here if flip else here)
        return out[0], out[1]

    def from_source(self, axis: int, index: np.ndarray) -> np.ndarray:
        """Places in the picture of rows (axis 0) or columns (1) of the volume."""
        here = self.shape[axis] - 1 - index if self.flip[axis] else index
        return np.asarray((here + 0.5) / self.step[axis] - 0.5)


def axes_problem(volume: Volume) -> str:
    """Return why the slices are not axial, or nothing."""
    directions = volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0)
    along = np.abs(np.diag(directions))
    if along[2] < UPRIGHT or along[0] < IN_PLANE or along[1] < UPRIGHT:
        return "The slices are not axial."
    return ""


def windowed(hu: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Return HU as grey 0..255 (PS3.3 C.11.2.1.2, linear exact)."""
    level, width = window
    return np.asarray(np.clip((hu - (level - width / 2)) / width * 255, 0, 255), np.float32)


def picture_of(volume: Volume) -> Picture:
    """Return the picture of an axial volume in HU."""
    steps = np.diff(volume.slice_positions_mm) if volume.slice_positions_mm else np.array([volume.spacing_mm[0]])
    together = max(1, round(SLICE_MM / float(np.median(np.abs(steps)))))
    count = volume.array.shape[0]
    order = np.arange(count) if volume.affine[2, 2] > 0 else np.arange(count)[::-1]
    # A last group that is not full would be noisier than the others.
    groups = [order[n : n + together] for n in range(0, count - together + 1, together)] or [order]
    flip = (bool(volume.affine[1, 1] < 0), bool(volume.affine[0, 0] < 0))
    shape = (int(volume.array.shape[1]), int(volume.array.shape[2]))
    size = [max(1, round(n * mm / PIXEL_MM)) for n, mm in zip(shape, volume.spacing_mm[1:], strict=True)]
    brain, bone = [], []
    for group in groups:
        hu = volume.array[group].mean(axis=0, dtype=np.float32)
        hu = hu[:: -1 if flip[0] else 1, :: -1 if flip[1] else 1]
        brain.append(_reduced(windowed(hu, BRAIN), size))
        bone.append(_reduced(windowed(hu, BONE), size))
    return Picture(
        np.stack(brain), np.stack(bone), tuple(groups), (shape[0] / size[0], shape[1] / size[1]), flip, shape
    )  # fmt: skip


def _reduced(grey: np.ndarray, size: list[int]) -> np.ndarray:
    from PIL import Image

    # A box where pixels become fewer, as averaging does; linear where they become more.
    how = Image.Resampling.BOX if size[0] <= grey.shape[0] else Image.Resampling.BILINEAR
    whole = Image.fromarray(np.rint(np.ascontiguousarray(grey)).astype(np.uint8))
    return np.asarray(whole.resize((size[1], size[0]), how), np.uint8)
