"""FreeSurfer's text files read: ``aseg.stats`` and ``lh.aparc.stats`` / ``rh.aparc.stats`` to measures by region.

Only what norms are for is taken; subject names, paths and dates in the files' heads are not looked at. Another atlas
than Desikan-Killiany has other regions under the same names, and is refused.
"""

import re
from collections.abc import Iterable

import numpy as np

from readingroom.core.errors import BadInput
from readingroom.readers.alzheimer.regions import CORTICAL, HEAD_SIZE, OTHER_NAMES, SIDED_VOLUMES, THICKNESSES

MAX_CHARACTERS = 256 << 10
ATLAS = re.compile(r"^(?:.*[/\\])?[lr]h\.aparc\.annot$")
_KEPT = frozenset({*SIDED_VOLUMES, *THICKNESSES, *OTHER_NAMES, HEAD_SIZE})
_HEAD_NAMES = {"EstimatedTotalIntraCranialVol": HEAD_SIZE, "IntraCranialVol": HEAD_SIZE}
_BRAIN_NAMES = frozenset({"BrainSegNotVent", "BrainSegVolNotVent"})


def read_stats(texts: Iterable[str]) -> dict[str, float]:
    """Return measures by FreeSurfer's names (mm3, mm) of one person's files, in any order.

    Raises BadInput for a text that is none of the three, is another atlas, holds a number that is none, or says
    something else of a measure than one before.
    """
    measured: dict[str, float] = {}
    for text in texts:
        for name, value in _one(text).items():
            if abs(measured.setdefault(name, value) - value) > 0.01 * abs(value):
                raise BadInput("The files disagree: they are not of one FreeSurfer run.")
    if not measured:
        raise BadInput("There is no FreeSurfer table here.", "Give aseg.stats, lh.aparc.stats and rh.aparc.stats.")
    return measured


def _one(text: str) -> dict[str, float]:
    if len(text) > MAX_CHARACTERS:
        raise BadInput("A FreeSurfer table is not that long.")
    lines = [line.strip() for line in text.splitlines()]
    said = {k: v for k, _, v in (line.removeprefix("#").strip().partition(" ") for line in lines if line[:1] == "#")}
    headers = said.get("ColHeaders", "").split()
    rows = [line.split() for line in lines if line and line[:1] != "#"]
    found = _measures(lines)
    if {"StructName", "Volume_mm3"} <= set(headers):
        found |= _column(rows, headers, "Volume_mm3", "{}")
    elif {"StructName", "GrayVol", "ThickAvg"} <= set(headers):
        side = said.get("hemi", "").strip()
        if side not in ("lh", "rh"):
            raise BadInput("A table of the cortex does not say which hemisphere it is of.")
        if not ATLAS.match(said.get("AnnotationFile", "").strip()):
            raise BadInput("There is no norm for this atlas: only for aparc (Desikan-Killiany).")
        found = {name.replace("?h", side): value for name, value in found.items()}
        found |= _column(rows, headers, "GrayVol", f"{side}_{{}}_volume")
        found |= _column(rows, headers, "ThickAvg", f"{side}_{{}}_thickness")
    else:
        raise BadInput("This is no aseg.stats or aparc.stats of FreeSurfer.")
    return {name: value for name, value in found.items() if name in _KEPT}


def _measures(lines: list[str]) -> dict[str, float]:
    """The lines ``# Measure where, name, words, value, unit`` that norms use; ``?h`` stands for the file's side."""
    found: dict[str, float] = {}
    for line in lines:
        if not line.startswith("# Measure "):
            continue
        parts = [part.strip() for part in line.removeprefix("# Measure ").split(",")]
        if len(parts) != 5:
            continue
        if parts[0] in _HEAD_NAMES:
            found[HEAD_SIZE] = _number(parts[3])
        elif parts[0] in _BRAIN_NAMES:
            found["BrainSegVolNotVent"] = _number(parts[3])
        elif parts[1] == "MeanThickness":
            found["?h_MeanThickness_thickness"] = _number(parts[3])
    return found


def _column(rows: list[list[str]], headers: list[str], column: str, pattern: str) -> dict[str, float]:
    name, place = headers.index("StructName"), headers.index(column)
    usable = [row for row in rows if len(row) == len(headers)]
    if len(usable) < len(rows):
        raise BadInput("A row of the FreeSurfer table is cut short.")
    wanted = [row for row in usable if pattern == "{}" or row[name] in CORTICAL]
    return {pattern.format(row[name]): _number(row[place]) for row in wanted}


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise BadInput("A value in the FreeSurfer table is no number.") from None
    if not np.isfinite(value) or value < 0:
        raise BadInput("A value in the FreeSurfer table cannot be.")
    return value
