"""Verdicts: what holds, what is refused, and what the study page shows after each."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from readingroom.archive.tables import Patient, Series, Study, StudyRevision
from readingroom.core.database import Database
from readingroom.core.errors import BadInput, Conflict, NotFound, ReadingRoomError
from readingroom.findings.codes import code
from readingroom.findings.model import (
    Axis,
    Evidence,
    Finding,
    ImagePlace,
    PatientPlace,
    Reading,
    SegmentMask,
    Side,
    SideWitness,
)
from readingroom.readers.tables import ReadingRow
from readingroom.report.model import ReportInputs
from readingroom.report.tables import ReportRow
from readingroom.review.decisions import finding_counts
from readingroom.review.model import Study as StudyPage
from readingroom.review.model import VerdictInput
from readingroom.review.report_inputs import nearest_image, report_inputs
from readingroom.review.segments import mask_of, runs_of
from readingroom.review.study_view import study_view
from readingroom.review.tables import VerdictRow
from readingroom.review.verdicts import give


def nodule(name: str, z: float = 0.0, **changes: Any) -> Finding:
    side = Side(value="left", witnesses=(SideWitness(witness="geometry", side="left"),), agree=True)
    values: dict[str, Any] = {
        "id": name, "code": code("nodule"), "probability": 0.8, "side": side, "segment": name,
        "place": PatientPlace(frame_of_reference_uid="1.2.3.4", position_lps_mm=(50.0, 0.0, z)),
        "axes": (Axis(role="long", start_lps_mm=(45, 0, z), end_lps_mm=(55, 0, z)),),
        "evidence": Evidence(rule="bright"),
    }  # fmt: skip
    return Finding(**(values | changes))


@pytest.fixture
def study_id(database: Database) -> str:
    """A study read by one reader that found A and B."""
    with database.write() as session:
        patient = Patient(PatientID="P", PatientName="Doe^Jane")
        session.add(patient)
        session.flush()
        study = Study(patient_pk=patient.id, StudyInstanceUID="1.2.3", revision=1, state="read")
        session.add(study)
        session.flush()
        session.add(Series(study_id=study.id, SeriesInstanceUID="1.2.3.5"))
        session.add(StudyRevision(study_id=study.id, number=1, digest="", instances=[]))
        session.add(reading_of(study.id, 1, nodule("A"), nodule("B", z=30.0)))
        return study.id


def reading_of(study_id: str, revision: int, *findings: Finding) -> ReadingRow:
    body = Reading(reader="tiny", version="1", state="found", findings=findings, evidence_level=1)
    summary = {"findings": [f.id for f in findings], "top_probability": 0.8, "triage": 0, "reason": ""}
    return ReadingRow(
        study_id=study_id, revision=revision, reader="tiny", version="1", state="found",
        body=body.model_dump(mode="json"), summary=summary,
    )  # fmt: skip


@pytest.fixture
def judge(database: Database, study_id: str) -> Callable[..., StudyPage]:
    def judge(kind: str, finding: str = "", **more: Any) -> StudyPage:
        with database.write() as session:
            verdict = VerdictInput(kind=kind, finding_id=finding, **({"revision": 1} | more))  # type: ignore[arg-type]
            give(session, study_id, verdict, "rada")
        with database.read() as session:
            return study_view(session, study_id, ["finding:judge"])

    return judge


def decisions_of(page: StudyPage) -> dict[str, str]:
    return {view.finding.id: view.decision for view in page.findings}


Judge = Callable[..., StudyPage]


def inputs_of(session: Session, study_id: str) -> ReportInputs:
    return report_inputs(session, session.get_one(Study, study_id))


def test_accept_reject_withdraw(judge: Judge, database: Database, study_id: str) -> None:
    assert decisions_of(judge("accept", "A")) == {"A": "accepted", "B": "undecided"}
    page = judge("reject", "B", reason_code="vessel", reason_text="branches on 12")
    assert decisions_of(page) == {"A": "accepted", "B": "rejected"}
    assert (page.findings[1].reason_code, page.findings[1].reason_text) == ("vessel", "branches on 12")
    with database.read() as session:
        counts = finding_counts(session, [study_id])[study_id]
        assert (counts.shown, counts.accepted, counts.rejected, counts.undecided) == (2, 1, 1, 0)
        assert [item.finding.id for item in inputs_of(session, study_id).findings] == ["A"]
    assert decisions_of(judge("withdraw", "B")) == {"A": "accepted", "B": "undecided"}


def test_edit_keeps_what_the_reader_said(judge: Judge) -> None:
    after = nodule("A", z=3.0, probability=0.01, evidence=Evidence(rule="forged"), tracking_uid="9.9")
    view = next(v for v in judge("edit", "A", after=after).findings if v.finding.id == "A")
    assert view.decision == "edited"
    assert view.finding.place == after.place
    assert (view.finding.probability, view.finding.evidence.rule) == (0.8, "bright")
    assert view.finding.tracking_uid == ""
    # The reader's outline does not fit what was moved.
    assert view.finding.segment == ""
    assert view.segment_url is None
    assert view.original == nodule("A")
    # A second edit still shows the reader's finding as the original, and acceptance keeps the edit.
    again = next(v for v in judge("edit", "A", after=nodule("A", z=6.0)).findings if v.finding.id == "A")
    assert again.original == nodule("A")
    assert decisions_of(judge("accept", "A"))["A"] == "edited"
    restored = next(v for v in judge("withdraw", "A").findings if v.finding.id == "A")
    assert (restored.decision, restored.finding) == ("undecided", nodule("A"))


def test_a_mark_moved_far_asks_about_its_side(judge: Judge) -> None:
    page = judge("edit", "A", after=nodule("A", z=60.0))
    assert next(v for v in page.findings if v.finding.id == "A").finding.side.agree is False
    (flag,) = [flag for flag in page.flags if flag.code == "side-disagree"]
    assert flag.needs_acknowledgement


def test_own_finding_and_no_further_findings(judge: Judge) -> None:
    page = judge("no-further-findings")
    assert page.no_further_findings.by == "rada"
    own = nodule("mine", probability=None, segment="forged", side=None)
    page = judge("add", after=own)
    assert decisions_of(page)["mine"] == "added"
    assert page.no_further_findings is None, "a finding added after it contradicts it"
    added = next(v for v in page.findings if v.finding.id == "mine")
    assert (added.finding.segment, added.reading_id, added.finding.tracking_uid[:5]) == ("", None, "2.25.")
    assert decisions_of(judge("edit", "mine", after=own))["mine"] == "added"
    assert "mine" not in decisions_of(judge("withdraw", "mine"))


def test_own_findings_without_an_id_are_tracked_apart(judge: Judge) -> None:
    judge("add", after=nodule("", probability=None, segment=""))
    page = judge("add", after=nodule("", probability=None, segment="", z=9.0))
    own = [view.finding for view in page.findings if view.decision == "added"]
    assert len({finding.id for finding in own}) == len({finding.tracking_uid for finding in own}) == 2


@pytest.mark.parametrize(
    ("error", "kind", "finding", "more"),
    [
        (NotFound, "accept", "Z", {}),
        (Conflict, "accept", "A", {"revision": 2}),
        (BadInput, "reject", "A", {}),
        (BadInput, "reject", "A", {"reason_code": "no-such-reason"}),
        (BadInput, "reject", "A", {"reason_code": "other"}),
        (BadInput, "edit", "A", {}),
        (BadInput, "edit", "A", {"after": nodule("B")}),
        (BadInput, "edit", "A", {"after": nodule("A", z=float("nan"))}),
        (BadInput, "edit", "A", {"after": nodule("A", z=1e6)}),
        (BadInput, "edit", "A", {"after": nodule("A", axes=(Axis(role="long", start_lps_mm=(0, 0, 0), end_lps_mm=(0, 0, 0)),))}),  # noqa: E501
        (BadInput, "edit", "A", {"after": nodule("A", place=PatientPlace(frame_of_reference_uid="6.6", position_lps_mm=(1, 1, 1)))}),  # noqa: E501
        (BadInput, "add", "", {"after": nodule("A", probability=None)}),
        (BadInput, "add", "", {"after": nodule("mine")}),
        (BadInput, "add", "", {"after": nodule("mine", probability=None, series_instance_uid="7.7.7")}),
        (BadInput, "add", "", {"after": nodule("a b", probability=None)}),
        (BadInput, "add", "", {"after": nodule("m" * 65, probability=None)}),
        (BadInput, "add", "", {"after": nodule("mine", probability=None, axes=(), place=ImagePlace(sop_instance_uid="7.7", column=1, row=1))}),  # noqa: E501
        (NotFound, "accept", "A", {"reading_id": "of-another-reading"}),
    ],
)  # fmt: skip
def test_refused(
    judge: Judge, database: Database, error: type[ReadingRoomError], kind: str, finding: str, more: dict[str, Any]
) -> None:
    with pytest.raises(error):
        judge(kind, finding, **more)
    with database.read() as session:
        assert session.scalars(select(VerdictRow)).all() == []


def test_nothing_is_judged_once_signed_or_held(judge: Judge, database: Database, study_id: str) -> None:
    with database.write() as session:
        session.add(ReportRow(study_id=study_id, revision=1, state="final", body={}))
    with pytest.raises(Conflict) as caught:
        judge("accept", "A")
    assert caught.value.code == "signed"
    with database.write() as session:
        session.get_one(Study, study_id).held = "two patients"
    with pytest.raises(Conflict) as caught:
        judge("accept", "A")
    assert caught.value.code == "held"


def test_the_log_is_append_only_and_numbered(judge: Judge, database: Database) -> None:
    judge("accept", "A")
    judge("withdraw", "A")
    with database.read() as session:
        assert session.scalars(select(VerdictRow.number).order_by(VerdictRow.number)).all() == [1, 2]
    with pytest.raises(DBAPIError), database.write() as session:
        session.query(VerdictRow).delete()


def test_a_new_revision_keeps_verdicts_on_findings_seen_again(judge: Judge, database: Database, study_id: str) -> None:
    judge("accept", "A")
    judge("reject", "B", reason_code="artefact")
    judge("no-further-findings")
    with database.write() as session:
        session.get_one(Study, study_id).revision = 2
        session.add(StudyRevision(study_id=study_id, number=2, digest="", instances=[]))
        session.add(reading_of(study_id, 2, nodule("A"), nodule("C", z=60.0)))
    with database.read() as session:
        page = study_view(session, study_id, [])
    assert decisions_of(page) == {"A": "accepted", "C": "undecided"}
    assert page.no_further_findings is None, "it was said of other images"


def test_flags_say_what_must_be_known(database: Database, study_id: str) -> None:
    with database.write() as session:
        session.add(ReadingRow(study_id=study_id, revision=1, reader="bad", version="1", state="failed", reason="x"))
        session.execute(StudyRevision.__table__.update().values(partial="2 slices are missing."))
        body = {"header": {"PatientName": "Old^Name", "PatientID": "P"}}
        session.add(ReportRow(study_id=study_id, revision=1, body=body))
        session.get_one(Study, study_id).changed = 5
    with database.read() as session:
        flags = {flag.code: flag for flag in study_view(session, study_id, []).flags}
    assert set(flags) == {"partial", "reader-failed", "undecided", "identity-changed", "images-arriving"}
    assert flags["identity-changed"].blocks_signing
    assert flags["partial"].needs_acknowledgement
    assert "Old" not in flags["identity-changed"].text


def test_runs_and_mask_are_inverse() -> None:
    mask = np.random.default_rng(0).random((3, 5, 7)) > 0.5
    segment = SegmentMask("1.2", (4, 5, 6), mask, ("a", "b", "c"))
    runs = runs_of(segment)
    assert np.array_equal(mask_of(runs).mask, mask)
    assert sum(runs.runs[1::2]) == mask.sum()
    assert runs_of(SegmentMask("1.2", (0, 0, 0), np.ones((1, 2, 2), bool), ("a",))).runs == (0, 4)


def test_the_image_a_finding_lies_on() -> None:
    affine = [[2.0, 0, 0, -100], [0, 2.0, 0, -100], [0, 0, 3.0, 10.0], [0, 0, 0, 1]]
    looked = {"order": ["first", "second", "third"], "affine": affine}
    assert nearest_image(nodule("A", z=13.4), looked) == "second"
    assert nearest_image(nodule("A", z=99.0), looked) == ""
    assert nearest_image(nodule("A"), {}) == ""
    # Past a gap of three slices the third image is the sixth step; no image lies in the gap.
    gap = looked | {"slice_positions_mm": [0.0, 3.0, 15.0]}
    assert [nearest_image(nodule("A", z=z), gap) for z in (13.4, 24.0, 19.5)] == ["second", "third", ""]
