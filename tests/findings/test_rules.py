"""Lung-RADS v2022 and Fleischner 2017 at every threshold, growth, and what is said when something is missing."""

from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from readingroom.findings.codes import code
from readingroom.findings.model import Assessment, Characteristic, Finding, Measurement, StudyPlace
from readingroom.findings.rules import assess_all, change_since, followed
from readingroom.findings.rules.tables import TABLES, Table, table


def nodule(density: str, size: float, solid: float | None = None, volume: float | None = None, **more: Any) -> Finding:
    present = [name for name in ("calcification", "spiculation") if more.pop(name, False)]
    sizes = {"diameter": size, "solid-part-diameter": solid}
    measured = [
        Measurement(code=code(n), value=v, unit=code("mm")) for n, v in sizes.items() if v is not None
    ]  # fmt: skip
    if volume is not None:
        measured.append(Measurement(code=code("volume"), value=volume, unit=code("mm3")))
    kinds = [Characteristic(concept=code("density-type"), value=code(density))]
    kinds += [Characteristic(concept=code(name), value=code("present")) for name in present]
    return Finding(
        id=more.pop("id", "n"), code=code("nodule"), place=StudyPlace(), measurements=tuple(measured),
        characteristics=tuple(kinds), tracking_uid=more.pop("tracking_uid", ""),
    )  # fmt: skip


def assessed(name: str, finding: Finding, *others: Finding, priors: Any = (), age: float | None = None) -> Assessment:
    made = assess_all([finding, *others], priors, age)[0].assessments
    (found,) = [a for a in made if a.table == name]
    return found


def category(name: str, finding: Finding, *others: Finding, priors: Any = ()) -> str:
    return assessed(name, finding, *others, priors=priors).category.meaning.removeprefix(f"{name} ")


def prior(*findings: Finding, days: int = 300) -> Any:
    return SimpleNamespace(days_before=days, findings=findings)


BASELINE = [
    ("solid", 5.9, None, "2"), ("solid", 6.0, None, "3"), ("solid", 7.9, None, "3"), ("solid", 8.0, None, "4A"),
    ("solid", 14.9, None, "4A"), ("solid", 15.0, None, "4B"),
    ("part-solid", 5.9, 2.0, "2"), ("part-solid", 6.0, 5.9, "3"), ("part-solid", 9.0, None, "3"),
    ("part-solid", 9.0, 6.0, "4A"), ("part-solid", 12.0, 7.9, "4A"), ("part-solid", 12.0, 8.0, "4B"),
    ("ground-glass", 29.9, None, "2"), ("ground-glass", 30.0, None, "3"),
]  # fmt: skip


@pytest.mark.parametrize(("density", "size", "solid", "wanted"), BASELINE)
def test_lung_rads_at_baseline(density: str, size: float, solid: float | None, wanted: str) -> None:
    assert category("Lung-RADS", nodule(density, size, solid)) == wanted


@pytest.mark.parametrize(
    ("density", "size", "solid", "wanted"),
    [
        ("solid", 3.9, None, "2"), ("solid", 4.0, None, "3"), ("solid", 5.9, None, "3"), ("solid", 6.0, None, "4A"),
        ("solid", 7.9, None, "4A"), ("solid", 8.0, None, "4B"),
        ("part-solid", 5.9, 1.0, "3"), ("part-solid", 7.0, 3.9, "4A"), ("part-solid", 7.0, 4.0, "4B"),
        ("ground-glass", 29.0, None, "2"), ("ground-glass", 30.0, None, "3"),
    ],
)  # fmt: skip
def test_lung_rads_when_new(density: str, size: float, solid: float | None, wanted: str) -> None:
    assert category("Lung-RADS", nodule(density, size, solid), priors=[prior()]) == wanted


@pytest.mark.parametrize(
    ("density", "before", "now", "solid", "wanted"),
    [
        ("solid", 5.0, 6.4, None, "3"), ("solid", 5.0, 7.0, None, "4A"), ("solid", 6.0, 8.0, None, "4B"),
        ("part-solid", 7.0, 9.0, 3.0, "4A"), ("part-solid", 7.0, 9.0, 4.0, "4B"),
        ("ground-glass", 28.0, 31.0, None, "2"),
    ],
)  # fmt: skip
def test_lung_rads_when_growing(density: str, before: float, now: float, solid: float | None, wanted: str) -> None:
    old = nodule(density, before, solid, tracking_uid="1.2")
    new = nodule(density, now, solid, tracking_uid="1.2")
    assert category("Lung-RADS", new, priors=[prior(old)]) == wanted


