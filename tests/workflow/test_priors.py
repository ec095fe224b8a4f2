"""Earlier studies reach the readers that compare: this patient's only, where whoever looks may know of them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from sqlalchemy import select
from sqlalchemy.orm import Session
from support import ct_series

from readingroom.access.consent import Kind as ConsentKind
from readingroom.access.consent import Statement, decide
from readingroom.access.projects import create_project
from readingroom.archive.tables import Patient, Study
from readingroom.core.database import Database
from readingroom.core.permissions import ProjectKind
from readingroom.core.purposes import Purpose
from readingroom.findings.codes import code
from readingroom.findings.model import Evidence, Finding, PatientPlace, Reading
from readingroom.objects.content import FindingVerdict, Sections, StudyHeader
from readingroom.readers.contract import Card
from readingroom.readers.tables import ReadingRow
from readingroom.report.model import ReportBody, ReportFinding
from readingroom.report.tables import ReportRow
from readingroom.review.model import Study as StudyPage
from readingroom.review.study_view import study_view
from readingroom.workflow.child_read import _priors
from readingroom.workflow.priors import priors_of

READER = "tiny-nodule"


def nodule(name: str, **changes: Any) -> Finding:
    place = PatientPlace(frame_of_reference_uid="1.9.9", position_lps_mm=(50.0, 0.0, 0.0))
    return Finding(**({"id": name, "code": code("nodule"), "site": code("lung"), "place": place} | changes))


class Shelf:
    """Studies as the index has them, without images."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.count = 0

    def patient(self, identifier: str = "P", **columns: Any) -> Patient:
        patient = Patient(PatientID=identifier, **columns)
        self.session.add(patient)
        self.session.flush()
        return patient

    def study(self, patient: Patient, day: str, *found: Finding, state: str = "found", **columns: Any) -> Study:
        self.count += 1
        study = Study(
            patient_pk=patient.id, StudyInstanceUID=f"1.2.{self.count}", StudyDate=day,
            **({"revision": 1, "state": "read"} | columns),
        )  # fmt: skip
        self.session.add(study)
        self.session.flush()
        body = Reading(reader=READER, version="1", state=state, findings=found)
        row = ReadingRow(study_id=study.id, revision=1, reader=READER, version="1", state=state)
        row.body = body.model_dump(mode="json")
        self.session.add(row)
        self.session.flush()
        return study

    def sign(self, study: Study, *found: Finding, undecided: tuple[str, ...] = (), **values: Any) -> None:
        body = ReportBody(
            revision=1, header=StudyHeader(), sections=Sections(), drafted=Sections(),
            findings=tuple(ReportFinding(finding=one, decision="edited") for one in found),
            verdicts=tuple(FindingVerdict(finding_id=name, decision="undecided") for name in undecided), **values,
        )  # fmt: skip
        self.session.add(ReportRow(study_id=study.id, revision=1, state="final", body=body.model_dump(mode="json")))
        self.session.flush()


@pytest.fixture
def shelf(database: Database) -> Iterator[Shelf]:
    with database.write() as session:
        yield Shelf(session)


def ids(session: Session, study: Study) -> list[tuple[int, list[str]]]:
    found = priors_of(session, study, READER)
    return [(one["days_before"], [finding["id"] for finding in one["findings"]]) for one in found]


def test_earlier_studies_of_the_patient_latest_first(shelf: Shelf) -> None:
    patient = shelf.patient()
    shelf.study(patient, "20250101", nodule("a"))
    shelf.study(patient, "20251201", nodule("b"))
    now = shelf.study(patient, "20260101", nodule("now"))
    shelf.study(patient, "20260101", nodule("same-day"))
    shelf.study(patient, "20260201", nodule("later"))
    assert ids(shelf.session, now) == [(31, ["b"]), (365, ["a"])]


