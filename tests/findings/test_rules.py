"""Each row of Lung-RADS 2022 and Fleischner 2017, what is missing, and where a table does not apply."""

import itertools

import pytest
from findings.rules_support import Before, lung_rads, nodule

from readingroom.core.errors import BadInput
from readingroom.findings.codes import code
from readingroom.findings.model import Axis, Finding
from readingroom.findings.rules import (
    NOT_APPLICABLE,
    UNDETERMINED,
    NoduleContext,
    assess,
    assess_all,
    characteristic,
    characteristics_of,
    mean_diameter_mm,
    table,
    whole_diameter_mm,
)
from readingroom.findings.rules.tables import Facts, parse

SCREENING = NoduleContext(screening=True, known_cancer=False)
INCIDENTAL = NoduleContext(screening=False, known_cancer=False, immunosuppressed=False, age_years=60, risk="low")
CENTRAL = nodule("", 6.0, airway="airway-central")
SUBSEGMENTAL = nodule("", 6.0, airway="airway-subsegmental")
MULTILOCULAR = nodule("", 12.0, cyst="cyst-multilocular")
SMOOTH = {"attachment": "juxtapleural", "margins": "smooth", "shape": "triangular"}


def category(finding: Finding, *priors: Before, context: NoduleContext = SCREENING) -> tuple[str, str]:
    (one,) = assess([finding], context, priors).findings[0].assessments
    return one.category.meaning.removeprefix("Lung-RADS ").split(":")[0], one.rule


@pytest.mark.parametrize(
    ("finding", "expected"),
    [
        (nodule("solid", 5.9), ("2", "solid-baseline-below-6")),
        (nodule("solid", 6.0), ("3", "solid-baseline-6")),
        (nodule("solid", 7.9), ("3", "solid-baseline-6")),
        (nodule("solid", 8.0), ("4A", "solid-baseline-8")),
        (nodule("solid", 14.9), ("4A", "solid-baseline-8")),
        (nodule("solid", 15.0), ("4B", "solid-baseline-15")),
        (nodule("part-solid", 5.9, solid=3.0), ("2", "part-solid-baseline-below-6")),
        (nodule("part-solid", 6.0, solid=5.9), ("3", "part-solid-baseline-solid-below-6")),
        (nodule("part-solid", 12.0, solid=6.0), ("4A", "part-solid-baseline-6")),
        (nodule("part-solid", 12.0, solid=7.9), ("4A", "part-solid-baseline-6")),
        (nodule("part-solid", 12.0, solid=8.0), ("4B", "part-solid-8")),
        (nodule("ground-glass", 29.9), ("2", "ground-glass-below-30")),
        (nodule("ground-glass", 30.0), ("3", "ground-glass-30")),
        (nodule("solid", 12.0, calcification="benign-calcification"), ("1", "benign-features")),
        (nodule("solid", 12.0, content="fat"), ("1", "benign-features")),
        (nodule("solid", 12.0, calcification="present"), ("4A", "solid-baseline-8")),
        (nodule("solid", 9.9, **SMOOTH), ("2", "juxtapleural")),
        (nodule("solid", 10.0, **SMOOTH), ("4A", "solid-baseline-8")),
        (nodule("solid", 9.9, **SMOOTH | {"shape": "round"}), ("4A", "solid-baseline-8")),
        (nodule("solid", 9.9, **SMOOTH | {"attachment": "perivascular"}), ("4A", "solid-baseline-8")),
        (nodule("solid", 5.0, airway="airway-subsegmental"), ("2", "airway-subsegmental")),
        (nodule("solid", 5.0, airway="airway-central"), ("4A", "airway-central")),
        (nodule("", 12.0, cyst="cyst-thick"), ("4A", "cyst-thick")),
        (nodule("", 12.0, cyst="cyst-multilocular"), ("4A", "cyst-multilocular")),
        (nodule("solid", 6.5, spiculation="present"), ("4X", "4X-spiculated")),
        (nodule("solid", 5.0, spiculation="present"), ("2", "solid-baseline-below-6")),
    ],
)
def test_lung_rads_at_baseline(finding: Finding, expected: tuple[str, str]) -> None:
    assert category(finding) == expected