def test_lung_rads_steps_down_what_stays_and_up_what_is_spiculated() -> None:
    old, new = (nodule("solid", 9.0, tracking_uid="1.2") for _ in range(2))
    assert category("Lung-RADS", new, priors=[prior(old, days=30)]) == "4A"
    assert category("Lung-RADS", new, priors=[prior(old, days=95)]) == "3"
    old, new = (nodule("solid", 7.0, tracking_uid="1.2") for _ in range(2))
    assert category("Lung-RADS", new, priors=[prior(old, days=95)]) == "3"
    assert category("Lung-RADS", new, priors=[prior(old, days=200)]) == "2"
    found = assessed("Lung-RADS", nodule("solid", 9.0, spiculation=True))
    assert found.category.meaning == "Lung-RADS 4X"
    assert found.rule == "solid-4a-baseline, spiculated"
    assert any("was 4A" in fact for fact in found.because)
    assert category("Lung-RADS", nodule("solid", 5.0, spiculation=True)) == "2"
    assert category("Lung-RADS", nodule("solid", 20.0, calcification=True)) == "1"


@pytest.mark.parametrize(
    ("density", "size", "several", "wanted"),
    [
        ("solid", 5.4, False, "none"), ("solid", 5.5, False, "ct-6-12"), ("solid", 8.4, False, "ct-6-12"),
        ("solid", 8.5, False, "ct-3-pet"), ("solid", 5.4, True, "none"), ("solid", 6.0, True, "ct-3-6"),
        ("solid", 12.0, True, "ct-3-6"),
        ("ground-glass", 5.0, False, "no-follow-up"), ("ground-glass", 6.0, False, "ct-ground-glass"),
        ("part-solid", 5.0, False, "no-follow-up"), ("part-solid", 6.0, False, "ct-part-solid"),
        ("ground-glass", 5.0, True, "ct-subsolid-small"), ("part-solid", 6.0, True, "ct-subsolid"),
    ],
)  # fmt: skip
def test_fleischner(density: str, size: float, several: bool, wanted: str) -> None:
    others = [nodule("solid", 4.0, id="other")] if several else []
    found = assessed("Fleischner", nodule(density, size), *others)
    assert found.category.meaning == f"Fleischner {wanted}"
    assert found.advice == table("fleischner_2017").advice[wanted]
    assert "low or high risk" in found.missing


def test_fleischner_is_not_for_the_young_and_nothing_is_said_of_an_unknown_density() -> None:
    young = assess_all([nodule("solid", 9.0)], age_years=30)[0].assessments
    assert [a.table for a in young] == ["Lung-RADS"]
    bare = nodule("solid", 9.0).model_copy(update={"characteristics": ()})
    assert assess_all([bare])[0].assessments == ()


def test_what_rests_on_an_assumption_says_so() -> None:
    assert any("earlier studies" in fact for fact in assessed("Lung-RADS", nodule("solid", 9.0)).missing)
    assert not any("earlier" in fact for fact in assessed("Lung-RADS", nodule("solid", 9.0), priors=[prior()]).missing)


def test_doubling_time_is_schwartz_and_error_is_no_growth() -> None:
    old, new = nodule("solid", 6.0, volume=100.0), nodule("solid", 7.6, volume=200.0)
    change = change_since(old, new, 120)
    assert change is not None
    assert (change.kind, change.doubling_days) == ("growing", pytest.approx(120))
    small = change_since(old, nodule("solid", 6.3, volume=124.0), 120)
    assert small is not None
    assert (small.kind, small.doubling_days) == ("stable", None)
    smaller = change_since(new, old, 120)
    assert smaller is not None
    assert smaller.kind == "shrinking"
    tracked = [f.model_copy(update={"tracking_uid": "1.2"}) for f in (old, new)]
    made = assess_all([tracked[1]], [prior(tracked[0], days=120)])[0]
    assert [m.value for m in made.measurements if m.code == code("volume-doubling-time")] == [120]
    again = assess_all([made], [prior(tracked[0], days=120)])[0]
    assert again == made, "applying the rules twice changes nothing"


def test_the_latest_earlier_reading_that_has_the_lesion_is_taken() -> None:
    now = nodule("solid", 8.0, tracking_uid="1.2")
    late, early = prior(nodule("solid", 7.0), days=90), prior(nodule("solid", 6.0, tracking_uid="1.2"), days=400)
    assert followed([now], [early, late])["n"][1] == 400
    assert followed([nodule("solid", 8.0)], [early]) == {}


def test_every_size_of_every_density_gets_a_category() -> None:
    """No gap in either table, whatever the status."""
    for density in ("solid", "part-solid", "ground-glass"):
        for tenths in range(10, 400):
            size = tenths / 10
            for solid in (None, 1.0, 4.0, 6.0, 8.0):
                one = nodule(density, size, solid if density == "part-solid" else None, tracking_uid="1.2")
                smaller = nodule(density, max(1.0, size - 3), tracking_uid="1.2")
                for priors in ((), [prior()], [prior(one)], [prior(smaller)]):
                    assert len(assess_all([one], priors)[0].assessments) == len(TABLES), (density, size, solid)


def test_a_table_with_a_category_without_advice_is_refused() -> None:
    whole = table("lung_rads_2022").model_dump(by_alias=True)
    with pytest.raises(ValidationError, match="advice"):
        Table.model_validate(whole | {"advice": {}})
