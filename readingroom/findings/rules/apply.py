"""Apply the tables to findings: facts, the first row that fits, steps down and up, advice."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from readingroom.findings.codes import code, own
from readingroom.findings.model import Assessment, Finding, Measurement
from readingroom.findings.rules.growth import GROWTH_DAYS, GROWTH_MM, Change, Earlier, change_since, followed, measured
from readingroom.findings.rules.tables import TABLES, Density, Range, Row, Status, Table, When, table

DENSITIES: tuple[Density, ...] = ("solid", "part-solid", "ground-glass")


@dataclass(frozen=True)
class Facts:
    """What the rules look at. ``size_mm``: mean of long and short axis; ``solid_mm``: of the solid part, 0 where none
    can be measured."""

    density: Density | None
    size_mm: float | None
    solid_mm: float
    calcified: bool
    spiculated: bool
    several: bool
    status: Status


def facts_of(finding: Finding, several: bool, status: Status) -> Facts:
    """Return what the rules look at in ``finding``."""
    named = {c.concept.value: c.value.value for c in finding.characteristics}
    density = named.get(code("density-type").value)
    return Facts(
        density=next((d for d in DENSITIES if code(d).value == density), None),
        size_mm=measured(finding, "diameter"),
        solid_mm=measured(finding, "solid-part-diameter") or 0.0,
        calcified=named.get(code("calcification").value) == code("present").value,
        spiculated=named.get(code("spiculation").value) == code("present").value,
        several=several,
        status=status,
    )


def assess_all(
    findings: Sequence[Finding], priors: Iterable[Earlier] = (), age_years: float | None = None
) -> tuple[Finding, ...]:
    """Return ``findings`` (nodules of one study) with their assessments by every table, and their change where one is
    known."""
    earlier = tuple(priors)
    same = followed(findings, earlier)
    out = []
    for finding in findings:
        before = same.get(finding.id)
        change = change_since(before[0], finding, before[1]) if before else None
        status = _status(bool(earlier), change)
        facts = facts_of(finding, len(findings) > 1, status)
        made = tuple(
            assessed
            for name in TABLES
            if (assessed := _assess(table(name), facts, change, before[0] if before else None, age_years)) is not None
        )
        out.append(
            finding.model_copy(
                update={"assessments": made, "measurements": finding.measurements + _doubling(finding, change)}
            )
        )  # fmt: skip
    return tuple(out)


def _status(any_prior: bool, change: Change | None) -> Status:
    if not any_prior:
        return "baseline"
    if change is None:
        return "new"
    before, now = change.diameter_before_mm, change.diameter_now_mm
    if before is not None and now is not None:
        return "growing" if now - before > GROWTH_MM and change.days <= GROWTH_DAYS else "stable"
    return "growing" if change.kind == "growing" else "stable"


def _doubling(finding: Finding, change: Change | None) -> tuple[Measurement, ...]:
    wanted = code("volume-doubling-time")
    if change is None or change.doubling_days is None or any(m.code == wanted for m in finding.measurements):
        return ()
    method = f"after {change.days} days, from {change.volume_before_mm3:g} mm3"
    return (Measurement(code=wanted, value=round(change.doubling_days, 0), unit=code("day"), method=method),)


def _assess(
    rules: Table, facts: Facts, change: Change | None, before: Finding | None, age_years: float | None
) -> Assessment | None:
    if facts.density is None or facts.size_mm is None:
        return None
    if rules.least_age_years is not None and age_years is not None and age_years < rules.least_age_years:
        return None
    # Fleischner rounds to whole mm; Lung-RADS takes one decimal.
    if rules.table == "Fleischner":
        facts = replace(facts, size_mm=float(int(facts.size_mm + 0.5)), solid_mm=float(int(facts.solid_mm + 0.5)))
    row = _row(rules, facts)
    if row is None:
        return None
    category, rule, because = row.category, row.id, [row.words]
    if before is not None and change is not None and facts.status == "stable":
        first = _row(rules, facts_of(before, facts.several, "baseline"))
        for step in rules.steps:
            if (
                first is not None
                and first.category == step.from_
                and category == step.from_
                and change.days >= step.days
            ):
                category, rule = step.to, f"{rule}, {step.id}"
                because.append(step.words)
                break
    raised = rules.raised
    if raised is not None and facts.spiculated and category in raised.from_:
        because.append(f"{raised.words}, was {category}")
        category, rule = raised.to, f"{rule}, {raised.id}"
    because.append(f"mean diameter {facts.size_mm:g} mm")
    if facts.density == "part-solid":
        because.append(f"solid part {facts.solid_mm:g} mm")
    if change is not None:
        because.append(f"{change.kind} over {change.days} days")
    return Assessment(
        table=rules.table,
        edition=rules.edition,
        category=own(f"{rules.table.lower()[:9]}-{category}"[:16], f"{rules.table} {category}"),
        rule=rule,
        because=tuple(because),
        advice=rules.advice[category],
        missing=_missing(rules, facts, age_years),
    )


def _row(rules: Table, facts: Facts) -> Row | None:
    return next((row for row in rules.rows if _fits(row.when, facts)), None)


def _fits(when: When, facts: Facts) -> bool:
    return (
        (when.density is None or facts.density in when.density)
        and (when.status is None or facts.status in when.status)
        and _within(when.size, facts.size_mm)
        and _within(when.solid_part, facts.solid_mm)
        and (when.calcified is None or facts.calcified == when.calcified)
        and (when.several is None or facts.several == when.several)
    )


def _within(limits: Range | None, value: float | None) -> bool:
    if limits is None:
        return True
    low, high = limits
    return value is not None and value >= low and (high is None or value < high)


def _missing(rules: Table, facts: Facts, age_years: float | None) -> tuple[str, ...]:
    if rules.table == "Fleischner":
        asked = ["whether the nodule is incidental, without known cancer or immunosuppression", "low or high risk"]
        return tuple(asked if age_years is not None else [*asked, "the age: 35 years or more is assumed"])
    known = () if facts.status != "baseline" else ("earlier studies: it is taken as the first",)
    return ("whether this is a screening examination", *known)
