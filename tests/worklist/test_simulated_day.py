"""The simulated day: against queueing theory where theory has an answer, and what must hold on every path."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from statistics import mean, pstdev

import pytest

from readingroom.worklist.day.model import DAY_MINUTES, HOURLY, Case, Inputs, make_cases, waits
from readingroom.worklist.day.summary import load_of, simulate
from readingroom.worklist.priority import HIGH, LONGEST_HEAD_START, ROUTINE, STAT

BUSY = Inputs(studies_per_day=150, radiologists=2)


def stream(
    n: int, rate: float, reading: Callable[[random.Random], float], *, flagged: float = 0.0, stat: float = 0.0
) -> list[Case]:
    """Poisson arrivals at one rate (a minute), with no days in it: what the formulas are about."""
    rng, now, cases = random.Random(7), 0.0, []
    for _ in range(n):
        now += rng.expovariate(rate)
        ordered = STAT if rng.random() < stat else ROUTINE
        cases.append(Case(now, reading(rng), ordered, False, rng.random() < flagged))
    return cases


def mean_wait(cases: Sequence[Case], found: Sequence[float], of: Callable[[Case], bool]) -> float:
    return mean(wait for case, wait in zip(cases, found, strict=True) if of(case))


def erlang_c(servers: int, load: float) -> float:
    """The probability that all servers are busy (Erlang 1917); ``load`` in erlangs."""
    top = load**servers / math.factorial(servers) * servers / (servers - load)
    return top / (sum(load**k / math.factorial(k) for k in range(servers)) + top)


def cobham(servers: int, rates: Sequence[float], minutes: float) -> list[float]:
    """Mean waits of M/M/c with non-preemptive priorities, first class first (Cobham 1954, Operations Research 2:70)."""
    load = sum(rates) * minutes
    busy = erlang_c(servers, load) * minutes / servers
    found, before = [], 0.0
    for rate in rates:
        upto = before + rate * minutes / servers
        found.append(busy / ((1 - before) * (1 - upto)))
        before = upto
    return found


@pytest.mark.parametrize(("servers", "seed_share"), [(1, 0.2), (3, 0.3)])
def test_waits_are_cobhams(servers: int, seed_share: float) -> None:
    minutes, rate = 10.0, 0.075 * servers
    cases = stream(120_000, rate, lambda rng: rng.expovariate(1 / minutes), flagged=seed_share)
    (alone,) = cobham(servers, [rate], minutes)
    found = waits(cases, servers, 0.0, triage=False)
    assert mean(found) == pytest.approx(alone, rel=0.05)
    raised, others = cobham(servers, [rate * seed_share, rate * (1 - seed_share)], minutes)
    found = waits(cases, servers, 0.0, triage=True)
    # The whole formula is tested where it says something: the classes differ by far more than the tolerance.
    assert others > 2 * raised
    assert mean_wait(cases, found, lambda case: case.flagged) == pytest.approx(raised, rel=0.05)
    assert mean_wait(cases, found, lambda case: not case.flagged) == pytest.approx(others, rel=0.05)


def test_log_normal_reading_is_pollaczek_and_khinchine() -> None:
    """M/G/1 with an order's priority: the mean residual reading time over (1 - s1) and (1 - s1)(1 - s2)."""
    inputs = Inputs(reading_minutes=10, reading_sd_minutes=8)
    sigma = math.sqrt(math.log1p(0.8**2))
    cases = stream(120_000, 0.07, lambda rng: rng.lognormvariate(math.log(10) - sigma**2 / 2, sigma), stat=0.3)
    residual = 0.07 * (inputs.reading_minutes**2 + inputs.reading_sd_minutes**2) / 2
    found = waits(cases, 1, 0.0, triage=False)
    assert mean_wait(cases, found, lambda c: c.ordered == STAT) == pytest.approx(residual / (1 - 0.21), rel=0.05)
    assert mean_wait(cases, found, lambda c: c.ordered == ROUTINE) == pytest.approx(
        residual / ((1 - 0.21) * (1 - 0.7)), rel=0.05
    )


def test_work_is_conserved() -> None:
    """With one radiologist the sum of wait times reading time is the same in whatever order (Kleinrock 1965)."""
    cases = make_cases(replace(BUSY, radiologists=1, studies_per_day=70), random.Random(3), days=20)
    sums = [
        sum(wait * case.reading for wait, case in zip(waits(cases, 1, 2.0, triage=triage), cases, strict=True))
        for triage in (False, True)
    ]
    assert sums[0] == pytest.approx(sums[1], rel=1e-9)


