"""Fill a reporting checklist for a reader from what ran: its card, and what training and evaluation left beside it.

Nothing is inferred: an item is *filled* where every field it rests on is there, and the field is named; *not
applicable* where a field says so; and *open* for a person otherwise. An evaluation of other weights than the reader
runs with fills nothing.
"""

import inspect
import json
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from readingroom.core.errors import NotFound
from readingroom.readers.contract import Reader
from readingroom.readers.registry import load_readers

CHECKLISTS = ("claim_2024", "tripod_ai_2024")
DOCUMENTS = {"card": "card.yaml", "training": "training.json", "run": "run.json", "evaluation": "evaluation.json"}
"""First part of a field's name -> the file it is in."""
EVIDENCE_LEVELS = (
    "measured on simulated data only",
    "measured on data from the same sources it was made with, not prospectively",
    "measured on data from places it was not made with, not prospectively",
    "measured prospectively in clinical work",
)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NotApplicable(_Part):
    """The item does not apply where ``field`` is ``among`` these values."""

    field: str
    among: tuple[Any, ...]
    why: str


class Item(_Part):
    """One item: where its answer comes from, and what a person writes.

    ``all_of`` (``from`` in the file): fields that must all be there; ``if_there``: fields that are shown where they
    are. An item with neither is a person's.
    """

    number: str = Field(pattern=r"^[1-9]\d?[a-g]?$")
    section: str
    topic: str
    all_of: tuple[str, ...] = Field(default=(), alias="from")
    if_there: tuple[str, ...] = ()
    not_applicable: NotApplicable | None = None
    person: str


class Checklist(_Part):
    """A published checklist: numbers as published, topics in our own words."""

    name: str
    title: str
    edition: str
    source: str
    doi: str
    items: tuple[Item, ...]


class State(StrEnum):
    FILLED = "filled"
    NOT_APPLICABLE = "not applicable"
    OPEN = "open"


@dataclass(frozen=True)
class Fact:
    """``source``: file and field, e.g. ``card.yaml: limits``; ``lines``: what is there, in words."""

    source: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """What became of an item. ``person``: what is left to write; ``missing``: fields that would have filled it."""

    item: Item
    state: State
    facts: tuple[Fact, ...] = ()
    why: str = ""
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class FilledChecklist:
    checklist: Checklist
    reader: str
    version: str
    answers: tuple[Answer, ...]
    notes: tuple[str, ...]
    """What beside the reader could not be used, and why."""

    def count(self, state: State) -> int:
        return sum(answer.state is state for answer in self.answers)


@dataclass(frozen=True)
class Ran:
    """What ran: documents by the first part of a field's name, and why one was not used."""

    documents: dict[str, dict[str, Any]]
    notes: list[str] = field(default_factory=list)

    def value(self, name: str) -> Any:
        """Return what a field holds; None where it, or the file, is not there."""
        first, *rest = name.split(".")
        found: Any = self.documents.get(first)
        for part in rest:
            found = found.get(part) if isinstance(found, dict) else None
        return found


def load_checklist(name: str) -> Checklist:
    """Read one of ``CHECKLISTS``."""
    text = files("readingroom.learning.checklists").joinpath(f"{name}.yaml").read_text("utf-8")
    return Checklist.model_validate(yaml.safe_load(text))


def what_ran(name: str) -> tuple[Reader, Ran]:
    """Return the installed reader of this name and what ran. Raises NotFound where there is none that can be used."""
    loaded = {one.name: one for one in load_readers()}
    if name not in loaded:
        raise NotFound(f"There is no reader {name!r}.", f"Installed: {', '.join(sorted(loaded)) or 'none'}.")
    reader = loaded[name].reader
    if reader is None:
        raise NotFound(f"The reader {name!r} cannot be used: {loaded[name].error}")
    return reader, ran_of(reader, Path(inspect.getfile(type(reader))).parent / "weights")


def ran_of(reader: Reader, weights: Path) -> Ran:
    """Return what ran for a reader whose results are in the folder ``weights``."""
    ran = Ran({"card": reader.card.model_dump(mode="json")})
    for first, file in DOCUMENTS.items():
        path = weights / file
        if first == "card" or not path.is_file():
            continue
        try:
            found = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict):
            ran.notes.append(f"{file} cannot be read.")
        elif why := _anothers(found, reader):
            ran.notes.append(f"{file} {why}: it fills nothing.")
        else:
            ran.documents[first] = found
    return ran


def _anothers(found: dict[str, Any], reader: Reader) -> str:
    """Why a result is not one of this reader as it is installed; empty where nothing says so."""
    card = reader.card
    if found.get("weights_sha256", reader.weights_sha256) != reader.weights_sha256:
        return "was made with other weights"
    version = found.get("reader_version", found.get("version", card.version))
    if found.get("reader", card.name) != card.name or version != card.version:
        return "is another reader's or version's"
    return ""


def fill(checklist: Checklist, reader: Reader, ran: Ran) -> FilledChecklist:
    """Answer every item, in order."""
    answers = tuple(_answer(item, ran) for item in checklist.items)
    return FilledChecklist(checklist, reader.card.name, reader.card.version, answers, tuple(ran.notes))


def _answer(item: Item, ran: Ran) -> Answer:
    rule = item.not_applicable
    if rule is not None and ran.value(rule.field) in rule.among:
        return Answer(item, State.NOT_APPLICABLE, why=f"{rule.why} ({source_of(rule.field)})")
    missing = tuple(source_of(name) for name in item.all_of if ran.value(name) is None)
    facts = tuple(_fact(name, ran) for name in (*item.all_of, *item.if_there) if ran.value(name) is not None)
    if missing:
        return Answer(item, State.OPEN, missing=missing)
    if not facts:
        return Answer(item, State.OPEN, missing=tuple(map(source_of, item.if_there)))
    return Answer(item, State.FILLED, facts)


def source_of(name: str) -> str:
    """``training.out_of_fold.n`` -> ``training.json: out_of_fold.n``."""
    first, _, rest = name.partition(".")
    return f"{DOCUMENTS[first]}: {rest}"


def _fact(name: str, ran: Ran) -> Fact:
    value = ran.value(name)
    if name == "card.evidence_level":
        return Fact(source_of(name), (f"{value}: {EVIDENCE_LEVELS[value]}",))
    return Fact(source_of(name), tuple(_lines(value)) or ("none",))


def _lines(value: Any, under: str = "") -> list[str]:
    """Say a value in words, a line each: a measure with interval and n, a list's and a table's entries."""
    if isinstance(value, dict):
        if isinstance(value.get("value"), int | float):
            return [f"{under}: {_measure(value)}" if under else _measure(value)]
        if "meaning" in value:  # a code
            return [f"{under}: {value['meaning']}" if under else str(value["meaning"])]
        return [line for key, one in value.items() for line in _lines(one, f"{under}, {key}" if under else str(key))]
    if isinstance(value, list):
        if under:
            return [f"{under}: {', '.join(map(_plain, value)) or 'none'}"]
        return [line for one in value for line in _lines(one)]
    return [f"{under}: {_plain(value)}" if under else _plain(value)]


def _measure(metric: dict[str, Any]) -> str:
    low, high = metric.get("ci95") or (None, None)
    interval = "no interval" if low is None or high is None else f"95% CI {_plain(low)} to {_plain(high)}"
    n = f", n = {metric['n']}" if "n" in metric else ""
    return f"{_plain(metric['value'])} ({interval}{n})"


def _plain(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