@pytest.mark.parametrize(
    ("finding", "expected"),
    [
        (nodule("solid", 3.9), ("2", "solid-new-below-4")),
        (nodule("solid", 4.0), ("3", "solid-new-4")),
        (nodule("solid", 6.0), ("4A", "solid-new-6")),
        (nodule("solid", 8.0), ("4B", "solid-new-or-growing-8")),
        (nodule("part-solid", 5.9, solid=2.0), ("3", "part-solid-new-below-6")),
        (nodule("part-solid", 9.0, solid=3.9), ("4A", "part-solid-new-below-4")),
        (nodule("part-solid", 9.0, solid=4.0), ("4B", "part-solid-new-4")),
        (nodule("ground-glass", 20.0), ("2", "ground-glass-below-30")),
        (nodule("ground-glass", 31.0), ("3", "ground-glass-30")),
        (nodule("solid", 9.0, **SMOOTH), ("2", "juxtapleural")),
        (nodule("solid", 9.0, airway="airway-central"), ("4A", "airway-central")),
    ],
)
def test_lung_rads_of_what_is_new(finding: Finding, expected: tuple[str, str]) -> None:
    assert category(finding, Before(365, ())) == expected


@pytest.mark.parametrize(
    ("now", "then", "days", "expected"),
    [
        # Growth: more than 1.5 mm within 12 months.
        (nodule("solid", 6.6), nodule("solid", 5.0), 365, ("4A", "solid-growing-below-8")),
        (nodule("solid", 5.5), nodule("solid", 4.0), 365, ("2", "stable-2")),
        (nodule("solid", 9.6), nodule("solid", 8.0), 90, ("4B", "solid-new-or-growing-8")),
        (nodule("part-solid", 9.0, solid=3.5), nodule("part-solid", 9.0, solid=1.5), 90,
         ("4A", "part-solid-new-below-4")),
        (nodule("part-solid", 9.0, solid=5.0), nodule("part-solid", 9.0, solid=3.0), 180, ("4B", "part-solid-new-4")),
        (nodule("part-solid", 9.0, solid=3.0), nodule("ground-glass", 9.0), 365, ("4A", "part-solid-new-below-4")),
        (nodule("solid", 9.0), nodule("ground-glass", 9.0), 365, ("4B", "solid-new-or-growing-8")),
        (nodule("ground-glass", 25.0), nodule("ground-glass", 22.0), 365, ("2", "ground-glass-below-30")),
        (nodule("ground-glass", 32.0), nodule("ground-glass", 31.8), 365, ("2", "stable-3")),
        (nodule("ground-glass", 32.0), nodule("ground-glass", 31.8), 60, ("2", "ground-glass-30-stable")),
        (nodule("ground-glass", 34.0), nodule("ground-glass", 31.0), 365, ("3", "ground-glass-30-growing")),
        (nodule("ground-glass", 40.0), nodule("ground-glass", 31.0), 300, ("4X", "4X-ground-glass-doubled")),
        # The same 2 mm over two years is no growth by definition; a threshold crossed counts by size.
        (nodule("solid", 7.5), nodule("solid", 5.5), 730, ("3", "solid-baseline-6")),
        (nodule("solid", 8.1), nodule("solid", 7.5), 180, ("4A", "solid-baseline-8")),
        # Stepped management.
        (nodule("solid", 7.0), nodule("solid", 7.0, category="3"), 183, ("2", "stable-3")),
        (nodule("solid", 7.0), nodule("solid", 7.0), 183, ("2", "stable-3")),
        (nodule("solid", 7.0), nodule("solid", 7.0, category="3"), 60, ("3", "solid-baseline-6")),
        (nodule("solid", 9.0), nodule("solid", 9.2, category="4A"), 91, ("3", "stable-4A")),
        (nodule("solid", 9.0), nodule("solid", 9.0, category="4A"), 30, ("4A", "solid-baseline-8")),
        (nodule("solid", 9.0), nodule("solid", 9.0, category="3"), 183, ("2", "stable-3")),
        (nodule("solid", 7.0), nodule("solid", 7.0, category="2"), 365, ("2", "stable-2")),
        (nodule("solid", 16.0), nodule("solid", 16.0, category="4B"), 91, ("4B", "stable-4B")),
        (nodule("part-solid", 9.0, solid=3.0), nodule("part-solid", 9.0, solid=3.0), 183, ("2", "stable-3")),
        # Airways and cysts.
        (CENTRAL, CENTRAL, 91, ("4B", "airway-central-persistent")),
        (SUBSEGMENTAL, SUBSEGMENTAL, 91, ("2", "airway-subsegmental")),
        (nodule("", 15.0, cyst="cyst-thick"), nodule("", 12.0, cyst="cyst-thick"), 365, ("3", "cyst-thick-growing")),
        (nodule("", 15.0, cyst="cyst-multilocular"), MULTILOCULAR, 365, ("4B", "cyst-multilocular-growing")),
        (MULTILOCULAR, nodule("", 12.0, cyst="cyst-thin"), 365, ("4A", "cyst-multilocular")),
    ],
)  # fmt: skip
def test_lung_rads_against_an_earlier_study(now: Finding, then: Finding, days: int, expected: tuple[str, str]) -> None:
    assert category(now, Before(days, (then,))) == expected


