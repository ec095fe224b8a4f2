"""Consent in the workflow: readers leave alone who refuses care by AI, and a withdrawal reaches every room."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from cohort_support import Place
from pydicom.dataset import Dataset
from sqlalchemy import select
from sqlalchemy.orm import Session

from readingroom.access.consent import Kind, Statement, decide, for_purpose, permitted_among
from readingroom.access.uses import Made, used, uses_of
from readingroom.archive.tables import Patient
from readingroom.core.audit import AuditEvent
from readingroom.core.outbox import OutboxRow
from readingroom.core.purposes import Purpose
from readingroom.workflow.engine import Registered
from readingroom.workflow.withdrawn import Remover, withdraw_consent

Series = Callable[..., list[Dataset]]
TINY = "tiny-brightest"


class Cohorts:
    """A room of the test's own, as the later rooms are to be: it collects patients, and one model learned from them."""

    def __init__(self, story: Any, removers: dict[str, Remover]) -> None:
        self.rooms = story.rooms
        self.members: dict[Purpose, set[int]] = {purpose: set() for purpose in Purpose}
        story.workflows["consent.withdrawn"] = Registered(
            "withdraw_consent_v1", partial(withdraw_consent, story.rooms, {**removers, "cohorts": self.remove}), "quick"
        )

    @for_purpose(Purpose.RESEARCH)
    def build(self) -> None:
        with self.rooms.database.write() as session:
            port = {"defaults": self.rooms.settings.purposes, "actor": "researcher"}
            everybody = session.scalars(select(Patient.id)).all()
            answers = permitted_among(session, everybody, Purpose.RESEARCH, **port)
            chosen = {patient for patient, answer in answers.items() if answer.allowed}
            self.members[Purpose.RESEARCH] = chosen
            used(session, chosen, Purpose.RESEARCH, Made("cohorts", "cohort", "c1"), **port)
            used(session, chosen, Purpose.RESEARCH, Made("cohorts", "model", "m1"), **port)

    def remove(self, _session: Session, patient_id: int, purpose: Purpose) -> list[Made]:
        """The cohort lets them go; the model can't."""
        members = self.members[purpose]
        if patient_id not in members:
            return []
        members.remove(patient_id)
        return [Made("cohorts", "cohort", "c1")]


def say(story: Any, patient_id: int, kind: Kind, purpose: Purpose) -> None:
    with story.rooms.database.write() as session:
        decide(session, patient_id, Statement(kind, (purpose,), reference="form 1"), actor="rada")


def patients(story: Any) -> list[int]:
    with story.rooms.database.read() as session:
        return list(session.scalars(select(Patient.id).order_by(Patient.id)))


def test_nobody_is_read_by_ai_who_refused_care_by_it(story: Any, make_series: Series) -> None:
    images = make_series(slices=3)
    story.send(*images)
    (patient,) = patients(story)
    say(story, patient, Kind.REFUSED, Purpose.CARE)
    story.work()
    assert story.states() == {TINY: "not-applicable"}
    (reading,) = story.page().readings
    assert "for care was refused on" in reading.reason
    assert story.own_objects() == {}
    say(story, patient, Kind.GIVEN, Purpose.CARE)
    story.send(*make_series(slices=1, study_uid=images[0].StudyInstanceUID))
    story.work()
    assert story.states() == {TINY: "found"}
    with story.rooms.database.read() as session:
        asked = session.scalars(
            select(AuditEvent).where(AuditEvent.action == "purpose-asked").order_by(AuditEvent.id)
        ).all()
    assert [event.outcome for event in asked] == ["refused", "success"]


def test_a_withdrawal_takes_the_patient_out_and_lists_what_was_learned(sqlite_story: Any, make_series: Series) -> None:
    story = sqlite_story
    cohorts = Cohorts(story, {})
    story.send(*make_series(1, patient_id="A"), *make_series(1, patient_id="B"), *make_series(1, patient_id="C"))
    first, second, third = patients(story)
    say(story, first, Kind.GIVEN, Purpose.RESEARCH)
    say(story, second, Kind.GIVEN, Purpose.RESEARCH)
    cohorts.build()
    assert cohorts.members[Purpose.RESEARCH] == {first, second}

    say(story, first, Kind.WITHDRAWN, Purpose.RESEARCH)
    story.work()
    assert cohorts.members[Purpose.RESEARCH] == {second}
    with story.rooms.database.read() as session:
        cohort, model = uses_of(session, first)
        assert [use.removed_at for use in uses_of(session, second)] == [None, None]
        assert uses_of(session, third) == ()
    assert cohort.removed_at is not None
    assert (model.made.what, model.removed_at) == ("model", None)

    cohorts.build()
    assert cohorts.members[Purpose.RESEARCH] == {second}


def test_another_purpose_stays(sqlite_story: Any, make_series: Series) -> None:
    story = sqlite_story
    cohorts = Cohorts(story, {})
    story.send(*make_series(1))
    (patient,) = patients(story)
    for purpose in (Purpose.RESEARCH, Purpose.TEACHING):
        say(story, patient, Kind.GIVEN, purpose)
    cohorts.build()
    say(story, patient, Kind.WITHDRAWN, Purpose.TEACHING)
    story.work()
    assert cohorts.members[Purpose.RESEARCH] == {patient}


def test_a_room_that_fails_holds_up_no_other_and_is_not_forgotten(sqlite_story: Any, make_series: Series) -> None:
    story = sqlite_story

    def broken(_session: Session, _patient_id: int, _purpose: Purpose) -> list[Made]:
        raise OSError("the disk is away")

    cohorts = Cohorts(story, {"another": broken})
    story.send(*make_series(1))
    (patient,) = patients(story)
    say(story, patient, Kind.GIVEN, Purpose.RESEARCH)
    cohorts.build()
    say(story, patient, Kind.WITHDRAWN, Purpose.RESEARCH)
    with pytest.raises(OSError, match="away"):
        story.work()
    assert cohorts.members[Purpose.RESEARCH] == set()
    with story.rooms.database.read() as session:
        row = session.scalars(select(OutboxRow).where(OutboxRow.topic == "consent.withdrawn")).one()
    assert row.payload == {"patient_id": patient, "purpose": "research"}


def test_a_withdrawal_reaches_the_cohorts(sqlite_story: Any, make_series: Series) -> None:
    """The worker's own list of rooms, a real cohort: the patient is out of it, and the register says so."""
    story = sqlite_story
    story.send(*make_series(1, patient_id="A"), *make_series(1, patient_id="B", Manufacturer="other"))
    story.work()
    leaving, staying = patients(story)
    for patient in (leaving, staying):
        say(story, patient, Kind.GIVEN, Purpose.TRAINING)
    place = Place(story.rooms.settings, story.rooms.database)
    version = place.freeze(place.add())
    assert {member.patient_id for member in place.members(version)} <= {leaving, staying}
    gone = place.members(version)[0].patient_id
    assert gone is not None
    say(story, gone, Kind.WITHDRAWN, Purpose.TRAINING)
    story.work()
    assert gone not in {member.patient_id for member in place.members(version)}
    with story.rooms.database.read() as session:
        (use,) = uses_of(session, gone)
    assert (use.made.room, use.made.what, use.made.ref) == ("learning", "cohort", version.id)
    assert use.removed_at is not None
