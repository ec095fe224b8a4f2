"""The numbers of structured reports: what another program measured, by the code of what it is.

Tolerant: a document or an item that cannot be read gives nothing, and the others count.
"""

import math
from collections.abc import Sequence
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset

from readingroom.core.sealed import Source

MAX_DOCUMENTS, MAX_ITEMS, MAX_DEPTH = 20, 5000, 12


def measures_in(paths: Sequence[Source]) -> dict[str, float]:
    """Return ``SCHEME CodeValue`` -> value of every NUM item of the documents; one said twice differently is left
    out.

    Never raises for what is in the files.
    """
    found: dict[str, set[float]] = {}
    for path in paths[:MAX_DOCUMENTS]:
        try:
            with path.open("rb") as stream:
                ds = dcmread(stream, stop_before_pixels=True)
            _walk(ds, found, 0)
        except Exception:  # noqa: S112  (a document nobody foresaw must not lose the series)
            continue
    return {name: values.pop() for name, values in found.items() if len(values) == 1}


def _walk(item: Dataset, found: dict[str, set[float]], depth: int) -> None:
    if depth > MAX_DEPTH or len(found) >= MAX_ITEMS:
        return
    if str(item.get("ValueType", "")) == "NUM":
        name, value = _name(item), _value(item)
        if name and value is not None:
            found.setdefault(name, set()).add(value)
    for child in item.get("ContentSequence", ()) or ():
        _walk(child, found, depth + 1)


def _first(item: Dataset, keyword: str) -> Dataset:
    sequence: Any = item.get(keyword)
    return sequence[0] if sequence else Dataset()


def _name(item: Dataset) -> str:
    concept = _first(item, "ConceptNameCodeSequence")
    value = str(concept.get("CodeValue") or concept.get("LongCodeValue") or "")
    scheme = str(concept.get("CodingSchemeDesignator") or "")
    return f"{scheme} {value}" if scheme and value else ""


def _value(item: Dataset) -> float | None:
    measured = _first(item, "MeasuredValueSequence")
    try:
        value = float(measured.get("FloatingPointValue", measured.get("NumericValue")))
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None
