"""Label sets: what people decided, as the log of verdicts has it; frozen, hashed, and locked where the test is."""

import json

import pytest
from cohort_support import READER, Place, nodule, withdraw
from sqlalchemy import delete, select, update
from sqlalchemy.exc import DBAPIError

from readingroom.access.actor import OPERATOR, Actor
from readingroom.access.consent import Kind
from readingroom.archive.tables import Study
from readingroom.archive.visibility import restrict
from readingroom.core.audit import AuditEvent
from readingroom.core.errors import BadInput, Conflict
from readingroom.core.permissions import Role
from readingroom.findings.model import Finding
from readingroom.learning import labels
from readingroom.learning.model import Judged, Label
from readingroom.learning.tables import Cohort, CohortVersion, LabelRow, LabelSet
from readingroom.learning.views import cohort_view
from readingroom.review.label_inputs import judged


def freeze_labels(place: Place, cohort: Cohort, version: CohortVersion, actor: Actor = OPERATOR) -> LabelSet:
    with place.database.write() as session:
        return labels.freeze_labels(session, cohort, version, place.workshop, actor)


def export(place: Place, cohort: Cohort, actor: Actor = OPERATOR) -> list[dict]:
    with place.database.write() as session:
        return [json.loads(line) for line in labels.export(session, cohort, place.workshop, actor)]


def told(place: Place, study_id: str, revision: int = 1) -> Judged:
    with place.database.read() as session:
        return judged(session, {study_id: revision})[study_id]


def decided(of: Judged) -> dict[str, str]:
    return {label.finding.id: label.decision for label in of.labels}


def moved(finding: Finding, z: float) -> Finding:
    return finding.model_copy(update={"place": nodule("x", z).place})


def test_every_verdict_is_told_as_it_stands(place: Place) -> None:
    study = place.send("A")
    names = ("good", "moved", "wrong", "undecided", "back", "again")
    place.read(study, *(nodule(name, z=10.0 * n) for n, name in enumerate(names)))
    place.judge(study, "accept", "good")
    place.judge(study, "edit", "moved", after=moved(nodule("moved", z=10.0), 12.0))
    place.judge(study, "accept", "moved")
    place.judge(study, "reject", "wrong", reason_code="vessel")
    place.judge(study, "accept", "back")
    place.judge(study, "withdraw", "back")
    place.judge(study, "reject", "again", reason_code="vessel")
    place.judge(study, "accept", "again")
    place.judge(study, "add", after=nodule("mine", z=70.0, probability=None))
    place.judge(study, "edit", "mine", after=moved(nodule("mine", probability=None), 71.0))
    place.judge(study, "add", after=nodule("gone", z=80.0, probability=None))
    place.judge(study, "withdraw", "gone")
    found = told(place, study)
    assert decided(found) == {
        "good": "accepted", "moved": "edited", "wrong": "rejected", "again": "accepted", "mine": "added",
    }  # fmt: skip
    assert not found.complete
    by_id = {label.finding.id: label for label in found.labels}
    assert by_id["moved"].finding.place == nodule("x", 12.0).place
    assert by_id["mine"].finding.place == nodule("x", 71.0).place
    assert (by_id["mine"].reader, by_id["good"].reader, by_id["good"].reader_version) == ("", READER, "1")
    assert (by_id["wrong"].reason_code, by_id["wrong"].by, by_id["wrong"].study_id) == ("vessel", "rada", study)
    place.finish(study)
    assert told(place, study).complete
    place.judge(study, "withdraw")
    assert not told(place, study).complete
    place.finish(study)
    place.judge(study, "add", after=nodule("late", z=90.0, probability=None))
    assert not told(place, study).complete, "what was added afterwards shows that it was not all"


def test_labels_are_of_the_revision_that_is_asked_about(place: Place) -> None:
    study = place.send("A")
    images = list(place.sent)
    place.read(study, nodule("stays"), nodule("only-first", z=30.0))
    for name in ("stays", "only-first"):
        place.judge(study, "accept", name)
    place.finish(study)
    place.send("A", study_uid=images[0].StudyInstanceUID)
    place.read(study, nodule("stays"), nodule("new", z=60.0))
    place.judge(study, "reject", "stays", reason_code="vessel")
    place.judge(study, "accept", "new")
    first, second = told(place, study, 1), told(place, study, 2)
    assert decided(first) == {"stays": "accepted", "only-first": "accepted"}
    assert decided(second) == {"stays": "rejected", "new": "accepted"}
    assert (first.complete, second.complete) == (True, False)


