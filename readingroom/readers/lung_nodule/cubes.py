"""The cube set: ``images/CASE.nii.gz`` (int16 HU, 1 mm, axis 0 = slice) and ``masks/CASE.nii.gz``, one patient each."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy import ndimage

from readingroom.core.errors import BadInput
from readingroom.imaging.nifti import read_nifti
from readingroom.readers.lung_nodule.lungs import lungs_in_crop

MIN_HIT_MM = 5.0


@dataclass(frozen=True, eq=False)
class Cube:
    """One case. ``hu`` int16 and ``mask`` bool, both ``(slice, row, column)`` at 1 mm; ``mask`` may be empty."""

    case_id: str
    hu: np.ndarray
    mask: np.ndarray

    @cached_property
    def nodule(self) -> np.ndarray:
        """The largest connected part of the mask."""
        labels, count = ndimage.label(self.mask, np.ones((3, 3, 3)))
        if count < 2:
            return self.mask
        return labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))

    @cached_property
    def lungs(self) -> np.ndarray:
        """The lung in the cube: bool, same shape."""
        return lungs_in_crop(self.hu)

    @cached_property
    def centre(self) -> np.ndarray | None:
        """Centroid of the annotated nodule, index; None where none is annotated."""
        return np.argwhere(self.nodule).mean(axis=0) if self.mask.any() else None

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the voxels: tells a case that was trained on under any name."""
        return hashlib.sha256(self.hu.tobytes()).hexdigest()[:16]

    @cached_property
    def hit_radius_mm(self) -> float:
        """A mark this near the centre hits: the annotated (volume-equivalent) radius, at least 5 mm."""
        return max(MIN_HIT_MM, float((3 * self.nodule.sum() / (4 * np.pi)) ** (1 / 3)))

    def hits(self, index: np.ndarray) -> bool:
        return self.centre is not None and bool(np.linalg.norm(index - self.centre) <= self.hit_radius_mm)

    def on_annotation(self, index: np.ndarray) -> bool:
        """Whether a mark is on any annotated voxel (within 2 mm): such a mark isn't false even where it is no hit."""
        if self.hits(index):
            return True
        voxels = np.argwhere(self.mask)
        return bool(len(voxels)) and bool(np.linalg.norm(voxels - index, axis=1).min() <= 2.0)


def read_cubes(folder: Path) -> tuple[list[Cube], list[str]]:
    """Return the cases in ``folder`` by id, and a sentence for each file that could not be used.

    Raises BadInput where there is no ``images`` folder or not one case can be read.
    """
    if not (folder / "images").is_dir():
        raise BadInput(f"{folder} has no folder 'images'.", "Give a folder laid out like lung_nodule_cubes.")
    cubes, problems = [], []
    for path in sorted((folder / "images").glob("*.nii*")):
        case_id = path.name.removesuffix(".gz").removesuffix(".nii")
        try:
            hu = np.clip(np.rint(read_nifti(path)), -2048, 3071).astype(np.int16)
            mask_path = folder / "masks" / path.name
            mask = read_nifti(mask_path) > 0 if mask_path.exists() else np.zeros(hu.shape, bool)
            if mask.shape != hu.shape or hu.ndim != 3 or min(hu.shape) < 16:
                raise BadInput("image and mask do not fit together")
        except BadInput as error:
            problems.append(f"{path.name}: {error.message}")
            continue
        cubes.append(Cube(case_id, np.ascontiguousarray(hu), np.ascontiguousarray(mask)))
    if not cubes:
        raise BadInput(f"No case in {folder / 'images'} could be read.", "; ".join(problems[:3]))
    return cubes, problems
