"""What readers of LIDC-IDRI said of nodules: the ratings beside the cubes, and the table of all its annotations.

Ratings run from 1 to 5: texture 1 ground glass to 5 solid, malignancy 1 highly unlikely to 5 highly suspicious,
spiculation and lobulation 1 none to 5 marked (McNitt-Gray 2007, Academic Radiology 14:1464).
"""

import csv
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import xlrd

from readingroom.core.errors import BadInput

NAMES = ("texture", "malignancy", "spiculation", "lobulation")
NO_LIME = 6.0
"""The rating of calcification that says there is none; 1 to 5 are its patterns."""
SPREADSHEET, JOIN = "ground_truth.xls", "lidc_join.csv"
TABLE = "lung_nodule_tables/lidc_annotations.csv"
"""Beside the folder of cubes."""


@dataclass(frozen=True)
class LidcNodule:
    """One nodule as several readers saw it. ``rows``: one mapping a reader, of ratings, ``eq_diameter_mm`` and
    ``calcified`` (1 or 0)."""

    patient: str
    rows: tuple[Mapping[str, float], ...]

    def mean(self, name: str) -> float:
        return float(np.mean([row[name] for row in self.rows]))


def read_ratings(folder: Path) -> dict[str, Mapping[str, float]]:
    """Return case -> ratings of one reader from ``ground_truth.xls``, or where it is missing from ``lidc_join.csv``,
    which repeats them; nothing where both are. Raises BadInput where the file can't be read.
    """
    path = folder / SPREADSHEET
    try:
        rows = _sheet(path) if path.exists() else _csv(folder / JOIN)
        return {
            str(row["Filename"]): MappingProxyType({name: float(row[name]) for name in NAMES}) for row in rows
        }  # fmt: skip
    except (xlrd.XLRDError, ValueError, KeyError, IndexError, OSError) as error:
        raise BadInput(f"The ratings in {folder.name} cannot be read ({type(error).__name__}).") from None


def _sheet(path: Path) -> list[dict[str, Any]]:
    sheet = xlrd.open_workbook(path).sheet_by_index(0)
    head, *rows = (sheet.row_values(n) for n in range(sheet.nrows))
    return [dict(zip(head, row, strict=True)) for row in rows]


def joined(folder: Path) -> dict[str, tuple[str, int]]:
    """Return case -> (LIDC patient, number of the annotation) from ``lidc_join.csv``; nothing where it is missing."""
    found = {}
    for row in _csv(folder / JOIN):
        if row.get("lidc_patient_id") and row.get("pylidc_annotation_id"):
            found[row["Filename"]] = (row["lidc_patient_id"], int(float(row["pylidc_annotation_id"])))
    return found


def lidc_nodules(path: Path) -> tuple[list[LidcNodule], dict[int, LidcNodule]]:
    """Return the nodules of the annotation table, and each by the number of each of its annotations."""
    rows: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for row in _csv(path):
        rows[row["scan_id"], row["nodule_cluster"]].append(row)
    nodules: list[LidcNodule] = []
    by_annotation: dict[int, LidcNodule] = {}
    for key in sorted(rows, key=lambda k: (int(float(k[0])), int(float(k[1])))):
        of_one = rows[key]
        said = tuple(
            MappingProxyType(
                {name: float(row[name]) for name in (*NAMES, "eq_diameter_mm")}
                | {"calcified": float(float(row["calcification"]) != NO_LIME)}
            )
            for row in of_one
        )
        nodule = LidcNodule(of_one[0]["patient_id"], said)
        nodules.append(nodule)
        by_annotation |= {int(float(row["id"])): nodule for row in of_one}
    return nodules, by_annotation


def _csv(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path.name} cannot be read ({type(error).__name__}).") from None