@pytest.mark.parametrize(
    ("texture", "sizes", "expected"),
    [
        ("solid", (7.4, 6.6, 5.8), ("4B", "slow-solid")),
        ("ground-glass", (33.4, 32.6, 31.8), ("2", "slow-ground-glass")),
        ("solid", (7.4, 7.6, 5.8), ("3", "solid-baseline-6")),
    ],
)
def test_slow_growth_needs_several_studies(
    texture: str, sizes: tuple[float, float, float], expected: tuple[str, str]
) -> None:
    now, last, first = (nodule(texture, size) for size in sizes)
    if expected[1] == "solid-baseline-6":
        last = nodule(texture, 5.9)
        first = nodule(texture, 7.0)
    assert category(now, Before(365, (last,)), Before(730, (first,))) == expected


def test_every_nodule_gets_exactly_one_row() -> None:
    rules = table("lung-rads")
    kinds = ("solid", "part-solid", "ground-glass", "benign", "juxtapleural", "airway-subsegmental", "airway-central",
             "cyst-thick", "cyst-multilocular")  # fmt: skip
    for kind, status, size, share, previous, days in itertools.product(
        kinds, ("baseline", "new", "growing", "slow", "stable"), (2.0, 5.0, 6.0, 9.0, 14.9, 31.0), (0.0, 0.5, 1.0),
        (None, *rules.order), (30.0, 400.0),
    ):  # fmt: skip
        facts = Facts(kind=kind, status=status, mean_mm=size, solid_mm=size * share, previous=previous, days=days)
        assert rules.fires(facts) is not None, facts


@pytest.mark.parametrize(
    ("sizes", "texture", "expected", "advice"),
    [
        ((5.4,), "solid", "solid-single-below-6", "No routine"),
        ((5.5,), "solid", "solid-single-6-8", "6 to 12 months, then consider"),
        ((8.4,), "solid", "solid-single-6-8", "6 to 12 months"),
        ((8.5,), "solid", "solid-single-over-8", "PET/CT"),
        ((5.4, 3), "solid", "solid-multiple-below-6", "No routine"),
        ((8.0, 3), "solid", "solid-multiple-6-8", "3 to 6 months, then consider"),
        ((9.0, 3), "solid", "solid-multiple-over-8", "3 to 6 months, then consider"),
        ((5.0,), "ground-glass", "ground-glass-single-below-6", "No routine"),
        ((6.0,), "ground-glass", "ground-glass-single-6", "every 2 years until 5"),
        ((5.0,), "part-solid", "part-solid-single-below-6", "No routine"),
        ((6.0,), "part-solid", "part-solid-single-6", "every year for 5 years"),
        ((5.0, 3), "ground-glass", "subsolid-multiple-below-6", "2 and 4 years"),
        ((6.0, 3), "part-solid", "subsolid-multiple-6", "most suspicious"),
    ],
)
def test_fleischner(sizes: tuple[float, ...], texture: str, expected: str, advice: str) -> None:
    findings = [nodule(texture, size, at=(50.0, 20.0, -90.0 * n)) for n, size in enumerate(sizes)]
    done = assess(findings, INCIDENTAL)
    (one,) = done.findings[0].assessments
    assert (one.table, one.edition, one.rule) == ("Fleischner", "2017", expected)
    assert advice in one.advice
    of_study = next(a for a in done.study if a.table == "Fleischner")
    assert of_study.rule == expected


