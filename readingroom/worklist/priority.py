"""Order of the worklist: pure functions.

Every study has a place in one queue: the time it arrived, less a head start that its urgency earns. Urgency is the
order's priority, which findings may raise and nothing lowers. The head start is finite, so a study that has waited
longer than the largest head start comes before everything that arrives now: waiting time bounds every study.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from readingroom.findings.model import Finding

ROUTINE, HIGH, STAT = 0, 1, 2

HEAD_START = {ROUTINE: timedelta(0), HIGH: timedelta(hours=24), STAT: timedelta(hours=72)}
"""How much earlier than it did a study of this urgency counts as having arrived."""

FINDING_HEAD_START = timedelta(hours=4)
"""Times the probability of the most probable finding: orders studies of one urgency, and never passes a level."""

LONGEST_HEAD_START = max(HEAD_START.values()) + FINDING_HEAD_START
"""After waiting this long a study precedes every study that arrives."""

URGENT_CODES: dict[tuple[str, str], int] = {
    ("36118008", "SCT"): STAT,  # pneumothorax
    ("1386000", "SCT"): STAT,  # intracranial haemorrhage
    ("59282003", "SCT"): STAT,  # pulmonary embolism
}
"""Finding codes that raise a study's urgency by themselves."""


@dataclass(frozen=True)
class Triage:
    """What the readings say about urgency: a level and the most probable finding behind it."""

    level: int = ROUTINE
    top_probability: float = 0.0
    reason: str = ""


def triage_level(findings: tuple[Finding, ...]) -> int:
    """Return the urgency that these findings ask for: ROUTINE unless a code says more."""
    return max((URGENT_CODES.get((f.code.value, f.code.scheme), ROUTINE) for f in findings), default=ROUTINE)


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
