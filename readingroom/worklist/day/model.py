"""A day in a reading room, simulated: arrivals, radiologists, a reader that raises what it takes for positive. Pure.

Each study is made once, with its arrival, how long it takes to read, whether it has the finding, and what the reader
says of it. The same studies then go through the list twice, without triage and with it, so that the two differ by the
order alone (common random numbers). The order is the worklist's own (``priority.counted_arrival``): the order's
priority and the time of arrival, and with triage the head start of what was raised. A radiologist who becomes free
takes the first study of the list as it stands at that moment, and is not interrupted.

Times are in minutes. A day is looked at between one before it, which fills the list, and one after it, which goes on
filling it: only studies that arrive on the middle day count.
"""

import heapq
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from readingroom.worklist.priority import HIGH, ROUTINE, STAT, Triage, counted_arrival

DAY_MINUTES = 24 * 60
HOURLY = (1, 1, 1, 1, 1, 1, 2, 4, 7, 9, 9, 9, 8, 8, 9, 8, 7, 5, 4, 3, 3, 2, 2, 1)
"""How many studies come in each hour of the day, as weights: an invented general hospital, busiest in the morning."""
RAISED_PROBABILITY = 0.9
"""What the reader says of everything it raises."""

_START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Inputs:
    """What is set. Shares and rates are 0..1."""

    studies_per_day: float = 120.0
    radiologists: int = 2
    reading_minutes: float = 15.0
    reading_sd_minutes: float = 10.0
    """Standard deviation; reading times are log-normal."""
    prevalence: float = 0.08
    sensitivity: float = 0.9
    specificity: float = 0.9
    reader_minutes: float = 2.0
    """From arrival to the reader's word; until then the study waits as ordered."""
    stat_share: float = 0.1
    """Ordered as stat."""
    high_share: float = 0.15
    """Ordered with high priority."""


@dataclass(frozen=True)
class Case:
    """One study: minutes from the first midnight, and for reading."""

    arrival: float
    reading: float
    ordered: int
    positive: bool
    flagged: bool


def make_cases(inputs: Inputs, rng: random.Random, days: int = 3) -> list[Case]:
    """Return the studies of ``days`` days in order of arrival: a Poisson process whose rate follows ``HOURLY``.

    Gaps are drawn at the busiest hour's rate and thinned (Lewis and Shedler 1979).
    """
    busiest = max(HOURLY) / sum(HOURLY) * inputs.studies_per_day / 60
    sigma = math.sqrt(math.log1p((inputs.reading_sd_minutes / inputs.reading_minutes) ** 2))
    mu = math.log(inputs.reading_minutes) - sigma**2 / 2
    cases, now = [], 0.0
    while (now := now + rng.expovariate(busiest)) < days * DAY_MINUTES:
        if rng.random() * max(HOURLY) > HOURLY[int(now / 60) % 24]:
            continue
        order, positive = rng.random(), rng.random() < inputs.prevalence
        said = rng.random()
        cases.append(
            Case(
                arrival=now,
                reading=rng.lognormvariate(mu, sigma),
                ordered=STAT
                if order < inputs.stat_share
                else HIGH
                if order < inputs.stat_share + inputs.high_share
                else ROUTINE,
                positive=positive,
                flagged=said < inputs.sensitivity if positive else said >= inputs.specificity,
            )
        )
    return cases


def waits(cases: Sequence[Case], radiologists: int, reader_minutes: float, *, triage: bool) -> list[float]:
    """Return how long each case waits until somebody begins to read it, in minutes.

    ``cases`` are in order of arrival. With ``triage`` a flagged case that is still waiting when the reader has spoken
    gets the head start of its urgency.
    """
    news = [(case.arrival, number, False) for number, case in enumerate(cases)]
    if triage:
        news += [(case.arrival + reader_minutes, number, True) for number, case in enumerate(cases) if case.flagged]
        news.sort()
    free = [0.0] * radiologists
    begun: list[float | None] = [None] * len(cases)
    waiting: list[tuple[float, int]] = []
    told = 0
    for _ in cases:
        now = heapq.heappop(free)
        while True:
            while told < len(news) and news[told][0] <= now:
                _, number, raised = news[told]
                told += 1
                if begun[number] is None:
                    heapq.heappush(waiting, (_place(cases[number], raised=raised), number))
            # A case that was raised stands in the list twice: its later place means nothing any more.
            while waiting and begun[waiting[0][1]] is not None:
                heapq.heappop(waiting)
            if waiting:
                break
            now = news[told][0]
        _, number = heapq.heappop(waiting)
        begun[number] = now
        heapq.heappush(free, now + cases[number].reading)
    return [start - case.arrival for start, case in zip(begun, cases, strict=True) if start is not None]


def _place(case: Case, *, raised: bool) -> float:
    """Return where a case stands: when it counts as having arrived, in minutes."""
    triage = Triage(STAT, RAISED_PROBABILITY, "simulated") if raised else Triage()
    counted = counted_arrival(_START, case.ordered, triage) - _START
    return case.arrival + counted / timedelta(minutes=1)