def test_fleischner_high_risk_and_unknown_risk() -> None:
    small = nodule("solid", 5.0)
    high = assess([small], INCIDENTAL.model_copy(update={"risk": "high"})).findings[0].assessments[0]
    assert high.advice == "Optional CT at 12 months."
    unknown = assess([small], INCIDENTAL.model_copy(update={"risk": None})).findings[0].assessments[0]
    assert unknown.advice == "Low risk: No routine follow-up. High risk: Optional CT at 12 months."
    assert "the patient's risk" in unknown.missing


def test_benign_and_lymph_node_are_not_counted_as_nodules() -> None:
    others = [nodule("solid", 9.0, **SMOOTH), nodule("solid", 12.0, content="fat", at=(1.0, 2.0, 3.0))]
    done = assess([nodule("solid", 6.0, at=(9.0, 9.0, 9.0)), *others], INCIDENTAL)
    assert [f.assessments[0].rule for f in done.findings] == ["solid-single-6-8", "lymph-node", "benign"]


@pytest.mark.parametrize(
    ("context", "name", "words"),
    [
        (INCIDENTAL, "Lung-RADS", "not one"),
        (NoduleContext(known_cancer=True), "Lung-RADS", "known cancer"),
        (NoduleContext(known_cancer=True), "Fleischner", "known cancer"),
        (NoduleContext(screening=True), "Fleischner", "screening"),
        (NoduleContext(age_years=34.9), "Fleischner", "35 years"),
        (NoduleContext(immunosuppressed=True), "Fleischner", "immunosuppressed"),
    ],
)
def test_not_applicable_says_why(context: NoduleContext, name: str, words: str) -> None:
    done = assess([nodule("solid", 6.0)], context)
    one = next(a for a in done.study if a.table == name)
    assert one.category == NOT_APPLICABLE
    assert words in one.because[0]
    assert name not in {a.table for a in done.findings[0].assessments}


def test_nobody_said_what_the_study_is_for_so_both_tables_answer() -> None:
    done = assess([nodule("solid", 6.0)], NoduleContext())
    assert [a.table for a in done.findings[0].assessments] == ["Lung-RADS", "Fleischner"]
    assert all("whether this is a screening study" in a.missing for a in done.findings[0].assessments)


def test_unknown_texture_is_taken_for_solid_and_said() -> None:
    (one,) = assess([nodule("", 9.0)], SCREENING).findings[0].assessments
    assert one.rule == "solid-baseline-8"
    assert "density type (solid, part-solid, ground-glass)" in one.missing
    assert "Were it ground-glass: Lung-RADS 2: benign" in one.because


def test_unknown_solid_part_is_taken_for_the_whole_and_said() -> None:
    (one,) = assess([nodule("part-solid", 9.0)], SCREENING).findings[0].assessments
    assert one.rule == "part-solid-8"
    assert "size of the solid part" in one.missing
    assert "Were it hardly solid: Lung-RADS 3: probably benign" in one.because


def test_no_size_is_undetermined_and_what_is_missing_is_named() -> None:
    done = assess([nodule("solid")], SCREENING)
    assert done.findings[0].assessments[0].category == UNDETERMINED
    assert "mean diameter" in done.study[0].missing


def test_a_thin_walled_cyst_is_not_classified() -> None:
    (one,) = assess([nodule("", 12.0, cyst="cyst-thin")], SCREENING).findings[0].assessments
    assert one.category == NOT_APPLICABLE
    assert "thin-walled" in one.because[0]


def test_study_has_the_category_of_its_most_suspicious_nodule() -> None:
    findings = [nodule("solid", 5.0), nodule("solid", 9.0, at=(0.0, 0.0, 0.0)), nodule("ground-glass", 20.0)]
    study = assess(findings, SCREENING).study[0]
    assert study.rule == "solid-baseline-8"
    assert study.because[0] == "Most suspicious of 3 nodules"
    assert assess([], SCREENING).study[0].rule == "no-nodule"