@pytest.mark.parametrize("triage", [False, True])
def test_waiting_time_bounds_every_study(triage: bool) -> None:
    """However much more comes than can be read, nobody is overtaken by what came a longest head start later."""
    overload = Inputs(studies_per_day=150, radiologists=1, specificity=0.3, stat_share=0.5)
    cases = make_cases(overload, random.Random(1), days=14)
    found = waits(cases, 1, 2.0, triage=triage)
    begun = sorted((case.arrival, case.arrival + wait) for case, wait in zip(cases, found, strict=True))
    assert max(found) > LONGEST_HEAD_START / timedelta(minutes=1)
    bound = LONGEST_HEAD_START / timedelta(minutes=1)
    latest, first = 0.0, 0
    for arrival, start in begun:
        while begun[first][0] <= arrival - bound:
            latest = max(latest, begun[first][1])
            first += 1
        assert start >= latest


def test_a_reader_that_says_nothing_changes_nothing() -> None:
    cases = make_cases(replace(BUSY, sensitivity=0.0, specificity=1.0), random.Random(5))
    assert not any(case.flagged for case in cases)
    assert waits(cases, 2, 2.0, triage=True) == waits(cases, 2, 2.0, triage=False)


def test_a_reader_that_speaks_too_late_changes_nothing() -> None:
    cases = make_cases(BUSY, random.Random(5))
    assert waits(cases, 2, 10 * DAY_MINUTES, triage=True) == waits(cases, 2, 0.0, triage=False)
    assert waits(cases, 2, 2.0, triage=True) != waits(cases, 2, 0.0, triage=False)


def test_the_same_studies_at_every_operating_point() -> None:
    strict, lax = (
        make_cases(replace(BUSY, sensitivity=a, specificity=b), random.Random(9)) for a, b in ((0.6, 0.99), (0.95, 0.7))
    )
    assert [replace(case, flagged=False) for case in strict] == [replace(case, flagged=False) for case in lax]
    assert {case for case in strict if case.flagged and case.positive} < {
        case for case in lax if case.flagged and case.positive
    }


def test_cases_are_what_was_asked_for() -> None:
    inputs = Inputs(prevalence=0.2, sensitivity=0.8, specificity=0.9)
    cases = make_cases(inputs, random.Random(2), days=200)
    assert len(cases) / 200 == pytest.approx(inputs.studies_per_day, rel=0.02)
    by_hour = [sum(int(case.arrival / 60) % 24 == hour for case in cases) / len(cases) for hour in range(24)]
    assert by_hour == pytest.approx([weight / sum(HOURLY) for weight in HOURLY], abs=0.005)
    assert mean(case.reading for case in cases) == pytest.approx(15, rel=0.02)
    assert pstdev(case.reading for case in cases) == pytest.approx(10, rel=0.05)
    positives = [case for case in cases if case.positive]
    assert len(positives) / len(cases) == pytest.approx(0.2, abs=0.01)
    assert mean(case.flagged for case in positives) == pytest.approx(0.8, abs=0.02)
    assert mean(case.flagged for case in cases if not case.positive) == pytest.approx(0.1, abs=0.01)
    shares = [mean(case.ordered == level for case in cases) for level in (STAT, HIGH, ROUTINE)]
    assert shares == pytest.approx([0.1, 0.15, 0.75], abs=0.01)


def test_what_is_saved_and_lost() -> None:
    found = simulate(BUSY, days=40, seed=1)
    groups = {group.name: group for group in found.groups}
    assert found.load == pytest.approx(load_of(BUSY)) == pytest.approx(0.78, abs=0.01)
    assert found.peak_load > 1 > found.load
    assert set(groups) == {"positives", "found", "missed", "negatives", "false-alarms", "true-negatives"}
    for group in found.groups:
        low, value, high = group.saved.low, group.saved.value, group.saved.high
        assert low is not None and high is not None and low < value < high  # noqa: PT018
        assert value == pytest.approx(group.wait_without.value - group.wait_with.value)
        assert list(group.percentiles_with) == sorted(group.percentiles_with)
        assert group.worst_with >= group.percentiles_with[-1]
    assert groups["found"].saved.low > 0 > groups["negatives"].saved.high  # type: ignore[operator]
    # What the reader misses pays with those who have nothing.
    assert groups["missed"].saved.value < 0
    assert groups["positives"].studies == groups["found"].studies + groups["missed"].studies
    assert simulate(BUSY, days=40, seed=1) == found
