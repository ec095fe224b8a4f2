"""What patients' data are used for, and the legal bases each use may rest on (``legal_bases.json``, a table as data).

Whether one patient's data may be used is asked at one port, ``access.consent.permitted``; here are only the words.
"""

import json
from enum import StrEnum
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

TABLE = Path(__file__).parent / "legal_bases.json"


class Purpose(StrEnum):
    CARE = "care"
    """The patient's own diagnosis and treatment, reading by AI included."""
    RESEARCH = "research"
    TRAINING = "training"
    """Models learn from the patient's data."""
    TEACHING = "teaching"
    """People learn from the patient's data."""


class LegalBasis(BaseModel):
    """One row of the table. ``default``: a site may rest a purpose on it where a patient has decided nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str = Field(pattern=r"^[a-z-]{1,32}$")
    title: str
    text: str
    source: str
    purposes: frozenset[Purpose]
    default: bool
    needs_reference: bool
    """It stands only with the number of a form, an approval or a rule."""


@cache
def legal_bases() -> dict[str, LegalBasis]:
    """Return the table by code, in its own order."""
    rows = json.loads(TABLE.read_text("utf-8"))["bases"]
    return {row["code"]: LegalBasis.model_validate(row) for row in rows}