def crowd(place: Place) -> tuple[Cohort, CohortVersion, dict[str, str]]:
    """Twelve patients with a nodule each that was accepted, all judged completely; and study -> part."""
    for n in range(12):
        study = place.willing(f"P{n}")
        place.read(study, nodule(f"n{n}"))
        place.judge(study, "accept", f"n{n}")
        place.finish(study)
    cohort = place.add()
    version = place.freeze(cohort)
    return cohort, version, {str(member.study_id): member.part for member in place.members(version)}


def test_a_set_is_frozen_and_the_test_part_is_in_no_view_of_it(place: Place) -> None:
    cohort, version, part = crowd(place)
    testing = {study for study, where in part.items() if where == "test"}
    assert testing
    frozen = freeze_labels(place, cohort, version)
    with pytest.raises(Conflict, match="Nothing has changed since label set 1"):
        freeze_labels(place, cohort, version)
    with place.database.read() as session:
        assert len(session.scalars(select(LabelRow).where(LabelRow.set_id == frozen.id)).all()) == 12
        assert labels.is_intact_set(session, version, frozen)
        view = cohort_view(session, cohort, OPERATOR)
    (shown,) = view.versions[0].label_sets
    assert {name: sum(counts.values()) for name, counts in shown.counts.items()} == {
        name: list(part.values()).count(name) for name in ("training", "validation")
    }
    assert shown.complete == 12 - len(testing)

    lines = export(place, cohort)
    assert [line["type"] for line in lines].count("member") == 12
    told_of = {line["study_id"] for line in lines if line["type"] == "label"}
    assert told_of == set(part) - testing
    locked = [line for line in lines if line["type"] == "member" and line["part"] == "test"]
    assert {line["study_id"] for line in locked} == testing
    assert not any("complete" in line for line in locked)
    label = Label.model_validate(
        {k: v for k, v in next(n for n in lines if n["type"] == "label").items() if k != "type"}
    )
    assert (label.by, label.revision, label.decision) == ("rada", 1, "accepted")
    with place.database.read() as session:
        assert session.scalars(select(AuditEvent).where(AuditEvent.action == "cohort-exported")).one()

    # More verdicts: another set; the first stays.
    study = next(study for study in part if study not in testing)
    place.judge(study, "add", after=nodule("missed", z=50.0, probability=None))
    second = freeze_labels(place, cohort, version)
    assert (second.number, second.sha256 != frozen.sha256) == (2, True)
    with place.database.read() as session:
        assert labels.is_intact_set(session, version, frozen)
    for table in (LabelSet, LabelRow):
        for statement in (update(table).values(id=table.id), delete(table)):
            with pytest.raises(DBAPIError, match="append-only"), place.database.write() as session:
                session.execute(statement)


def test_who_said_no_or_is_closed_since_is_not_handed_out(sqlite_place: Place) -> None:
    place = sqlite_place
    cohort, version, part = crowd(place)
    freeze_labels(place, cohort, version)
    rada = place.account("rada", Role.RADIOLOGIST)
    leaving, refusing, closed, held, filed, *others = part
    with place.database.write() as session:
        withdraw(session, session.get_one(Study, leaving).patient_pk)
        restrict(session, closed, [], rada)
        session.execute(update(Study).where(Study.id == held).values(held="two patients"))
    place.say(refusing, Kind.WITHDRAWN)  # the worker has not been there yet
    place.project("trial")
    with place.database.write() as session:
        session.execute(update(Study).where(Study.id == filed).values(project_id=2))
    for actor in (OPERATOR, rada):
        lines = export(place, cohort, actor)
        named = {line["study_id"] for line in lines if line["type"] in ("member", "label")}
        assert named == set(others)


def test_nothing_was_decided(sqlite_place: Place) -> None:
    sqlite_place.willing("A")
    cohort = sqlite_place.add()
    with pytest.raises(BadInput, match="Nobody has decided"):
        freeze_labels(sqlite_place, cohort, sqlite_place.freeze(cohort))
    assert [line["type"] for line in export(sqlite_place, cohort)] == ["version", "member"]


def test_a_restricted_study_is_not_even_a_number_to_others(sqlite_place: Place) -> None:
    place = sqlite_place
    place.willing("A")
    closed = place.willing("B")
    rada, other = place.account("rada", Role.RADIOLOGIST), place.account("other", Role.RADIOLOGIST)
    with place.database.write() as session:
        restrict(session, closed, [], rada)
    cohort = place.add(actor=rada)
    assert place.freeze(cohort, rada).left_out == {"restricted": 1}
    with place.database.read() as session:
        assert cohort_view(session, cohort, rada).versions[0].left_out == {"restricted": 1}
        assert cohort_view(session, cohort, other).versions[0].left_out == {}
