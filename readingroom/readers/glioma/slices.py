"""The slice set: ``images/PATIENT_N.png`` (pre-contrast T1, FLAIR, post-contrast T1; 8 bit) and ``masks/`` likewise.

Laid out like ``glioma_lgg_slices``. The files hold no voxel size and slice numbers have gaps: every slice is taken for
itself, a pixel for 1 mm.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from readingroom.core.errors import BadInput
from readingroom.readers import splits

FOLDS = 5
_NAME = re.compile(r"(.+)_(\d{1,4})")
_FLAIR, _POST = 1, 2


@dataclass(frozen=True, eq=False)
class SlicePatient:
    """One patient's slices by number. ``flair`` and ``post`` uint8, ``mask`` bool, all ``(slices, rows, columns)``,
    rows from front to back; ``post`` is a copy of ``flair`` where it was missing."""

    patient: str
    flair: np.ndarray
    post: np.ndarray
    mask: np.ndarray

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the voxels: tells a patient who was trained on under any name."""
        return hashlib.sha256(self.flair.tobytes()).hexdigest()[:16]

    @property
    def has_post(self) -> bool:
        """Whether the third channel is an image of its own."""
        return not np.array_equal(self.flair, self.post)


def part_of(patient: str) -> int:
    """Return the fold 0..4 of a patient.

    There is no locked part: of 19 patients it would have held 3, too few to say anything. Decided before the first
    training; every patient is measured by the network of the fold that has not seen them.
    """
    return splits.fold_of("glioma 1", patient, FOLDS)


def read_slices(folder: Path) -> tuple[list[SlicePatient], list[str]]:
    """Return the patients in ``folder`` by name, and a sentence for each file that could not be used.

    Raises BadInput where there is no ``images`` folder or not one slice can be read.
    """
    if not (folder / "images").is_dir():
        raise BadInput(f"{folder} has no folder 'images'.", "Give a folder laid out like glioma_lgg_slices.")
    found: dict[str, list[tuple[int, np.ndarray, np.ndarray]]] = {}
    problems = []
    for path in sorted((folder / "images").glob("*.png")):
        named = _NAME.fullmatch(path.stem)
        try:
            image, mask = _pixels(path), _pixels(folder / "masks" / path.name)
        except BadInput as error:
            problems.append(f"{path.name}: {error.message}")
            continue
        if named is None or image.ndim != 3 or image.shape[2] != 3 or mask.shape != image.shape[:2]:
            problems.append(f"{path.name}: name, channels or mask do not fit.")
            continue
        found.setdefault(named[1], []).append((int(named[2]), image, mask > 0))
    patients = []
    for name, slices in sorted(found.items()):
        slices.sort(key=lambda one: one[0])
        if len({image.shape for _, image, _ in slices}) > 1:
            problems.append(f"{name}: slices of several sizes.")
            continue
        images = np.stack([image for _, image, _ in slices])
        flair, post = (np.ascontiguousarray(images[..., n]) for n in (_FLAIR, _POST))
        patients.append(SlicePatient(name, flair, post, np.stack([mask for _, _, mask in slices])))
    if not patients:
        raise BadInput(f"No slice in {folder / 'images'} could be read.", "; ".join(problems[:3]))
    return patients, problems


def _pixels(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.asarray(image)
    except (OSError, UnidentifiedImageError, ValueError):
        raise BadInput("cannot be read") from None
