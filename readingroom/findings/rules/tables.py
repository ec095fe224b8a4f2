"""The rule tables: data files beside this module, checked when they are loaded."""

from functools import cache
from importlib import resources
from typing import Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from readingroom.core.errors import BadInput
from readingroom.core.ids import sha256_hex
from readingroom.findings.codes import own
from readingroom.findings.model import Code

Kind = Literal[
    "solid", "part-solid", "ground-glass", "benign", "juxtapleural",
    "airway-subsegmental", "airway-central", "cyst-thin", "cyst-thick", "cyst-multilocular",
]  # fmt: skip
"""What the tables tell apart. ``benign``: benign calcification or fat; ``juxtapleural``: a solid one that is smooth
and oval, lentiform or triangular."""
Status = Literal["baseline", "new", "growing", "slow", "stable"]
"""``baseline``: judged by size alone, for want of an earlier study or because it crossed a size threshold."""

NOT_APPLICABLE = own("not-applicable", "Table does not apply")
UNDETERMINED = own("undetermined", "Not determined")
FILES = {"lung-rads": "lung_rads_2022.yaml", "fleischner": "fleischner_2017.yaml"}


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Band(_Model):
    """``low <= value < high``."""

    low: float = Field(default=0.0, alias="from")
    high: float = Field(default=float("inf"), alias="below")

    def holds(self, value: float | None) -> bool:
        return value is not None and self.low <= value < self.high


class Facts(_Model):
    """What the rows ask about. None: not known; a row that asks about it doesn't fire."""

    kind: Kind
    status: Status = "baseline"
    mean_mm: float | None = None
    whole_mm: float | None = None
    solid_mm: float | None = None
    previous: str | None = None
    """Category of the latest earlier study in the same table."""
    days: float | None = None
    number: Literal["single", "multiple"] = "single"


class When(_Model):
    """Conditions of a row: all that are given must hold."""

    kind: tuple[Kind, ...] = ()
    status: tuple[Status, ...] = ()
    previous: tuple[str, ...] = ()
    number: Literal["single", "multiple"] | None = None
    mean_mm: Band | None = None
    whole_mm: Band | None = None
    solid_mm: Band | None = None
    days: Band | None = None

    def holds(self, facts: Facts) -> bool:
        return (
            (not self.kind or facts.kind in self.kind)
            and (not self.status or facts.status in self.status)
            and (not self.previous or facts.previous in self.previous)
            and (self.number is None or facts.number == self.number)
            and all(
                band is None or band.holds(value)
                for band, value in (
                    (self.mean_mm, facts.mean_mm),
                    (self.whole_mm, facts.whole_mm),
                    (self.solid_mm, facts.solid_mm),
                    (self.days, facts.days),
                )
            )
        )


class Row(_Model):
    """One row of a table. ``low`` and ``high``: advice by the patient's risk where the table tells it apart."""

    id: str
    category: str
    when: When = When()
    words: str
    remark: str = ""
    """Where the published table is silent or two rows hold: what we made of it."""
    low: str = ""
    high: str = ""


class Category(_Model):
    code: str = Field(max_length=16)
    meaning: str = Field(max_length=64)
    advice: str = ""

    def coded(self) -> Code:
        return own(self.code, self.meaning)


class Feature(_Model):
    """A feature that raises the category."""

    fact: Literal["spiculated", "ground-glass-doubled"]
    id: str
    words: str


class Upgrade(_Model):
    to: str
    of: tuple[str, ...]
    when: tuple[Feature, ...]


class GrowthRule(_Model):
    """More than ``mm`` of mean diameter is growth; with ``within_days``, as a rate once that time is over."""

    mm: float = Field(gt=0)
    within_days: float | None
    note: str


class RuleTable(_Model):
    """A published table in our own words, with where it was read."""

    table: str
    edition: str
    version: int
    title: str
    concept: str
    """Short name of its code in ``codes.json``."""
    citation: str
    read_from: str
    verified: bool
    """Whether every row was read in the publication itself."""
    legal: str
    left_to_the_radiologist: tuple[str, ...]
    growth: GrowthRule
    adults_from_years: int | None = None
    categories: dict[str, Category]
    order: tuple[str, ...]
    """Categories from the least to the most suspicious: the study has that of its most suspicious finding."""
    none_found: Row
    not_classified: dict[Kind, str] = {}
    """Kinds the table has no row for, and the sentence that says so."""
    rows: tuple[Row, ...]
    upgrade: Upgrade | None = None

    @model_validator(mode="after")
    def _sound(self) -> Self:
        named = [*(row.category for row in self.rows), self.none_found.category, *self.order]
        named += [self.upgrade.to, *self.upgrade.of] if self.upgrade else []
        if strange := set(named) - set(self.categories):
            raise ValueError(f"It names categories it does not have: {', '.join(sorted(strange))}.")
        if set(self.order) != set(self.categories):
            raise ValueError("Its order does not name each category.")
        ids = [row.id for row in (*self.rows, self.none_found)]
        if len(set(ids)) != len(ids):
            raise ValueError("Two of its rows have one id.")
        return self

    def fires(self, facts: Facts) -> Row | None:
        """Return the first row whose conditions hold; None where none does."""
        return next((row for row in self.rows if row.when.holds(facts)), None)

    def rank(self, category: str) -> int:
        """Return how suspicious a category is, from 0."""
        return self.order.index(category)

    def category_of(self, coded: Code) -> str | None:
        """Return the category with this code; None where it is none of the table."""
        return next((key for key, one in self.categories.items() if one.coded().value == coded.value), None)


@cache
def table(name: str) -> RuleTable:
    """Return the table ``lung-rads`` or ``fleischner``. Raises BadInput where its file is not sound."""
    try:
        return parse(_text(name))
    except KeyError:
        raise BadInput(f"There is no rule table {name!r}.", f"There are: {', '.join(FILES)}.") from None


def parse(text: str) -> RuleTable:
    """Read a table. Raises BadInput naming the field that is wrong."""
    try:
        return RuleTable.model_validate(yaml.safe_load(text))
    except yaml.YAMLError:
        raise BadInput("The rule table is no YAML.") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"The rule table is not sound at {where or 'its top'}: {first['msg']}.") from None


@cache
def digest() -> str:
    """Return the SHA-256 over the tables: what a reader's configuration hash must cover."""
    return sha256_hex(*(_text(name) for name in FILES))


def _text(name: str) -> str:
    return resources.files("readingroom.findings.rules").joinpath(FILES[name]).read_text("utf-8")
