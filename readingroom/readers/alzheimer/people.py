"""The tables the reader is made from: OASIS-1 with FreeSurfer volumes, IXI with cortical thickness.

The OASIS volumes are of heads already scaled to an atlas, so that eTIV in that table says nothing: native volume =
value / ASF, native head size = OASIS' own eTIV (ml). The repeat visits of 20 people (``_MR2``) have no volumes: one row
a person. IXI: 558 people of both tables with an age; IXI says they are healthy, nobody tested them for dementia.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from readingroom.core.errors import BadInput
from readingroom.readers.alzheimer.regions import HEAD_SIZE, SIDED_VOLUMES, THICKNESSES, with_both_sides

OASIS, IXI = "OASIS-1", "IXI"
VOLUMES_FILE, OASIS_FILE = "freesurfer_features_hejazizo_data.csv", "oasis_cross-sectional.csv"
THICKNESS_FILE, IXI_FILE = "IXI_aparc_thickness.csv", "IXI_age_gender.csv"
_PLAUSIBLE_MM = (0.5, 6.0)


@dataclass(frozen=True)
class Person:
    """One person with native measures (mm3, mm). ``dementia``: CDR above 0; None where nobody asked (IXI).

    ``hippocampus_scaled``: left and right together, in atlas space: what the hypothesis is about.
    """

    subject: str
    source: str
    age: float
    male: bool
    head: float
    dementia: bool | None
    measured: dict[str, float]
    hippocampus_scaled: float = float("nan")


def read_people(folder: Path) -> list[Person]:
    """Return everybody, OASIS first. Raises BadInput where a table is missing, or a number in it."""
    return [*_oasis(folder), *_ixi(folder)]


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error):
        raise BadInput(f"The table {path.name} cannot be read.") from None


def _read(path: Path, of: Callable[[dict[str, str]], Person | None]) -> list[Person]:
    try:
        found = [of(row) for row in _rows(path)]
    except (KeyError, ValueError) as error:
        raise BadInput(
            f"The table {path.name} has no usable value where one must be ({type(error).__name__})."
        ) from None
    return [person for person in found if person is not None]


def _oasis(folder: Path) -> list[Person]:
    about = {row["ID"]: row for row in _rows(folder / OASIS_FILE) if "ID" in row}

    def person(row: dict[str, str]) -> Person:
        subject = f"OAS1_{int(row['Measure:volume'].removeprefix('sub')):04d}"
        known = about[f"{subject}_MR1"]
        scale = float(known["ASF"])
        native = {name: float(row[name]) / scale for name in SIDED_VOLUMES}
        head = 1000 * float(known["eTIV"])
        scaled = float(row["Left-Hippocampus"]) + float(row["Right-Hippocampus"])
        return Person(
            subject, OASIS, float(known["Age"]), known["M/F"] == "M", head, float(known["CDR"]) > 0,
            with_both_sides(native | {HEAD_SIZE: head}), scaled,
        )  # fmt: skip

    return _read(folder / VOLUMES_FILE, person)


def _ixi(folder: Path) -> list[Person]:
    about = {row["participant_id"]: row for row in _rows(folder / IXI_FILE) if row.get("age") and row.get("sex")}

    def person(row: dict[str, str]) -> Person | None:
        known = about.get(row["participant_id"])
        if known is None:
            return None
        thick = {name: float(row[name]) for name in THICKNESSES}
        if not all(_PLAUSIBLE_MM[0] < value < _PLAUSIBLE_MM[1] for value in thick.values()):
            return None
        head = float(row["eTIV"])
        measured = with_both_sides(thick | {HEAD_SIZE: head, "BrainSegVolNotVent": float(row["BrainSegVolNotVent"])})
        male = {"1": True, "2": False}[known["sex"]]
        return Person(
            row["participant_id"].removeprefix("sub-"), IXI, float(known["age"]), male, head, None, measured
        )  # fmt: skip

    return _read(folder / THICKNESS_FILE, person)


def matrix(people: list[Person], names: tuple[str, ...]) -> np.ndarray:
    """Return ``(n, names)`` of measures, NaN where one was not made."""
    return np.array([[p.measured.get(name, np.nan) for name in names] for p in people], np.float64)
