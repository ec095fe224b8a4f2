"""Many simulated days, each read with and without triage: minutes saved and lost, with intervals over days. Pure.

``saved`` is the wait without triage minus the wait with it, on the same studies: what is below zero is lost. The
interval is a bootstrap over days (``evaluation.bootstrap``): days are independent, studies of one day are not.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from readingroom.worklist.day.model import DAY_MINUTES, HOURLY, Case, Inputs, make_cases, waits

DRAWS = 400
GROUPS: dict[str, Callable[[Case], bool]] = {
    "positives": lambda case: case.positive,
    "found": lambda case: case.positive and case.flagged,
    "missed": lambda case: case.positive and not case.flagged,
    "negatives": lambda case: not case.positive,
    "false-alarms": lambda case: not case.positive and case.flagged,
    "true-negatives": lambda case: not case.positive and not case.flagged,
}
"""Whom the numbers are of: all with the finding, those raised and those missed, all without, ..."""
PERCENTILES = (*range(5, 100, 5), 99)
MOST_LOAD = 0.98
"""Above this share of the radiologists' time the list grows from day to day, and no day is like another."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Interval(_Model):
    """A mean with its 95 % interval over days; None where a day or two is all there is."""

    value: float
    low: float | None
    high: float | None


class Group(_Model):
    """The studies of one kind: how many a day, how long they wait (minutes), what triage saves them (minutes)."""

    name: str
    studies: int
    wait_without: Interval
    wait_with: Interval
    saved: Interval
    worst_without: float
    worst_with: float
    percentiles_without: tuple[float, ...]
    """At ``PERCENTILES``."""
    percentiles_with: tuple[float, ...]


class Summary(_Model):
    """``load``: the share of the radiologists' time that reading takes. ``percentiles``: which those of groups are."""

    days: int
    seed: int
    load: float
    peak_load: float
    """In the busiest hour: above 1 a queue builds up however quiet the night is."""
    percentiles: tuple[int, ...]
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class _Read:
    """One study of a middle day, by how long it waited in each arm."""

    case: Case
    without: float
    with_: float


def load_of(inputs: Inputs) -> float:
    """Return the share of the radiologists' time that reading takes."""
    return inputs.studies_per_day * inputs.reading_minutes / (inputs.radiologists * DAY_MINUTES)


def simulate(inputs: Inputs, days: int, seed: int) -> Summary:
    """Simulate ``days`` independent days. The same seed gives the same days whatever the operating point."""
    read = [_one_day(inputs, random.Random(f"{seed} {day}")) for day in range(days)]
    groups = []
    for name, belongs in GROUPS.items():
        by_day = [[one for one in day if belongs(one.case)] for day in read]
        if any(by_day):
            groups.append(_group(name, by_day, seed))
    load = load_of(inputs)
    return Summary(
        days=days,
        seed=seed,
        load=load,
        peak_load=load * 24 * max(HOURLY) / sum(HOURLY),
        percentiles=PERCENTILES,
        groups=tuple(groups),
    )


def _one_day(inputs: Inputs, rng: random.Random) -> list[_Read]:
    cases = make_cases(inputs, rng)
    without = waits(cases, inputs.radiologists, inputs.reader_minutes, triage=False)
    with_ = waits(cases, inputs.radiologists, inputs.reader_minutes, triage=True)
    return [
        _Read(case, a, b)
        for case, a, b in zip(cases, without, with_, strict=True)
        if DAY_MINUTES <= case.arrival < 2 * DAY_MINUTES
    ]


def _group(name: str, by_day: Sequence[Sequence[_Read]], seed: int) -> Group:
    everybody = [one for day in by_day for one in day]
    without, with_ = sorted(one.without for one in everybody), sorted(one.with_ for one in everybody)
    return Group(
        name=name,
        studies=len(everybody),
        wait_without=_mean(by_day, lambda one: one.without, seed),
        wait_with=_mean(by_day, lambda one: one.with_, seed),
        saved=_mean(by_day, lambda one: one.without - one.with_, seed),
        worst_without=without[-1],
        worst_with=with_[-1],
        percentiles_without=tuple(_at(without, one) for one in PERCENTILES),
        percentiles_with=tuple(_at(with_, one) for one in PERCENTILES),
    )


def _mean(by_day: Sequence[Sequence[_Read]], of: Callable[[_Read], float], seed: int) -> Interval:
    """Return the mean over studies, days resampled whole."""
    # NumPy comes with it: whoever asks for no simulation does without.
    from readingroom.evaluation.bootstrap import bootstrap

    days = [(sum(of(one) for one in day), len(day)) for day in by_day]

    def mean(drawn: Sequence[tuple[float, int]]) -> float:
        number = sum(n for _, n in drawn)
        if number == 0:
            raise ValueError("no study of this kind was drawn")
        return sum(total for total, _ in drawn) / number

    found = bootstrap(days, mean, seed, DRAWS)
    return Interval(value=found.value, low=found.low, high=found.high)


def _at(values: Sequence[float], percent: int) -> float:
    """Return the percentile of sorted values (nearest rank)."""
    return values[max(0, -(-len(values) * percent // 100) - 1)]
