"""One whole head with labels, laid out like a case of ``glioma_brats2015``: the test of another source.

``Flair_zscore_x200.nii.gz``, ``T1c_zscore_x200.nii.gz`` (z-scores, 0 outside the brain, skull taken away) and
``OTMultiClass.nii.gz`` (1 necrosis, 2 oedema, 3 not enhancing, 4 enhancing) and ``brainmask.nii.gz``, all on one grid
of 1 mm.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from readingroom.core.errors import BadInput
from readingroom.core.ids import derived_uid
from readingroom.imaging.nifti import read_nifti
from readingroom.imaging.volume import Volume
from readingroom.readers.contract import SeriesType, TypedSeries

FLAIR, POST = "Flair_zscore_x200.nii.gz", "T1c_zscore_x200.nii.gz"
LABELS, BRAIN = "OTMultiClass.nii.gz", "brainmask.nii.gz"
_LOWEST = 1000
"""Added inside the brain, so that it is all brighter than the 0 around it."""


@dataclass(frozen=True, eq=False)
class Case:
    """``flair`` and ``post``: stored values ``(slices, rows, columns)``, int16, rows to the back, columns to the left,
    slices to the head; ``tumour``: all labels together."""

    flair: np.ndarray
    post: np.ndarray
    tumour: np.ndarray


def read_case(folder: Path) -> Case:
    """Read one case. Raises BadInput where a file is missing or does not fit."""
    flair, post, labels, brain = (_turned(read_nifti(folder / name)) for name in (FLAIR, POST, LABELS, BRAIN))
    if len({one.shape for one in (flair, post, labels, brain)}) > 1:
        raise BadInput(f"The files of {folder.name} are not of one shape.")
    return Case(_stored(flair, brain > 0.5), _stored(post, brain > 0.5), labels > 0.5)


def series_of(case: Case, post: bool = True) -> tuple[TypedSeries, ...]:
    """Return the case as the reader gets it from intake: FLAIR and, where wanted, T1 after contrast agent."""
    wanted = (("FLAIR", case.flair), ("T1-post", case.post))[: 2 if post else 1]
    return tuple(_series(name, array) for name, array in wanted)


def _series(sequence: str, array: np.ndarray) -> TypedSeries:
    uid = derived_uid("glioma evaluation", sequence)
    kind = SeriesType(modality="MR", kind="mr-volume", region="head", plane="axial", sequence=sequence)
    slices = range(len(array))
    frame, study = (derived_uid("glioma evaluation", name) for name in ("frame", "study"))
    sops = tuple(derived_uid("glioma evaluation", sequence, str(n)) for n in slices)
    volume = Volume(array, np.eye(4), frame, uid, study, "MR", "arbitrary", sops, (1,) * len(array))
    return TypedSeries(uid, kind, volume)


def _turned(stored: np.ndarray) -> np.ndarray:
    """From the file's order (to the left, to the back, to the head) to slices, rows, columns."""
    return np.ascontiguousarray(stored.transpose(2, 1, 0))


def _stored(values: np.ndarray, brain: np.ndarray) -> np.ndarray:
    return np.where(brain, np.clip(values + _LOWEST, 1, 32000), 0).astype(np.int16)
