"""The codes Reading Room writes, by a short name of our own, read from ``codes.json`` beside this module.

A table of codes is data: it names the edition it came from, and a test holds each row against the terminology that
pydicom carries. Only codes of sets that may be redistributed are here (PS3.16, UCUM, the SNOMED subset of DICOM), and
those of our own scheme.
"""

import json
from functools import cache
from importlib import resources
from typing import Any

from readingroom.core.ids import sha256_hex
from readingroom.findings.model import Code

OWN_SCHEME = "99READINGROOM"


@cache
def _table() -> dict[str, Any]:
    text = resources.files("readingroom.findings").joinpath("codes.json").read_text("utf-8")
    table: dict[str, Any] = json.loads(text)
    return table


@cache
def code(name: str) -> Code:
    """Return the code with this short name, e.g. ``code("nodule")``. Raises KeyError on a name not in the table."""
    value, scheme, meaning = _table()["codes"][name]
    return Code(value=value, scheme=scheme, meaning=meaning)


@cache
def digest() -> str:
    """Return the SHA-256 of the table: whatever is written with other codes is something else."""
    return sha256_hex(resources.files("readingroom.findings").joinpath("codes.json").read_bytes())


def own(coded_value: str, meaning: str) -> Code:
    """Return a code of our own scheme, for what no table of the standard names."""
    return Code(value=coded_value, scheme=OWN_SCHEME, meaning=meaning)


@cache
def structures() -> frozenset[tuple[str, str]]:
    """Return value and scheme of codes that name a part of the body as it is, and nothing abnormal."""
    return frozenset((one.value, one.scheme) for one in map(code, _table()["structures"]))


def names() -> tuple[str, ...]:
    """Return every short name of the table."""
    return tuple(_table()["codes"])


def system(scheme: str) -> str | None:
    """Return the FHIR code system URI of a DICOM coding scheme designator; None where we know of none."""
    found: str | None = _table()["systems"].get(scheme)
    return found
