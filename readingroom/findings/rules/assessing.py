"""From findings to categories: the facts are gathered, the first row of each table that holds fires and says why."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from pydantic import BaseModel, ConfigDict

from readingroom.findings.codes import code
from readingroom.findings.model import Assessment, Code, Earlier, Finding
from readingroom.findings.rules.facts import (
    Measured,
    characteristics_of,
    is_nodule,
    kind_of,
    mean_diameter_mm,
    rounded,
    solid_diameter_mm,
    whole_diameter_mm,
)
from readingroom.findings.rules.following import Prior, followed
from readingroom.findings.rules.growth import Growth, compare
from readingroom.findings.rules.ranking import stated, worst_of
from readingroom.findings.rules.tables import (
    NOT_APPLICABLE,
    UNDETERMINED,
    Facts,
    Kind,
    Row,
    RuleTable,
    Status,
    table,
)

YEAR_DAYS = 365.0
GROWTH_CODES = frozenset(code(name).value for name in ("diameter-change", "volume-change", "volume-doubling-time"))


class NoduleContext(BaseModel):
    """What the tables ask about the patient and the study. None: nobody said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    screening: bool | None = None
    """A lung cancer screening study (Lung-RADS) or an incidental nodule (Fleischner); None: both are given."""
    risk: Literal["low", "high"] | None = None
    age_years: float | None = None
    known_cancer: bool | None = None
    immunosuppressed: bool | None = None
    incomplete: bool = False
    """Part of the lungs can't be evaluated."""
    prior_awaited: bool = False
    """An earlier chest CT exists and is being looked for."""
    infection: bool = False
    """The radiologist suspects infection or inflammation."""


@dataclass(frozen=True)
class Assessed:
    """The findings with their assessments, and the assessments of the study as a whole."""

    findings: tuple[Finding, ...]
    study: tuple[Assessment, ...]


@dataclass(frozen=True)
class _Case:
    """One nodule as the tables see it: the facts, what they rest on and what had to be assumed."""

    facts: Facts
    because: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    unknown_kind: bool = False
    unknown_solid: bool = False


def assess(findings: Sequence[Finding], context: NoduleContext, priors: Sequence[Prior] = ()) -> Assessed:
    """Assess the nodules among ``findings`` by Lung-RADS 2022 and Fleischner 2017.

    ``priors``: earlier studies (``readers.contract.PriorReading``), followed first; without any, what the findings
    say they were ``earlier`` counts. Findings that are no nodule pass unchanged. See the package for an example.
    """
    tracked = followed(findings, priors) if priors else tuple(findings)
    nodules = [index for index, finding in enumerate(tracked) if is_nodule(finding.code.value)]
    measured = {index: _with_growth(tracked[index]) for index in nodules}
    given: dict[int, list[Assessment]] = {index: [] for index in nodules}
    judged: dict[int, Finding] = {}
    study = []
    for name in ("lung-rads", "fleischner"):
        rules = table(name)
        if why_not := _not_applicable(name, rules, context):
            study.append(_assessment(rules, None, "not-applicable", because=(why_not,)))
            continue
        unsaid = _unsaid(name, context)
        cases = {index: _case(name, rules, measured[index]) for index in nodules}
        number = sum(case.facts.kind not in ("benign", "juxtapleural") for case in cases.values())
        for index, case in cases.items():
            counted = replace(
                case, facts=case.facts.model_copy(update={"number": "multiple" if number > 1 else "single"})
            )
            given[index].append(_judge(rules, counted, context, unsaid))
        judged = {index: one.model_copy(update={"assessments": tuple(given[index])}) for index, one in measured.items()}
        study.append(_of_study(name, rules, tuple(judged.values()), context, unsaid))
    # Where no table applies, what an earlier call said goes.
    plain = {index: one.model_copy(update={"assessments": ()}) for index, one in measured.items()}
    done = tuple((plain | judged).get(index, finding) for index, finding in enumerate(tracked))
    return Assessed(done, tuple(study))


def assess_all(
    findings: Sequence[Finding], priors: Iterable[Prior] = (), age_years: float | None = None
) -> tuple[Finding, ...]:
    """Return what ``assess`` makes of each finding, for a reader that knows the age at most."""
    return assess(findings, NoduleContext(age_years=age_years), tuple(priors)).findings


