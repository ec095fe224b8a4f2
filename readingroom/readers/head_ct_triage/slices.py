"""The set the reader is made from, laid out like ``head_ct_ich``: windowed slices of each patient and what is on them.

``brain/PPP_SSS.jpg`` and ``bone/PPP_SSS.jpg`` are 8-bit greys of one field of view each; ``labels.csv`` has a row a
slice. Windows are burnt in: brain level 40 width 120 HU, bone level 700 width 3200 HU.
"""

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from readingroom.core.errors import BadInput
from readingroom.readers import splits

LABELS = "labels.csv"
TYPES = ("intraventricular", "intraparenchymal", "subarachnoid", "epidural", "subdural")
CLASSES = ("hemorrhage", *TYPES, "fracture")
COLUMNS = ("Intraventricular", "Intraparenchymal", "Subarachnoid", "Epidural", "Subdural")
SIZE = 256
FOLDS = 4
SPLIT = "head-ct-triage 1"


@dataclass(frozen=True, eq=False)
class Patient:
    """One scan. ``brain`` and ``bone``: uint8 ``(n, 256, 256)``, from the neck up; ``bone`` is None where there is
    none. ``labels``: bool ``(n, 7)`` in the order of ``CLASSES``; ``height`` ``(n,)``: 0 the lowest slice, 1 the top.
    """

    number: str
    brain: np.ndarray
    bone: np.ndarray | None
    labels: np.ndarray
    height: np.ndarray

    @property
    def part(self) -> int:
        """TEST or the fold."""
        return splits.part_of(SPLIT, self.number, FOLDS)

    @property
    def fingerprint(self) -> str:
        """Of the pixels: a patient is known again under another number."""
        return hashlib.sha256(self.brain.tobytes()).hexdigest()[:16]

    @property
    def truth(self) -> np.ndarray:
        """What the scan as a whole has: bool ``(7,)``."""
        return np.asarray(self.labels.any(axis=0))


def read_patients(data: Path) -> tuple[list[Patient], list[str]]:
    """Return the patients of a folder and what could not be read. Raises BadInput where it is no such folder."""
    try:
        with (data / LABELS).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        by_patient: dict[str, list[tuple[int, np.ndarray]]] = {}
        for row in rows:
            types = [row[name].strip() == "1" for name in COLUMNS]
            bleeds = row["No_Hemorrhage"].strip() == "0"
            said = np.array([bleeds, *types, row["Fracture_Yes_No"].strip() == "1"], bool)
            by_patient.setdefault(row["PatientNumber"].strip(), []).append((int(row["SliceNumber"]), said))
    except (OSError, KeyError, ValueError) as error:
        raise BadInput(f"{data.name} holds no {LABELS} like head_ct_ich's: {type(error).__name__}.") from None
    patients, problems = [], []
    for number, labelled in sorted(by_patient.items(), key=lambda pair: int(pair[0])):
        one = _patient(data, number, sorted(labelled, key=lambda pair: pair[0]))
        if one is None:
            problems.append(f"A patient with {len(labelled)} labelled slices has no brain images.")
        else:
            patients.append(one)
    if not patients:
        raise BadInput(f"{data.name} holds no patient that can be read.")
    return patients, problems


def _patient(data: Path, number: str, labelled: Sequence[tuple[int, np.ndarray]]) -> Patient | None:
    names = [(f"{int(number):03d}_{n:03d}.jpg", said) for n, said in labelled]
    there = [(name, said) for name, said in names if (data / "brain" / name).is_file()]
    if not there:
        return None
    brain = np.stack([_grey(data / "brain" / name) for name, _ in there])
    bone = None
    if all((data / "bone" / name).is_file() for name, _ in there):
        bone = np.stack([_grey(data / "bone" / name) for name, _ in there])
    return Patient(number, brain, bone, np.stack([said for _, said in there]), heights(len(there)))


def heights(count: int) -> np.ndarray:
    """Return how high each of ``count`` slices lies in its scan, in 0..1."""
    return (np.arange(count) + 0.5) / count


def _grey(path: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as image:
        grey = image.convert("L")
        if grey.size != (SIZE, SIZE):
            grey = grey.resize((SIZE, SIZE), Image.Resampling.BOX)
        return np.asarray(grey, np.uint8)
