"""The locked test part: measured by the rule that is written down, each look counted, kept and unchangeable."""

import json

import pytest
from cohort_support import READER, Place, nodule
from sqlalchemy import delete, select, update
from sqlalchemy.exc import DBAPIError

from readingroom.access.actor import OPERATOR
from readingroom.access.consent import Kind
from readingroom.core.audit import AuditEvent
from readingroom.core.errors import BadInput, Conflict, ReadingRoomError
from readingroom.findings.codes import code
from readingroom.findings.model import PatientPlace, ReaderState
from readingroom.learning import labels, locked
from readingroom.learning.locked import Asked, Result, matched
from readingroom.learning.model import Decision, Label
from readingroom.learning.tables import Cohort, CohortVersion, LabelSet, LockedEvaluation
from readingroom.review.label_inputs import judged

NODULE = frozenset({(code("nodule").scheme, code("nodule").value)})


def label(finding: str, z: float, decision: Decision = "accepted", reason: str = "", **changes: object) -> Label:
    given = {"study_id": "s", "revision": 1, "verdict_id": "v", "by": "rada", "at": "2026-01-01T00:00:00Z"}
    return Label.model_validate(
        {**given, "finding": nodule(finding, z, **changes), "decision": decision, "reason_code": reason}
    )


def test_the_matching_rule() -> None:
    other_frame = PatientPlace(frame_of_reference_uid="9.9", position_lps_mm=(50.0, 0.0, 0.0))
    truth = [
        label("hit", 0.0),  # 10 mm: within 5 mm
        label("small", 100.0, axes=()),  # without an axis: within LEAST_MM
        label("missed", 200.0),
        label("elsewhere", 0.0, place=other_frame),
        label("refused", 300.0, "rejected", "vessel"),
        label("not-worth-it", 400.0, "rejected", "not-relevant"),
        label("another-code", 500.0, code=code("attenuation")),
        label("drawn", 600.0, "added"),
    ]
    marks = [
        nodule("a", 4.9, probability=0.9), nodule("b", 1.0, probability=0.7),  # two on one
        nodule("c", 104.9, probability=0.6), nodule("d", 205.1, probability=0.5),  # too far
        nodule("e", 300.0, probability=0.4),  # false: a person rejected it
        nodule("f", 400.0, probability=0.3),  # neither
        nodule("g", 500.0, probability=0.2),  # false: nothing of its code is there
        nodule("h", 600.0, code=code("attenuation"), probability=0.99),  # a mark of another kind
    ]  # fmt: skip
    found = matched(marks, truth, NODULE)
    missed = float("-inf")
    assert found.found == (0.9, 0.6, missed, missed, missed)
    assert sorted(found.false) == [0.2, 0.4, 0.5]
    assert matched([], [], NODULE).found == ()


class Test:
    """Twenty patients: a nodule each, accepted by a person, that version 1 of the reader found."""

    __test__ = False

    def __init__(self, place: Place, findings: int = 20) -> None:
        self.place = place
        for n in range(findings):
            study = place.willing(f"P{n}")
            place.read(study, nodule(f"n{n}"))
            place.judge(study, "accept", f"n{n}")
            place.finish(study)
        self.cohort: Cohort = place.add()
        self.version: CohortVersion = place.freeze(self.cohort)
        with place.database.write() as session:
            self.labels: LabelSet = labels.freeze_labels(session, self.cohort, self.version, place.workshop, OPERATOR)
        members = place.members(self.version)
        self.test = [str(member.study_id) for member in members if member.part == "test"]
        self.others = [str(member.study_id) for member in members if member.part != "test"]

    def look(self, version: str = "", why: str = "release 1 of the reader", **more: object) -> LockedEvaluation:
        asked = Asked(READER, why, version)
        with self.place.database.write() as session:
            return locked.evaluate(
                session, self.cohort, self.version, self.labels, asked, NODULE, self.place.workshop, OPERATOR, **more
            )

    def looks(self) -> list[LockedEvaluation]:
        with self.place.database.read() as session:
            return locked.looks_at(session, self.cohort)