def _with_growth(finding: Finding) -> Finding:
    """Return the finding with its change since the latest earlier study that shows it among its measurements."""
    plain = tuple(one for one in finding.measurements if one.code.value not in GROWTH_CODES)
    then = _seen(finding)
    change = compare(finding, then[0], then[0].days_before).measurements() if then else ()
    return finding.model_copy(update={"measurements": plain + change})


def _seen(finding: Finding) -> list[Earlier]:
    return [one for one in finding.earlier if one.found]


def _not_applicable(name: str, rules: RuleTable, context: NoduleContext) -> str:
    """Why the table does not apply to this patient or study; empty where it does."""
    if name == "lung-rads":
        if context.screening is False:
            return "Lung-RADS is for lung cancer screening; this study is not one."
        return "Lung-RADS is not for patients with a known cancer." if context.known_cancer else ""
    if context.screening:
        return "Fleischner 2017 is for incidental nodules; this is a screening study."
    youngest = rules.adults_from_years
    if youngest is not None and context.age_years is not None and context.age_years < youngest:
        return f"Fleischner 2017 is for patients of {youngest} years and more."
    if context.known_cancer:
        return "Fleischner 2017 is not for patients with a known cancer."
    if context.immunosuppressed:
        return "Fleischner 2017 is not for immunosuppressed patients."
    return ""


def _unsaid(name: str, context: NoduleContext) -> tuple[str, ...]:
    """What decides whether the table applies and which branch of it, and nobody said."""
    asked: dict[str, object] = {"whether this is a screening study": context.screening}
    asked["whether a cancer is known"] = context.known_cancer
    if name == "fleischner":
        asked["whether the patient is immunosuppressed"] = context.immunosuppressed
        asked["the patient's age"] = context.age_years
        asked["the patient's risk"] = context.risk
    return tuple(what for what, said in asked.items() if said is None)


def _case(name: str, rules: RuleTable, finding: Finding) -> _Case:
    said = characteristics_of(finding)
    kind = kind_of(said)
    mean, solid = mean_diameter_mm(finding), solid_diameter_mm(finding)
    because, missing, features = [], [], []
    facts = Facts(kind=kind or "solid", mean_mm=mean, whole_mm=whole_diameter_mm(finding), solid_mm=solid)
    if kind is None:
        because.append("Taken for solid, the most cautious: nobody said its density type")
        missing.append("density type (solid, part-solid, ground-glass)")
    unknown_solid = kind == "part-solid" and solid is None and name == "lung-rads"
    if unknown_solid:
        facts = facts.model_copy(update={"solid_mm": mean})
        because.append("Its solid part taken for as large as the whole, the most cautious: nobody measured it")
        missing.append("size of the solid part")
    if mean is not None:
        shown = facts.whole_mm if name == "fleischner" else mean
        because.append(f"Mean diameter {shown:g} mm" + (f", solid part {solid:g} mm" if solid is not None else ""))
    if said.get("spiculation") == "present":
        features.append("spiculated")
    if said.get("calcification") == "present":
        because.append("Calcified, which is benign only in a complete, central, popcorn or ring pattern: not judged")
        missing.append("pattern of the calcification")
    growths = [compare(finding, one, one.days_before) for one in _seen(finding)]
    if any(
        facts.kind == "ground-glass" and g.significant and (g.doubling_days or YEAR_DAYS + 1) <= YEAR_DAYS
        for g in growths
    ):
        features.append("ground-glass-doubled")
    if name == "lung-rads":
        facts, why, lacking = _over_time(rules, facts, finding, growths)
    else:
        why, lacking = _grown(rules, growths), ()
    return _Case(
        facts=facts,
        because=(*because, *why),
        missing=(*missing, *lacking),
        features=tuple(features),
        unknown_kind=kind is None,
        unknown_solid=unknown_solid,
    )


def _grown(rules: RuleTable, growths: Sequence[Growth]) -> tuple[str, ...]:
    """What a table about first detection should be told of growth."""
    return tuple(
        f"It grew. {growth.words()} The table is about nodules seen first: judge the growth by itself"
        for growth in growths[:1]
        if growth.diameter_mm is not None and growth.diameter_mm >= rules.growth.mm
    )


