"""Categories by published tables, worked out on the server from what people stand behind, beside what readers said."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from readingroom.archive.tables import Patient, Series, Study, StudyRevision
from readingroom.core.database import Database
from readingroom.core.errors import BadInput, Conflict
from readingroom.findings.codes import code
from readingroom.findings.model import Axis, Earlier, Finding, Measurement, PatientPlace, Reading
from readingroom.findings.rules import NoduleContext, assess, characteristic
from readingroom.objects.content import Person, StudyAssessment
from readingroom.readers.tables import ReadingRow
from readingroom.report import service
from readingroom.review.model import PatientContext, VerdictInput
from readingroom.review.model import Study as StudyPage
from readingroom.review.report_inputs import report_inputs
from readingroom.review.study_view import study_view
from readingroom.review.verdicts import give

SERIES = "1.2.3.5"


def axes(millimetres: float, z: float = 0.0) -> tuple[Axis, ...]:
    return (
        Axis(role="long", start_lps_mm=(50, 0, z), end_lps_mm=(50 + millimetres, 0, z)),
        Axis(role="short", start_lps_mm=(50, 0, z), end_lps_mm=(50, millimetres, z)),
    )


def nodule(name: str, millimetres: float, z: float = 0.0, **changes: Any) -> Finding:
    values: dict[str, Any] = {
        "id": name,
        "code": code("nodule"),
        "site": code("lung"),
        "probability": 0.8,
        "place": PatientPlace(frame_of_reference_uid="1.2.3.4", position_lps_mm=(50.0, 0.0, z)),
        "series_instance_uid": SERIES,
        "axes": axes(millimetres, z),
        "characteristics": (characteristic("density-type", "solid", 0.9),),
    }
    return Finding(**(values | changes))


def earlier(millimetres: float) -> tuple[Earlier, ...]:
    sizes = tuple(
        Measurement(code=code(name), value=millimetres, unit=code("mm")) for name in ("long-axis", "short-axis")
    )
    solid = (characteristic("density-type", "solid"),)
    return (Earlier(days_before=90, found=True, matched_by="position", measurements=sizes, characteristics=solid),)


class Table:
    """A study that one reader read, judged by a radiologist."""

    def __init__(self, database: Database, *findings: Finding, modality: str = "CT", partial: str = "") -> None:
        self.database = database
        # As a reader does it: the rules, over all that it found.
        done = assess(findings, NoduleContext(age_years=60.0))
        body = Reading(reader="tiny", version="1", state="found", findings=done.findings, assessments=done.study)
        with database.write() as session:
            patient = Patient(PatientID="P", PatientName="Doe^Jane", PatientBirthDate="19600101")
            session.add(patient)
            session.flush()
            study = Study(
                patient_pk=patient.id, StudyInstanceUID="1.2.3", StudyDate="20200101", revision=1, state="read"
            )
            session.add(study)
            session.flush()
            self.study_id = study.id
            session.add(Series(study_id=study.id, SeriesInstanceUID=SERIES, Modality=modality))
            session.add(StudyRevision(study_id=study.id, number=1, digest="", instances=[], partial=partial))
            row = ReadingRow(study_id=study.id, revision=1, reader="tiny", version="1", state="found")
            row.card_title, row.body = "Tiny nodules", body.model_dump(mode="json")
            session.add(row)

    def judge(self, kind: str, finding: str = "", **more: Any) -> StudyPage:
        with self.database.write() as session:
            verdict = VerdictInput(kind=kind, finding_id=finding, revision=1, **more)  # type: ignore[arg-type]
            give(session, self.study_id, verdict, "rada")
        return self.page()

    def page(self) -> StudyPage:
        with self.database.read() as session:
            return study_view(session, self.study_id, [])

    def report(self) -> Any:
        with self.database.write() as session:
            inputs = report_inputs(session, study_of(session))
            return service.body_of(service.get_or_draft(session, self.study_id, inputs))


def study_of(session: Session) -> Study:
    return session.scalars(select(Study)).one()


@pytest.fixture
def table(database: Database) -> Callable[..., Table]:
    return lambda *findings, **more: Table(database, *findings, **more)


def lung_rads(page: StudyPage) -> StudyAssessment:
    return next(one for one in page.assessments if one.table == "Lung-RADS")


def category(page: StudyPage) -> str:
    stated = lung_rads(page).stated
    return stated.category.value if stated else ""


def test_nothing_is_stated_before_anything_is_accepted(table: Callable[..., Table]) -> None:
    page = table(nodule("A", 9.0)).page()
    one = lung_rads(page)
    assert one.stated is None
    assert one.unjudged == 1
    assert [said.assessment.category.value for said in one.readers] == ["LungRADS-4A"]
    (view,) = page.findings
    assert view.finding.assessments == view.said != ()


def test_rejecting_the_worst_lowers_the_category_and_the_reader_s_stays_to_be_seen(
    table: Callable[..., Table],
) -> None:
    house = table(nodule("A", 16.0), nodule("B", 7.0, z=40.0))
    house.judge("accept", "A")
    page = house.judge("accept", "B")
    assert category(page) == "LungRADS-4B"
    assert lung_rads(page).dominant == "A"
    assert lung_rads(page).differing() == ()
    assert "Dominant: nodule in the lung, 16 x 16 mm (mean 16 mm)" in house.report().sections.findings
    page = house.judge("reject", "A", reason_code="vessel")
    one = lung_rads(page)
    assert category(page) == "LungRADS-3"
    assert one.dominant == "B"
    assert [said.assessment.category.value for said in one.differing()] == ["LungRADS-4B"]
    body = house.report()
    assert "Lung-RADS 3" in body.sections.impression
    assert "4B" not in body.sections.impression
    assert "Tiny nodules 1 said otherwise: Lung-RADS 4B: very suspicious" in body.sections.findings


def test_the_sentence_goes_when_no_finding_supports_it(table: Callable[..., Table]) -> None:
    house = table(nodule("A", 9.0))
    house.judge("accept", "A")
    assert "Lung-RADS 4A" in house.report().sections.impression
    page = house.judge("reject", "A", reason_code="vessel")
    assert lung_rads(page).stated is None
    body = house.report()
    assert "Lung-RADS" not in body.sections.findings + body.sections.impression
    # Only a person's own word makes it a negative.
    page = house.judge("no-further-findings")
    assert category(page) == "LungRADS-1"
    assert "Lung-RADS 1: negative" in house.report().sections.impression


def test_an_unjudged_nodule_is_no_negative_and_is_said_not_to_count(table: Callable[..., Table]) -> None:
    house = table(nodule("A", 16.0), nodule("B", 7.0, z=40.0))
    assert lung_rads(house.judge("no-further-findings")).stated is None
    page = house.judge("accept", "B")
    assert lung_rads(page).unjudged == 1
    assert "Nodules that nobody has judged do not count in it: 1." in house.report().sections.findings


def test_an_edit_is_assessed_by_its_own_size(table: Callable[..., Table]) -> None:
    volume = Measurement(code=code("volume"), value=380.0, unit=code("mm3"))
    house = table(nodule("A", 9.0, segment="s", earlier=earlier(7.0), measurements=(volume,)))
    page = house.judge("accept", "A")
    assert category(page) == "LungRADS-4B"
    (view,) = page.findings
    change = {one.code.value: one.value for one in view.finding.measurements}
    assert change["diameter-change"] == 2.0
    assert change["doubling-time"] > 0
    assert "doubling time" in house.report().sections.findings
    after = view.finding.model_copy(update={"axes": axes(7.0)})
    page = house.judge("edit", "A", after=after)
    (view,) = page.findings
    assert view.finding.assessments[0].category.value == "LungRADS-3", "7 mm, as it was 90 days before"
    assert view.said[0].category.value == "LungRADS-4B"
    change = {one.code.value: one.value for one in view.finding.measurements}
    assert change["diameter-change"] == 0.0
    assert "doubling-time" not in change
    assert code("volume").value not in change, "the outline it was measured from is gone"


def test_a_comment_does_not_take_the_outline_away(table: Callable[..., Table]) -> None:
    house = table(nodule("A", 9.0, segment="s", earlier=earlier(7.0)))
    shown = house.judge("accept", "A").findings[0].finding
    page = house.judge("edit", "A", after=shown.model_copy(update={"comment": "as before"}))
    assert page.findings[0].finding.segment == "s"


def test_an_added_nodule_counts_and_is_not_called_new(table: Callable[..., Table]) -> None:
    house = table(nodule("A", 5.0, earlier=earlier(5.0)))
    house.judge("accept", "A")
    own = nodule("mine", 16.0, z=40.0, probability=None, assessments=house.page().findings[0].finding.assessments)
    page = house.judge("add", after=own)
    assert lung_rads(page).dominant == "mine"
    added = next(view for view in page.findings if view.finding.id == "mine")
    assert added.said == ()
    because = " ".join(added.finding.assessments[0].because)
    assert "could not be laid over" in because
    assert "New" not in because


def test_a_partial_study_is_incomplete(table: Callable[..., Table]) -> None:
    house = table(nodule("A", 5.0), partial="4 slices are missing.")
    assert category(house.judge("accept", "A")) == "LungRADS-0"


@pytest.mark.parametrize(("changes", "modality"), [({"site": None}, "CT"), ({}, "CR"), ({"code": code("lung")}, "CT")])
def test_tables_speak_of_lung_nodules_on_ct_only(
    table: Callable[..., Table], changes: dict[str, Any], modality: str
) -> None:
    page = table(nodule("A", 9.0, **changes), modality=modality).judge("accept", "A")
    assert lung_rads(page).stated is None


def test_what_is_signed_is_what_was_shown(table: Callable[..., Table]) -> None:
    house = table(nodule("A", 9.0))
    page = house.judge("accept", "A")
    house.report()
    with house.database.write() as session:
        study = study_of(session)
        row = service.find(session, study.id)
        assert row is not None
        inputs = report_inputs(session, study)
        signing: dict[str, Any] = {
            "study_id": study.id, "etag": row.etag, "revision": 1, "patient_id": "P", "accession_number": "",
            "acknowledged": (), "actor": "rada", "signer": Person(name="Rada"), "flags": (),
        }  # fmt: skip
        changed = inputs.model_copy(update={"assessments": ()})
        with pytest.raises(Conflict, match="an assessment changed"):
            service.sign(session, inputs=changed, **signing)
        body = service.body_of(service.sign(session, inputs=inputs, **signing))
    assert body.assessments == page.assessments
    assert body.findings[0].finding.assessments == page.findings[0].finding.assessments


def test_what_a_person_says_of_the_patient_changes_what_the_tables_say(table: Callable[..., Table]) -> None:
    house = table(nodule("A", 7.0))
    page = house.judge("accept", "A")
    assert page.context is None
    assert {one.table for one in page.assessments if one.stated and one.stated.category.value != "not-applicable"} == {
        "Lung-RADS", "Fleischner",
    }  # fmt: skip
    missing = next(one.stated.missing for one in page.assessments if one.table == "Fleischner" and one.stated)
    assert missing

    page = house.judge("context", context=PatientContext(screening=False, risk="high", known_cancer=False))
    assert page.context is not None
    assert page.context.by == "rada"
    assert category(page) == "not-applicable"
    stated = next(one.stated for one in page.assessments if one.table == "Fleischner")
    assert stated is not None
    assert len(stated.missing) < len(missing)
    assert house.report().assessments == page.assessments

    page = house.judge("context", context=PatientContext(screening=True))
    assert category(page) == "LungRADS-3"
    assert not [one for one in page.findings[0].finding.assessments[0].missing if "screening" in one]


def test_saying_nothing_of_the_patient_is_refused(table: Callable[..., Table]) -> None:
    with pytest.raises(BadInput, match="missing"):
        table(nodule("A", 7.0)).judge("context")