def test_every_look_is_counted_and_kept(place: Place) -> None:
    test = Test(place, 12)
    assert test.test
    first = test.look()
    result = Result.model_validate(first.result)
    assert result.sensitivity is not None
    assert (result.sensitivity.value, result.false_marks_per_study.value) == (1.0, 0.0)
    # Of a few patients, all found, nobody may read certainty.
    assert result.sensitivity.low is not None
    assert result.sensitivity.low < 0.9
    assert (result.studies, result.lesions, result.groups) == (len(test.test),) * 3
    assert (first.reader, first.reader_version, first.weights_sha256) == (READER, "1", "w" * 64)
    again = test.look(why="looked once more")
    assert [locked.said(look) for look in (first, again)] == [
        "This is evaluation 1 of this test set.",
        "This is evaluation 2 of this test set.",
    ]
    # A new version of the cohort holds the same test patients: it goes on counting.
    place.willing("later")
    test.version = place.freeze(test.cohort)
    with place.database.write() as session:
        test.labels = labels.freeze_labels(session, test.cohort, test.version, place.workshop, OPERATOR)
    assert test.look().number == 3
    assert [(look.number, look.why) for look in test.looks()][1] == (2, "looked once more")
    for statement in (update(LockedEvaluation).values(number=9), delete(LockedEvaluation)):
        with pytest.raises(DBAPIError, match="append-only"), place.database.write() as session:
            session.execute(statement)
    with place.database.read() as session:
        events = session.scalars(select(AuditEvent).where(AuditEvent.action == "cohort-evaluated")).all()
    assert [event.detail["look"] for event in events] == [1, 2, 3]
    # A row tells of the whole; which patient was missed it does not.
    assert not any(study in json.dumps(look.result) for look in test.looks() for study in test.test)


def test_a_worse_reader_measures_worse(sqlite_place: Place) -> None:
    place = sqlite_place
    test = Test(place)
    assert len(test.test) >= 4
    missing, failing, *right = test.test
    place.read(missing, nodule("x", z=70.0), nodule("y", z=90.0), version="2")
    place.read(failing, state=ReaderState.ABSTAINED, version="2")
    for study in right:
        with place.database.read() as session:
            (found,) = judged(session, {study: 1})[study].labels
        place.read(study, found.finding, version="2")
    with pytest.raises(BadInput, match="Which version"):
        test.look()
    result = Result.model_validate(test.look("2").result)
    assert result.sensitivity is not None
    assert result.sensitivity.value == pytest.approx((len(test.test) - 2) / len(test.test))
    assert result.false_marks_per_study.value == pytest.approx(2 / len(test.test))
    assert (result.missed_whole, result.not_applicable) == (1, 0)
    assert result.sensitivity.low is not None
    assert result.sensitivity.low < result.sensitivity.value


def test_what_is_refused_is_not_counted(sqlite_place: Place) -> None:
    place = sqlite_place
    test = Test(place)
    for study in test.test[1:]:
        place.read(study, version="3")
    refusals: list[tuple[type[ReadingRoomError], str, dict[str, str]]] = [
        (BadInput, "Say why", {"why": "  "}),
        (BadInput, "were not read by it", {"version": "3"}),
        (BadInput, "were not read by it", {"version": "never"}),
    ]
    for error, words, how in refusals:
        with pytest.raises(error, match=words):
            test.look(**{"version": "1", **how})
    assert test.looks() == []
    # The training part was never needed: a reader is measured on the test part only.
    place.read(test.test[0], version="3")
    assert test.look("3").number == 1


def test_only_what_was_completely_judged_by_people_who_permit_it(sqlite_place: Place) -> None:
    place = sqlite_place
    test = Test(place)
    unfinished, refusing, *rest = test.test
    place.judge(unfinished, "withdraw")
    with place.database.write() as session:
        test.labels = labels.freeze_labels(session, test.cohort, test.version, place.workshop, OPERATOR)
    place.say(refusing, Kind.WITHDRAWN)
    result = Result.model_validate(test.look().result)
    assert (result.studies, result.incomplete) == (len(rest), 1)


def test_labels_that_somebody_changed_are_not_measured_against(sqlite_place: Place) -> None:
    test = Test(sqlite_place)
    with sqlite_place.database.write() as session:
        session.connection().exec_driver_sql("DROP TRIGGER label_no_delete")
        session.connection().exec_driver_sql("DELETE FROM label WHERE id = (SELECT MAX(id) FROM label)")
    with pytest.raises(Conflict, match="not what was frozen"):
        test.look()


def test_a_reader_that_is_not_here() -> None:
    with pytest.raises(ReadingRoomError, match="no such reader"):
        locked.codes_of("not-installed")
