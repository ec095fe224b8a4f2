"""The tables of rules, read and checked once."""

from functools import cache
from importlib import resources
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

TABLES = ("lung_rads_2022", "fleischner_2017")
Density = Literal["solid", "part-solid", "ground-glass"]
Status = Literal["baseline", "new", "stable", "growing"]
Range = tuple[float, float | None]
"""From this (mm, included) to that (not included); None: without end."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class When(_Part):
    """What must hold for a row; what is not named may be anything."""

    density: tuple[Density, ...] | None = None
    status: tuple[Status, ...] | None = None
    size: Range | None = None
    solid_part: Range | None = None
    calcified: bool | None = None
    several: bool | None = None


class Row(_Part):
    id: str
    category: str
    words: str
    when: When


class Step(_Part):
    """A category lowered because nothing has changed for so many days since an earlier CT gave it."""

    id: str
    from_: str = Field(alias="from")
    to: str
    days: int
    words: str


class Raise(_Part):
    id: str
    from_: tuple[str, ...] = Field(alias="from")
    to: str
    words: str


class Table(_Part):
    """One publication's rules. ``order``: categories from the least to the most severe."""

    table: str
    edition: str
    source: str
    scope: str
    multiple: Literal["most-severe"]
    least_age_years: int | None = None
    advice: dict[str, str]
    order: tuple[str, ...]
    rows: tuple[Row, ...]
    steps: tuple[Step, ...] = ()
    raised: Raise | None = None

    @model_validator(mode="after")
    def _whole(self) -> "Table":
        named = (
            {row.category for row in self.rows}
            | {s.to for s in self.steps}
            | ({self.raised.to} if self.raised else set())
        )
        if named - set(self.order) or set(self.order) - set(self.advice):
            raise ValueError("every category needs its place in the order and its advice")
        if len({row.id for row in self.rows}) < len(self.rows):
            raise ValueError("two rows have one id")
        return self


@cache
def table(name: str) -> Table:
    """Return the table of this name (``TABLES``)."""
    text = resources.files("readingroom.findings.rules").joinpath(f"{name}.yaml").read_text("utf-8")
    return Table.model_validate(yaml.safe_load(text))