@pytest.mark.parametrize("what", ["incomplete", "prior_awaited", "infection"])
def test_category_0_unless_a_nodule_counts_more(what: str) -> None:
    context = SCREENING.model_copy(update={what: True})
    assert assess([nodule("solid", 6.0)], context).study[0].category.meaning.startswith("Lung-RADS 0")
    assert assess([nodule("solid", 9.0)], context).study[0].category.meaning.startswith("Lung-RADS 4A")


def test_other_findings_pass_unchanged() -> None:
    other = nodule("solid", 9.0).model_copy(update={"code": code("volume")})
    done = assess([other], SCREENING)
    assert done.findings == (other,)
    assert done.study[0].rule == "no-nodule"


def test_diameters_are_rounded_as_each_standard_says() -> None:
    assert mean_diameter_mm(nodule("solid", 6.04, 5.86)) == 6.0
    assert mean_diameter_mm(nodule("solid", 6.0, 5.9)) == 6.0
    assert whole_diameter_mm(nodule("solid", 6.0, 4.98)) == 5.0
    assert whole_diameter_mm(nodule("solid", 6.0, 5.0)) == 6.0
    drawn = nodule("solid", 20.0).model_copy(
        update={
            "axes": (
                Axis(role="long", start_lps_mm=(0, 0, 0), end_lps_mm=(8, 0, 0)),
                Axis(role="short", start_lps_mm=(0, 0, 0), end_lps_mm=(0, 5, 0)),
            )
        }
    )
    assert mean_diameter_mm(drawn) == 6.5


def test_characteristics_by_short_name_and_only_likely_ones() -> None:
    finding = nodule("", 5.0).model_copy(
        update={
            "characteristics": (
                characteristic("density-type", "solid", 0.3),
                characteristic("density-type", "ground-glass", 0.6),
                characteristic("spiculation", "present", 0.49),
            )
        }
    )
    assert characteristics_of(finding) == {"density-type": "ground-glass"}
    with pytest.raises(BadInput, match="cannot be"):
        characteristic("density-type", "hard")


@pytest.mark.parametrize(
    "damage",
    [
        ('category: "3"', 'category: "7"'),
        ("id: solid-new-4", "id: solid-new-6"),
        ("mm: 1.5", "mm: -1"),
        ("rows:", "rowz:"),
    ],
)
def test_a_damaged_table_is_refused(damage: tuple[str, str]) -> None:
    from importlib import resources

    text = resources.files("readingroom.findings.rules").joinpath("lung_rads_2022.yaml").read_text("utf-8")
    assert parse(text).edition == "2022"
    assert damage[0] in text
    with pytest.raises(BadInput, match="rule table"):
        parse(text.replace(damage[0], damage[1], 1))


def test_tables_say_where_they_come_from() -> None:
    for name in ("lung-rads", "fleischner"):
        rules = table(name)
        assert "doi:10." in rules.citation
        assert not rules.verified
        assert "opened here" in rules.read_from
        assert len({one.code for one in rules.categories.values()}) == len(rules.categories)


def test_what_was_said_then_counts_before_what_its_size_says() -> None:
    then = nodule("solid", 7.0).model_copy(update={"assessments": (lung_rads("2"),)})
    assert category(nodule("solid", 7.0), Before(60, (then,))) == ("2", "stable-2")


def test_calcified_of_unknown_pattern_is_not_taken_for_benign() -> None:
    (one,) = assess([nodule("solid", 20.0, calcification="present")], SCREENING).findings[0].assessments
    assert one.rule == "solid-baseline-15"
    assert "pattern of the calcification" in one.missing


def test_assess_all_gives_the_findings_of_assess_and_twice_is_once() -> None:
    priors = [Before(365, (nodule("solid", 7.0, tracking="2.25.1", volume=180.0),))]
    made = assess_all([nodule("solid", 9.0, tracking="2.25.1", volume=380.0)], priors, 60.0)
    now = nodule("solid", 9.0, tracking="2.25.1", volume=380.0)
    assert made == assess([now], NoduleContext(age_years=60.0), priors).findings
    assert assess_all(made, priors, 60.0) == made
    assert [a.table for a in assess_all([nodule("solid", 9.0)], age_years=30)[0].assessments] == ["Lung-RADS"]