def test_never_another_patient_s(shelf: Shelf) -> None:
    patient = shelf.patient("P", IssuerOfPatientID="HERE")
    now = shelf.study(patient, "20260101", nodule("now"))
    shelf.study(shelf.patient("P", IssuerOfPatientID="THERE"), "20250101", nodule("same-number-elsewhere"))
    shelf.study(shelf.patient("Q", IssuerOfPatientID="HERE", PatientName="A^B"), "20250101", nodule("other"))
    for own in ("s1", "s2"):
        # Without an identifier each study is a patient of its own, however alike they look.
        shelf.study(shelf.patient("", own_study=own, PatientName="A^B"), "20250101", nodule(own))
    nameless = shelf.study(shelf.patient("", own_study="s3", PatientName="A^B"), "20260101", nodule("now"))
    assert ids(shelf.session, now) == []
    assert ids(shelf.session, nameless) == []


@pytest.mark.parametrize(
    "columns",
    [{"restricted": True}, {"held": "two patients"}, {"simulated": True}, {"revision": 0}, {"StudyDate": ""}],
)
def test_studies_that_are_not_to_be_known_are_left_out(shelf: Shelf, columns: dict[str, Any]) -> None:
    patient = shelf.patient()
    then = shelf.study(patient, "20250101", nodule("then"))
    now = shelf.study(patient, "20260101", nodule("now"))
    assert ids(shelf.session, now) == [(365, ["then"])]
    for name, value in columns.items():
        setattr(then, name, value)
    shelf.session.flush()
    assert ids(shelf.session, now) == []


@pytest.mark.parametrize(
    ("then", "now", "seen"),
    [
        ("care", "ward", True), ("ward", "ward", True), ("trial", "trial", True), ("trial", "care", False),
        ("care", "trial", False), ("course", "trial", False), ("trial", "other-trial", False),
    ],
)  # fmt: skip
def test_projects_permit_it_or_not(shelf: Shelf, then: str, now: str, seen: bool) -> None:
    kinds = {
        "ward": ProjectKind.CARE, "trial": ProjectKind.RESEARCH, "other-trial": ProjectKind.RESEARCH,
        "course": ProjectKind.TEACHING,
    }  # fmt: skip
    keys = {name: create_project(shelf.session, name, kind, actor="test").id for name, kind in kinds.items()}
    keys["care"] = 1
    patient = shelf.patient()
    shelf.study(patient, "20250101", nodule("then"), project_id=keys[then])
    present = shelf.study(patient, "20260101", nodule("now"), project_id=keys[now])
    assert bool(ids(shelf.session, present)) is seen


def test_who_says_no_to_research_is_not_compared_in_it(shelf: Shelf) -> None:
    trial = create_project(shelf.session, "trial", ProjectKind.RESEARCH, actor="test").id
    patient = shelf.patient()
    shelf.study(patient, "20250101", nodule("then"), project_id=trial)
    now = shelf.study(patient, "20260101", nodule("now"), project_id=trial)
    assert ids(shelf.session, now)
    decide(shelf.session, patient.id, Statement(ConsentKind.REFUSED, (Purpose.RESEARCH,), reference="R"), actor="test")
    assert ids(shelf.session, now) == []


def test_what_was_signed_counts_before_what_the_reader_said(shelf: Shelf) -> None:
    patient = shelf.patient()
    then = shelf.study(patient, "20250101", nodule("kept"), nodule("rejected"), nodule("unjudged"))
    shelf.sign(then, nodule("kept"), nodule("added"), undecided=("unjudged",))
    now = shelf.study(patient, "20260101")
    assert ids(shelf.session, now) == [(365, ["kept", "added", "unjudged"])]


@pytest.mark.parametrize("state", ["partial", "failed", "abstained", "queued", "not-applicable"])
def test_a_study_nobody_looked_at_whole_says_nothing(shelf: Shelf, state: str) -> None:
    patient = shelf.patient()
    then = shelf.study(patient, "20250101", state=state)
    now = shelf.study(patient, "20260101")
    assert priors_of(shelf.session, now, READER) == []
    shelf.sign(then)
    assert priors_of(shelf.session, now, READER) == [], "signed without findings, and no reader looked"