def _over_time(
    rules: RuleTable, facts: Facts, finding: Finding, growths: Sequence[Growth]
) -> tuple[Facts, tuple[str, ...], tuple[str, ...]]:
    """Return the facts with status and earlier category, why, and what is missing for that."""
    if not finding.earlier:
        return facts, ("No earlier study to compare with: judged as at baseline",), ("an earlier chest CT, if any",)
    seen = _seen(finding)
    if not seen:
        latest = finding.earlier[0]
        known = [one for one in finding.earlier if one.found is False]
        if not known:
            text = f"The study {latest.days_before} days before could not be laid over this one: judged as at baseline"
            return facts, (text,), (f"a match with the study {latest.days_before} days before",)
        text = f"New: not found in the study {known[0].days_before} days before"
        return facts.model_copy(update={"status": "new"}), (text,), ()
    if facts.mean_mm is None or mean_diameter_mm(seen[0]) is None:
        return facts, ("No sizes to compare: judged as at baseline",), ("mean diameter, now and then",)
    status, why = _status(rules, facts, finding, seen, growths)
    previous, how = _previous(rules, seen[0])
    by = "" if seen[0].matched_by == "tracking-uid" else " Matched by position: check it is the same nodule"
    words = growths[0].words() + by
    update = {"status": status, "previous": previous, "days": float(seen[0].days_before)}
    return facts.model_copy(update=update), (words, why, *how), ()


def _status(
    rules: RuleTable, facts: Facts, finding: Finding, seen: Sequence[Earlier], growths: Sequence[Growth]
) -> tuple[Status, str]:
    before = kind_of(characteristics_of(seen[0]))
    if before == "ground-glass" and facts.kind in ("solid", "part-solid"):
        return "growing", "A solid part is new since then"
    for growth in growths:
        by_solid = facts.kind == "part-solid" and growth.solid_mm is not None
        change = growth.solid_mm if by_solid else growth.diameter_mm
        if change is not None and change > _threshold(rules, growth.days):
            what = "Its solid part" if by_solid else "It"
            return "growing", f"{what} grew by {change:.1f} mm in {growth.days} days: more than 1.5 mm a year"
    over_time: list[Measured] = [finding, *seen]
    sizes = [size for one in over_time if (size := mean_diameter_mm(one)) is not None]
    steady = all(late >= early for late, early in pairwise(sizes))
    if len(sizes) > 2 and steady and rounded(sizes[0] - sizes[-1], 1) > rules.growth.mm:
        return "slow", f"Grew by {sizes[0] - sizes[-1]:.1f} mm over {len(sizes)} studies, never 1.5 mm within a year"
    then = _by_size(rules, facts, seen[0])
    now = rules.fires(facts.model_copy(update={"status": "baseline"}))
    if now and then and rules.rank(now.category) > rules.rank(then.category):
        return "baseline", "It crossed a size threshold without growing by definition: judged by its size"
    return "stable", "Stable or smaller"


def _threshold(rules: RuleTable, days: int) -> float:
    within = rules.growth.within_days
    return rules.growth.mm * max(1.0, days / within) if within else rules.growth.mm


def _by_size(rules: RuleTable, facts: Facts, then: Measured) -> Row | None:
    """The row its size then would fire at baseline, as the kind of nodule it is now."""
    solid = solid_diameter_mm(then)
    update = {"mean_mm": mean_diameter_mm(then), "solid_mm": solid if solid is not None else facts.solid_mm}
    return rules.fires(facts.model_copy(update={**update, "status": "baseline"}))


def _previous(rules: RuleTable, then: Earlier) -> tuple[str | None, tuple[str, ...]]:
    """Return the category of then, and how it was come by where it was not stated."""
    for one in then.assessments:
        if one.table == rules.table and (category := rules.category_of(one.category)):
            return category, (f"{rules.title} category then: {category}",)
    kind: Kind = kind_of(characteristics_of(then)) or "solid"
    mean, solid = mean_diameter_mm(then), solid_diameter_mm(then)
    row = rules.fires(Facts(kind=kind, mean_mm=mean, solid_mm=mean if solid is None else solid))
    if row is None:
        return None, ()
    return row.category, (f"{rules.title} category then, by its size: {row.category}",)


