"""Order of the worklist: triage only raises, and waiting time bounds every study."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from readingroom.findings.model import Code, Finding, StudyPlace
from readingroom.worklist.priority import (
    HIGH,
    LONGEST_HEAD_START,
    ROUTINE,
    STAT,
    Triage,
    counted_arrival,
    in_words,
    level_of,
    most_urgent,
    priority_reason,
    urgency,
)

NOW = datetime(2026, 6, 1, tzinfo=UTC)
levels = st.sampled_from([ROUTINE, HIGH, STAT])
triages = st.builds(Triage, levels, st.floats(0, 1), st.just("reader: thing"))


@given(levels, triages)
def test_triage_never_lowers(ordered: int, triage: Triage) -> None:
    assert urgency(ordered, triage) >= ordered
    assert counted_arrival(NOW, ordered, triage) <= counted_arrival(NOW, ordered, Triage())


@given(levels, triages, levels, triages)
def test_who_waited_longest_comes_first_in_the_end(a: int, ta: Triage, b: int, tb: Triage) -> None:
    waited = counted_arrival(NOW - LONGEST_HEAD_START - timedelta(seconds=1), a, ta)
    assert waited < counted_arrival(NOW, b, tb)


def test_levels_come_before_probabilities() -> None:
    sure = Triage(ROUTINE, 1.0, "r: nodule")
    assert counted_arrival(NOW, STAT, Triage()) < counted_arrival(NOW, HIGH, sure) < counted_arrival(NOW, ROUTINE, sure)
    assert counted_arrival(NOW, ROUTINE, sure) < counted_arrival(NOW, ROUTINE, Triage())


def test_an_urgent_code_raises_and_says_so() -> None:
    def found(code: Code, probability: float) -> Finding:
        return Finding(id=code.value, code=code, place=StudyPlace(), probability=probability)

    pneumothorax = found(Code(value="36118008", scheme="SCT", meaning="Pneumothorax"), 0.9)
    nodule = found(Code(value="27925004", scheme="SCT", meaning="Nodule"), 0.99)
    assert most_urgent((nodule, pneumothorax)) is pneumothorax
    assert most_urgent(()) is None
    assert (level_of(pneumothorax), level_of(nodule)) == (STAT, ROUTINE)
    triage = Triage(STAT, 0.9, in_words("Pneumothorax", 0.9))
    assert urgency(ROUTINE, triage) == STAT
    assert priority_reason(ROUTINE, triage) == "Raised by pneumothorax, probability 0.90."
    assert priority_reason(STAT, triage) == "Ordered as stat."
    assert priority_reason(ROUTINE, Triage()) == ""
    assert in_words("CT sign", None) == "CT sign"