def test_a_partial_report_is_no_prior(shelf: Shelf) -> None:
    patient = shelf.patient()
    then = shelf.study(patient, "20250101", nodule("a"))
    shelf.sign(then, nodule("a"), partial="4 slices are missing.")
    assert ids(shelf.session, shelf.study(patient, "20260101")) == []


def test_places_stay_in_their_frame_and_words_stay_here(shelf: Shelf) -> None:
    patient = shelf.patient()
    told = nodule("a", comment="Ms Doe says so", segment="s", evidence=Evidence(rule="bright", heat_map="h"))
    shelf.study(patient, "20250101", told)
    (one,) = priors_of(shelf.session, shelf.study(patient, "20260101"), READER)
    finding = Finding.model_validate(one["findings"][0])
    assert finding.place == told.place
    assert (finding.comment, finding.segment, finding.evidence) == ("", "", Evidence())


def card(*context: str) -> Card:
    return Card(
        name="a-card", version="1", title="", question="", takes="", finds=(code("nodule"),), context=context,
        evidence_level=0, evidence="", limits=(), weights_licence="", data=(),
    )  # fmt: skip


def test_only_a_card_that_declares_priors_gets_them_and_only_its_own_kind_of_finding() -> None:
    own, other = nodule("a"), nodule("b", code=code("morphologically-abnormal"))
    plain = [one.model_dump(mode="json") for one in (own, other)]
    request = {
        "priors": [
            {"days_before": 10, "read": False, "findings": plain},
            {"days_before": 20, "read": False, "findings": plain[1:]},
            {"days_before": 30, "read": True, "findings": []},
        ]
    }
    assert _priors(request, card("age_years")) == ()
    given = _priors(request, card("priors"))
    assert [(one.days_before, one.findings) for one in given] == [(10, (own,)), (30, ())]


def with_ball(day: str, radius_mm: float, **keywords: Any) -> list[Dataset]:
    """A series of 1 mm voxels with one ball denser than any tissue."""
    images = ct_series(24, rows=48, columns=48, **keywords)
    k, j, i = np.indices((24, 48, 48))
    inside = (k - 12) ** 2 + (j - 20) ** 2 + (i - 24) ** 2 <= radius_mm**2
    for number, ds in enumerate(images):
        ds.PixelSpacing, ds.SliceThickness = [1.0, 1.0], 1.0
        ds.ImagePositionPatient = [-24.0, -20.0, float(number)]
        ds.StudyDate = day
        ds.PixelData = np.where(inside[number], 2600, 224).astype(np.uint16).tobytes()
    return images


def page_of(story: Any, images: list[Dataset]) -> StudyPage:
    story.send(*images)
    story.work()
    with story.rooms.database.read() as session:
        uid = str(images[0].StudyInstanceUID)
        study_id = session.scalars(select(Study.id).where(Study.StudyInstanceUID == uid)).one()
        return study_view(session, study_id, [])


def test_growth_reaches_the_page(nodule_story: Any) -> None:
    first = page_of(nodule_story, with_ball("20260101", 4.2))
    (before,) = first.findings
    assert before.finding.earlier == ()
    page_of(nodule_story, with_ball("20260201", 8.0, patient_id="SOMEBODY-ELSE", frame_of_reference_uid="1.2.3.4"))
    now = page_of(nodule_story, with_ball("20260401", 6.2, frame_of_reference_uid="1.2.3.99"))
    (view,) = now.findings
    assert [(one.days_before, one.found, one.matched_by) for one in view.finding.earlier] == [(90, True, "position")]
    assert view.finding.tracking_uid == before.finding.tracking_uid
    measured = {one.code.value: one.value for one in view.finding.measurements}
    assert 3 < measured["diameter-change"] < 5
    assert 30 < measured["doubling-time"] < 90
    stated = next(one for one in now.assessments if one.table == "Lung-RADS").readers[0].assessment
    assert stated.category.value == "LungRADS-4B"
    assert any("doubling time" in text for text in stated.because)
