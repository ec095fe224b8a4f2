"""What is watched of a reader on a scanner: which numbers one reading gives, and which chart each of them gets.

Facts hold no patient, no study, no reading: a reader, a scanner, a time and numbers.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from readingroom.findings.model import ReaderState
from readingroom.learning.drift.charts import Chart

INPUT = "input."
"""Before the name of an input statistic."""
MOST_INPUTS = 24
_INPUT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,47}")
_UNITS = {"mm": "mm", "hu": "HU", "litres": "l", "ml": "ml"}
LONGEST_NAME = 64

WATCHED_STATES = (ReaderState.FOUND, ReaderState.NOTHING_FOUND, ReaderState.ABSTAINED)
"""A partial study is left out: what is missing of it would look like drift."""


@dataclass(frozen=True)
class Measure:
    """One number watched over time. ``title`` and ``about`` are for people; ``unit`` is empty for a share or score."""

    name: str
    title: str
    unit: str
    chart: Chart
    about: str


@dataclass(frozen=True)
class Watched:
    """A version of a reader on one kind of scanner: what images of one make, model and kernel have in common."""

    reader: str
    version: str
    manufacturer: str
    model: str
    kernel: str


@dataclass(frozen=True)
class Fact:
    """What one reading, or the signature under it, tells: numbers by name of measure."""

    watched: Watched
    at: datetime
    values: Mapping[str, float]


_FIXED = {
    measure.name: measure
    for measure in (
        Measure("accepted", "Findings accepted", "", Chart.P,
                "Share of its findings that stood, accepted or edited, at signing; one trial a study."),
        Measure("found", "Studies with a finding", "", Chart.P, "Share of the studies it read."),
        Measure("abstained", "Studies it abstained on", "", Chart.P, "Share of the studies it was given."),
        Measure("score", "Top probability", "", Chart.EWMA,
                "Probability of the most probable finding of a study, where there is one."),
        Measure("score-distribution", "Top probability", "", Chart.KS,
                "The same numbers; sees a change of their shape that leaves the mean alone."),
        Measure("out-of-domain", "Out-of-domain score", "", Chart.EWMA,
                "How far images are from those the reader was trained on, as the reader measures it."),
    )
}  # fmt: skip


def measure_of(name: str) -> Measure:
    """Return the measure of that name; any input statistic is one. Raises KeyError for other names."""
    if not name.startswith(INPUT):
        return _FIXED[name]
    words = name.removeprefix(INPUT).split("_")
    unit = _UNITS.get(words[-1].lower(), "")
    title = " ".join(words[:-1] if unit and len(words) > 1 else words)
    return Measure(name, f"Input: {title}", unit, Chart.EWMA, "A statistic of the images read.")


def title_of(name: str, chart: Chart) -> str:
    """Return what a stream is called: its measure, and what of it is watched."""
    watched = {Chart.P: "", Chart.EWMA: ", mean", Chart.KS: ", distribution"}[chart]
    return measure_of(name).title + watched


def order_of(name: str) -> tuple[int, str]:
    """Sort key: outcomes first, inputs last."""
    return (list(_FIXED).index(name) if name in _FIXED else len(_FIXED), name)


def watched_of(reader: str, version: str, statistics: Mapping[str, float | str]) -> Watched:
    """Return who is watched, from the scanner that was kept with the reading; what is not known is empty."""
    words = [
        " ".join(str(statistics.get(keyword, "")).split())[:LONGEST_NAME]
        for keyword in ("Manufacturer", "ManufacturerModelName", "ConvolutionKernel")
    ]
    return Watched(reader, version, *words)


def numbers_of_reading(
    state: str, top_probability: float | None, out_of_domain: float | None, statistics: Mapping[str, float | str]
) -> dict[str, float]:
    """Return what one reading tells, by name of measure. A state that is not watched tells nothing."""
    if state not in WATCHED_STATES:
        return {}
    numbers = {"abstained": float(state == ReaderState.ABSTAINED)}
    if state != ReaderState.ABSTAINED:
        numbers["found"] = float(state == ReaderState.FOUND)
    if state == ReaderState.FOUND and top_probability is not None:
        numbers |= {"score": top_probability, "score-distribution": top_probability}
    if out_of_domain is not None:
        numbers["out-of-domain"] = out_of_domain
    inputs = [name for name, value in statistics.items() if _INPUT_NAME.fullmatch(name) and _is_number(value)]
    numbers |= {INPUT + name: float(statistics[name]) for name in sorted(inputs)[:MOST_INPUTS]}
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
