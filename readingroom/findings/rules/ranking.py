"""Which nodule of a study is the most suspicious by a table: it dominates, the study has its category."""

from collections.abc import Sequence

from readingroom.findings.codes import code
from readingroom.findings.model import Assessment, Code, Finding
from readingroom.findings.rules.facts import is_nodule, mean_diameter_mm
from readingroom.findings.rules.tables import FILES, NOT_APPLICABLE, UNDETERMINED, RuleTable, table


def dominant(findings: Sequence[Finding], study: Assessment) -> Finding | None:
    """Return the finding whose category the study's assessment by the same table took over.

    None where the study's category is no finding's: nothing found, category 0, the table does not apply.
    """
    rules = next(one for one in map(table, FILES) if one.table == study.table)
    worst = worst_of(rules, findings)
    own = stated(rules, worst) if worst is not None else None
    return worst if own is not None and (own.category, own.rule) == (study.category, study.rule) else None


def concept_of(one: Assessment) -> Code | None:
    """Return the coded name of the assessment's table; None for a table that is not ours."""
    rules = next((each for each in map(table, FILES) if (each.table, each.edition) == (one.table, one.edition)), None)
    return code(rules.concept) if rules is not None else None


def gives_category(one: Assessment) -> bool:
    """Whether the table applied and could place what it was asked about."""
    return one.category not in (NOT_APPLICABLE, UNDETERMINED)


def stated(rules: RuleTable, finding: Finding) -> Assessment | None:
    """Return what the finding says of itself by this table."""
    return next((one for one in finding.assessments if one.table == rules.table), None)


def worst_of(rules: RuleTable, findings: Sequence[Finding]) -> Finding | None:
    """Return the nodule of the most suspicious category, the largest of those; None where none has a category."""
    ranked = [
        ((rules.rank(key), mean_diameter_mm(finding) or 0.0), finding)
        for finding in findings
        if is_nodule(finding.code.value)
        and (one := stated(rules, finding))
        and (key := rules.category_of(one.category)) is not None
    ]
    return max(ranked, key=lambda pair: pair[0], default=(None, None))[1]
