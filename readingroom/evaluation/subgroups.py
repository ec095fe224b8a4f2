"""The same measure within each part of the patients: scanner, kernel, slice thickness, sex, age."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from readingroom.evaluation.estimate import Estimate

Case = TypeVar("Case")
UNKNOWN = "unknown"
AGE_BANDS = (0, 18, 40, 60, 75)
THICKNESS_BANDS_MM = (0.0, 1.5, 2.5, 4.0)


@dataclass(frozen=True)
class Subgroup:
    """One value of one property. ``estimate`` is None, with the reason, where the measure can't be had there."""

    property: str
    value: str
    n: int
    estimate: Estimate | None
    reason: str = ""


def by_subgroup(
    cases: Sequence[Case],
    properties: Sequence[Mapping[str, str]],
    measure: Callable[[Sequence[Case]], Estimate],
) -> tuple[Subgroup, ...]:
    """Return ``measure`` within each value of each property; ``properties`` has one mapping a case (a patient).

    A property that a case lacks counts as ``unknown``. Small groups are shown as they are: their interval says how
    small.
    """
    if len(cases) != len(properties):
        raise ValueError("every case needs its properties")
    names = sorted({name for row in properties for name in row})
    found = []
    for name in names:
        values = [row.get(name) or UNKNOWN for row in properties]
        for value in sorted(set(values)):
            here = [case for case, own in zip(cases, values, strict=True) if own == value]
            try:
                found.append(Subgroup(name, value, len(here), measure(here)))
            except ValueError as error:
                found.append(Subgroup(name, value, len(here), None, str(error)))
    return tuple(found)


def band(value: float | None, edges: Sequence[float], unit: str) -> str:
    """Return the band of ``edges`` (lower ends, ascending) in which ``value`` lies, in words; ``unknown`` for None or
    below.
    """
    if value is None or value < edges[0]:
        return UNKNOWN
    number = max(n for n, edge in enumerate(edges) if value >= edge)
    if number + 1 == len(edges):
        return f"{edges[number]:g} {unit} and more"
    return f"{edges[number]:g} to under {edges[number + 1]:g} {unit}"