def _judge(rules: RuleTable, case: _Case, context: NoduleContext, unsaid: tuple[str, ...]) -> Assessment:
    """Return the assessment of one nodule."""
    if sentence := rules.not_classified.get(case.facts.kind):
        return _assessment(rules, None, "not-classified", because=(sentence, *case.because), missing=case.missing)
    row = rules.fires(case.facts)
    if row is None:
        return _assessment(
            rules, None, "undetermined", because=("No row fits what is known", *case.because),
            missing=("mean diameter", *case.missing), instead=UNDETERMINED,
        )  # fmt: skip
    category, rule, words = row.category, row.id, [row.words]
    if rules.upgrade and category in rules.upgrade.of:
        raised = [feature for feature in rules.upgrade.when if feature.fact in case.features]
        if raised:
            category, rule = rules.upgrade.to, raised[0].id
            words = [f"{row.words}: category {row.category}", *(f"Raised by: {one.words}" for one in raised)]
    because = [*words, *([row.remark] if row.remark else []), *case.because, *_branches(rules, case)]
    return _assessment(
        rules, category, rule, because=tuple(because), missing=(*case.missing, *unsaid),
        advice=_advice(rules, category, row, context),
    )  # fmt: skip


def _branches(rules: RuleTable, case: _Case) -> list[str]:
    """What the table would say if what is unknown were otherwise."""
    others: list[tuple[str, Mapping[str, object]]] = []
    if case.unknown_kind:
        others = [
            ("ground-glass", {"kind": "ground-glass"}),
            ("part-solid with hardly a solid part", {"kind": "part-solid", "solid_mm": 0.0}),
        ]
    elif case.unknown_solid:
        others = [("hardly solid", {"solid_mm": 0.0})]
    rows = [(what, rules.fires(case.facts.model_copy(update=dict(update)))) for what, update in others]
    return [f"Were it {what}: {rules.categories[row.category].meaning}" for what, row in rows if row]


def _advice(rules: RuleTable, category: str, row: Row, context: NoduleContext) -> str:
    if not row.low:
        return rules.categories[category].advice
    if context.risk is not None:
        return row.low if context.risk == "low" else row.high
    return row.low if row.low == row.high else f"Low risk: {row.low} High risk: {row.high}"


def _of_study(
    name: str, rules: RuleTable, findings: Sequence[Finding], context: NoduleContext, unsaid: tuple[str, ...]
) -> Assessment:
    """Return the assessment of the study: that of its most suspicious nodule, or category 0 where it is incomplete."""
    given = [one for finding in findings if (one := stated(rules, finding))]
    undetermined = sum(each.category == UNDETERMINED for each in given)
    missing = [f"the size of {undetermined} of {len(given)} nodules"] if undetermined else []
    reasons = [
        text
        for holds, text in (
            (context.incomplete, "Part of the lungs cannot be evaluated"),
            (context.prior_awaited, "An earlier chest CT is being looked for"),
            (context.infection, "Findings suggest infection or inflammation"),
        )
        if holds and name == "lung-rads"
    ]
    worst = worst_of(rules, findings)
    one = stated(rules, worst) if worst is not None else None
    if reasons and (one is None or rules.rank(rules.category_of(one.category) or "0") < rules.rank("0")):
        advice = rules.categories["0"].advice
        return _assessment(rules, "0", "incomplete", because=tuple(reasons), missing=tuple(missing), advice=advice)
    if one is not None:
        because = one.because if len(given) == 1 else (f"Most suspicious of {len(given)} nodules", *one.because)
        return one.model_copy(update={"because": because, "missing": (*missing, *one.missing)})
    if given:
        return _assessment(
            rules, None, "undetermined", because=("No nodule could be placed in the table",), instead=UNDETERMINED,
            missing=tuple(dict.fromkeys([*missing, *(what for each in given for what in each.missing)])),
        )  # fmt: skip
    row = rules.none_found
    return _assessment(
        rules, row.category, row.id, because=(row.words,), missing=unsaid, advice=rules.categories[row.category].advice
    )


def _assessment(
    rules: RuleTable,
    category: str | None,
    rule: str,
    *,
    because: tuple[str, ...],
    missing: tuple[str, ...] = (),
    advice: str = "",
    instead: Code = NOT_APPLICABLE,
) -> Assessment:
    """Return an assessment; ``instead``: what stands for the category where there is none."""
    return Assessment(
        table=rules.table,
        edition=rules.edition,
        category=instead if category is None else rules.categories[category].coded(),
        rule=rule,
        because=because,
        advice=advice,
        missing=missing,
    )
