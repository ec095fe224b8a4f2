"""Order of the worklist: pure functions.

Every study has a place in one queue: the time it arrived, less a head start that its urgency earns. Urgency is the
order's priority, which findings may raise and nothing lowers. The head start is finite, so a study that has waited
longer than the largest head start comes before everything that arrives now: waiting time bounds every study.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from importlib import resources

from readingroom.findings.model import Finding

ROUTINE, HIGH, STAT = 0, 1, 2

HEAD_START = {ROUTINE: timedelta(0), HIGH: timedelta(hours=24), STAT: timedelta(hours=72)}
"""How much earlier than it did a study of this urgency counts as having arrived."""

FINDING_HEAD_START = timedelta(hours=4)
"""Times the probability of the most probable finding: orders studies of one urgency, and never passes a level."""

LONGEST_HEAD_START = max(HEAD_START.values()) + FINDING_HEAD_START
"""After waiting this long a study precedes every study that arrives."""


@cache
def urgent_codes() -> dict[tuple[str, str], int]:
    """Return (value, scheme) -> urgency of the findings that raise a study by themselves: ``urgent_codes.json``."""
    table = json.loads(resources.files("readingroom.worklist").joinpath("urgent_codes.json").read_text("utf-8"))
    levels: dict[str, int] = table["levels"]
    return {(one["value"], one["scheme"]): levels[one["level"]] for one in table["codes"]}


@dataclass(frozen=True)
class Triage:
    """What the readings say about urgency: a level and the most probable finding behind it."""

    level: int = ROUTINE
    top_probability: float = 0.0
    reason: str = ""


def level_of(finding: Finding) -> int:
    """Return the urgency that a finding asks for: ROUTINE unless its code says more."""
    return urgent_codes().get((finding.code.value, finding.code.scheme), ROUTINE)


def most_urgent(findings: Sequence[Finding]) -> Finding | None:
    """Return the finding of the highest urgency, the most probable of those; None where there is none."""
    return max(findings, key=lambda one: (level_of(one), one.probability or 0.0), default=None)


def in_words(meaning: str, probability: float | None) -> str:
    """Return what a finding raised a study by: ``intracranial hemorrhage, probability 0.91``."""
    # "CT" stays as it is.
    name = meaning if meaning[1:2].isupper() else meaning[:1].lower() + meaning[1:]
    return name if probability is None else f"{name}, probability {probability:.2f}"


def urgency(ordered: int, triage: Triage) -> int:
    """Return the study's urgency: triage only raises."""
    return max(min(max(ordered, ROUTINE), STAT), triage.level)


def counted_arrival(received_at: datetime, ordered: int, triage: Triage) -> datetime:
    """Return when the study counts as having arrived: the worklist shows the earliest first."""
    probability = min(max(triage.top_probability, 0.0), 1.0)
    return received_at - HEAD_START[urgency(ordered, triage)] - FINDING_HEAD_START * probability


def priority_reason(ordered: int, triage: Triage) -> str:
    """Say in words where the urgency comes from; empty for a routine study."""
    level = urgency(ordered, triage)
    if level > ordered:
        return f"Raised by {triage.reason}."
    if level > ROUTINE:
        return "Ordered as stat." if level == STAT else "Ordered with high priority."
    return ""
