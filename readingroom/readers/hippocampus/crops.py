"""The crops the network works on: one hippocampus and what is around it, 1 mm voxels, axes growing to the patient's
right, front and head (RAS).

Every crop of the set shows a left hippocampus, or a right one mirrored: all have one handedness (found by laying their
mean over both sides of the MNI template). So the network knows that one only, no augmentation mirrors anything, and a
right hippocampus of a head is mirrored before it is shown (``head.py``).
"""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from readingroom.core.errors import BadInput
from readingroom.imaging.nifti import read_nifti
from readingroom.readers import splits

SHAPE = (48, 64, 48)
"""Of every crop as the network sees it, voxels along R, A and S."""
SPLIT, FOLDS = "hippocampus 1", 3
PARTS = ("anterior", "posterior")
"""Labels 1 and 2 of a mask; 0 is neither."""
SIDE_AXIS = 2
"""Of a batch ``(n, channel, R, A, S)``: the axis whose flip makes a left hippocampus a right one."""


@dataclass(frozen=True, eq=False)
class Crop:
    """One file of the set. ``image`` float32 and ``labels`` uint8 (0, 1, 2) as stored, RAS, 1 mm."""

    name: str
    image: np.ndarray
    labels: np.ndarray

    @property
    def fingerprint(self) -> str:
        """Of the voxels: the same crop under any name."""
        return sha256(np.ascontiguousarray(self.image).tobytes()).hexdigest()[:16]


def part_of(name: str) -> int:
    """Return the part of a file: ``splits.TEST`` or its fold. ``name``: the file's, without its ending."""
    return splits.part_of(SPLIT, name, FOLDS)


def read_crops(folder: Path) -> tuple[list[Crop], list[str]]:
    """Return the crops of ``folder/images`` with a mask of the same name in ``folder/labels``, sorted by name, and what
    could not be read. Raises BadInput where there is not one."""
    crops, problems = [], []
    for path in sorted((folder / "images").glob("*.nii.gz")):
        name = path.name.removesuffix(".nii.gz")
        try:
            image, labels = read_nifti(path), read_nifti(folder / "labels" / path.name)
            if image.shape != labels.shape or any(n > m for n, m in zip(image.shape, SHAPE, strict=True)):
                raise BadInput(f"has a shape that is not handled, {image.shape}")
            if not set(np.unique(labels).tolist()) <= {0.0, 1.0, 2.0} or image.min() == image.max():
                raise BadInput("has other labels than 0, 1 and 2, or one value everywhere")
        except BadInput as error:
            problems.append(f"{name} {error}")
            continue
        crops.append(Crop(name, image, labels.astype(np.uint8)))
    if not crops:
        raise BadInput("There are no crops here.", "A folder with images/ and labels/ of NIfTI files is wanted.")
    return crops, problems


def padded(image: np.ndarray) -> np.ndarray:
    """Return a crop's image as the network takes it: ``SHAPE`` float32, ends cut at the 0.5th and 99.5th percentile,
    zero mean and unit spread, the edge carried on where the crop ends."""
    low, high = np.percentile(image, (0.5, 99.5))
    clipped = np.clip(image, low, high).astype(np.float32)
    clipped = (clipped - clipped.mean()) / max(float(clipped.std()), 1e-6)
    return np.pad(clipped, _around(image.shape), mode="edge")


def padded_labels(labels: np.ndarray) -> np.ndarray:
    """Return a crop's labels on the grid of ``padded``."""
    return np.pad(labels, _around(labels.shape))


def unpadded(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the part of an array on the grid of ``padded`` that a crop of ``shape`` fills."""
    return array[tuple(slice(a, a + n) for (a, _), n in zip(_around(shape), shape, strict=True))]


def _around(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    return [((whole - n) // 2, whole - n - (whole - n) // 2) for whole, n in zip(SHAPE, shape, strict=True)]
