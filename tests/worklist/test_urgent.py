"""The life of an urgent alert: raised once, shown, acknowledged or escalated, closed; every change kept."""

import json
from datetime import timedelta

import pytest
from pydicom.sr._concepts_dict import concepts
from sqlalchemy import select, text
from sqlalchemy.exc import DatabaseError
from urgent_support import BLEED, CLOT, NODULE, PLANTED, add_study, alerts, finding, read

from readingroom.access.actor import SYSTEM
from readingroom.access.tables import Alert
from readingroom.core.audit import AuditEvent
from readingroom.core.clock import utc_now
from readingroom.core.database import Database
from readingroom.core.errors import NotFound
from readingroom.core.urgent_channels import Urgent
from readingroom.findings.model import ReaderState
from readingroom.readers.tables import ReadingRow
from readingroom.report.tables import ReportRow
from readingroom.review.decisions import finding_counts, verdict_count
from readingroom.review.model import VerdictInput
from readingroom.review.verdicts import give
from readingroom.worklist import items
from readingroom.worklist.priority import STAT, urgent_codes
from readingroom.worklist.urgent import life
from readingroom.worklist.urgent.state import state_of
from readingroom.worklist.urgent.tables import UrgentEvent
from readingroom.worklist.urgent.views import urgent_list


def events(database: Database) -> list[tuple[str, str, str]]:
    with database.read() as session:
        rows = session.scalars(select(UrgentEvent).order_by(UrgentEvent.id))
        return [(row.kind, row.actor, row.detail) for row in rows]


def actions(database: Database) -> list[str]:
    with database.read() as session:
        found = session.scalars(select(AuditEvent).order_by(AuditEvent.id))
        return [row.action for row in found if row.action.startswith("urgent-")]


def top(database: Database) -> items.WorklistItem:
    with database.read() as session:
        return items.worklist(session, SYSTEM, finding_counts, verdict_count).items[0]


def test_codes_are_those_of_the_terminology() -> None:
    known = {code for keyword in concepts["SCT"].values() for code in keyword}
    assert {value for value, scheme in urgent_codes() if scheme == "SCT"} <= known
    assert set(urgent_codes().values()) == {STAT}


def test_one_alert_a_revision_and_code(database: Database) -> None:
    study = add_study(database)
    both = [finding(probability=0.7, name="a"), finding(probability=0.91, name="b"), finding(NODULE, 0.99, "n")]
    read(database, study, [*both, finding(CLOT, 0.6, "c")])
    # Another reader that says the same, and the step that runs once more, raise nothing more.
    read(database, study, [finding(name="x")], reader="other")
    found = {alert.code_value: alert for alert in alerts(database, study)}
    assert set(found) == {BLEED.value, CLOT.value}
    assert (found[BLEED.value].finding_ids, found[BLEED.value].probability) == (["b", "a"], 0.91)
    assert [kind for kind, *_ in events(database)] == ["raised", "raised"]
    assert actions(database) == ["urgent-raised"] * 2


@pytest.mark.parametrize(
    ("probability", "point", "raised"), [(0.5, 0.5, 1), (0.49, 0.5, 0), (None, 0.5, 1), (0.1, None, 1)]
)
def test_at_the_operating_point_or_above(
    sqlite_database: Database, probability: float | None, point: float | None, raised: int
) -> None:
    study = add_study(sqlite_database)
    read(sqlite_database, study, [finding(probability=probability)], operating_point=point)
    assert len(alerts(sqlite_database, study)) == raised


def test_nothing_urgent_raises_nothing(sqlite_database: Database) -> None:
    study = add_study(sqlite_database)
    read(sqlite_database, study, [finding(NODULE, 0.99)])
    assert alerts(sqlite_database, study) == []
    assert top(sqlite_database).urgent is None


def test_shown_acknowledged_signed(database: Database) -> None:
    study = add_study(database, received_at=utc_now() - timedelta(minutes=5))
    read(database, study, [finding()])
    (alert,) = alerts(database, study)
    assert (top(database).priority, top(database).priority_reason) == (
        STAT, "Raised by intracranial hemorrhage, probability 0.91.",
    )  # fmt: skip
    for actor in ("rada", "rex", "rada"):
        with database.write() as session:
            life.shown(session, study, alert.id, actor)
    assert top(database).urgent.state == "shown"  # type: ignore[union-attr]
    for actor in ("rex", "rada"):
        with database.write() as session:
            life.acknowledge(session, study, alert.id, actor)
    mark = top(database).urgent
    assert mark is not None
    assert (mark.state, mark.acknowledged_by) == ("acknowledged", "rex")
    with database.read() as session:
        assert urgent_list(session, SYSTEM).waiting == 0
        (line,) = urgent_list(session, SYSTEM, everything=True).items
    with database.write() as session:
        session.add(ReportRow(study_id=study, revision=1, state="final", body={}, signed_at=utc_now()))
        life.close_signed(session, study, "rada")
    (alert,) = alerts(database, study)
    assert (state_of(alert), alert.closed_why, alert.shown_to) == ("closed", "signed", "rada")
    assert events(database) == [
        ("raised", "system", ""), ("shown", "rada", ""), ("shown", "rex", ""), ("acknowledged", "rex", ""),
        ("closed", "rada", "signed"),
    ]  # fmt: skip
    assert actions(database)[-1] == "urgent-closed"
    with database.read() as session:
        (line,) = urgent_list(session, SYSTEM, everything=True).items
    times = line.times
    assert times.signed is not None
    assert times.received < times.raised <= times.shown <= times.acknowledged <= times.signed  # type: ignore[operator]
    assert PLANTED not in line.model_dump_json()


def test_events_are_only_ever_added(database: Database) -> None:
    study = add_study(database)
    read(database, study, [finding()])
    for change in ("UPDATE urgent_event SET actor = 'x'", "DELETE FROM urgent_event"):
        with pytest.raises(DatabaseError), database.write() as session:
            session.execute(text(change))


def test_another_studys_alert_is_not_there(sqlite_database: Database) -> None:
    study, other = add_study(sqlite_database), add_study(sqlite_database)
    read(sqlite_database, study, [finding()])
    (alert,) = alerts(sqlite_database, study)
    for act in (life.shown, life.acknowledge):
        with pytest.raises(NotFound), sqlite_database.write() as session:
            act(session, other, alert.id, "rada")


def test_what_nobody_acknowledges_goes_further(database: Database) -> None:
    settings = Urgent.model_validate(
        {
            "escalate_minutes": 10,
            "channels": [{"name": "late", "kind": "webhook", "url": "https://x.example/", "step": 2}],
        }
    )
    study = add_study(database)
    read(database, study, [finding()], settings=settings)

    def after(minutes: float) -> int:
        with database.write() as session:
            due = life.is_due(session, utc_now() + timedelta(minutes=minutes))
            number = life.escalate(session, settings, utc_now() + timedelta(minutes=minutes))
        assert due is bool(number)
        return number

    assert [after(9.5), after(10.5), after(10.6), after(21), after(600)] == [0, 1, 0, 1, 0]
    (alert,) = alerts(database, study)
    assert (alert.step, state_of(alert)) == (2, "escalated")
    with database.read() as session:
        (told,) = session.scalars(select(Alert)).all()
    # Administrators learn that somebody must be found; not of what, and not of whom.
    assert (told.kind, told.study_id) == ("urgent-waiting", None)
    assert told.text == "An urgent finding has waited 10 minutes for a reader to acknowledge it."
    with database.write() as session:
        life.acknowledge(session, study, alert.id, "rada")
    assert after(6000) == 0


def test_an_acknowledged_alert_is_not_escalated(sqlite_database: Database) -> None:
    study = add_study(sqlite_database)
    read(sqlite_database, study, [finding()])
    (alert,) = alerts(sqlite_database, study)
    with sqlite_database.write() as session:
        life.acknowledge(session, study, alert.id, "rada")
        assert life.escalate(session, Urgent(), utc_now() + timedelta(hours=1)) == 0


def test_rejecting_every_finding_closes_it(sqlite_database: Database) -> None:
    study = add_study(sqlite_database)
    read(sqlite_database, study, [finding(name="a"), finding(name="b", probability=0.7)])
    for name, closed in (("a", False), ("b", True)):
        verdict = VerdictInput(kind="reject", finding_id=name, reason_code="other", reason_text="artefact", revision=1)
        with sqlite_database.write() as session:
            give(session, study, verdict, "rada")
        (alert,) = alerts(sqlite_database, study)
        assert (alert.closed_at is not None) is closed
    assert alert.closed_why == "rejected"


def test_a_later_revision_takes_its_place(database: Database) -> None:
    study = add_study(database)
    first = read(database, study, [finding()])
    # While the later revision is read the study stays where it is, though the reading is superseded.
    with database.write() as session:
        session.get_one(ReadingRow, first).state = ReaderState.SUPERSEDED
    assert top(database).priority == STAT
    read(database, study, [finding(probability=0.8)], revision=2)
    old, new = alerts(database, study)
    assert (old.closed_why, new.revision, state_of(new)) == ("raised-again", 2, "raised")
    # A reader that could not look says nothing; one that looked and found none ends it.
    read(database, study, revision=3, state=ReaderState.ABSTAINED)
    assert alerts(database, study)[1].closed_at is None
    read(database, study, revision=4, reader="other")
    assert alerts(database, study)[1].closed_at is None
    read(database, study, revision=4)
    assert alerts(database, study)[1].closed_why == "not-found-again"


def test_images_after_the_signature(sqlite_database: Database) -> None:
    """What they raise ends when somebody has seen to it: no other signature is to come."""
    study = add_study(sqlite_database)
    with sqlite_database.write() as session:
        session.add(ReportRow(study_id=study, revision=1, state="written", body={}, signed_at=utc_now()))
    read(sqlite_database, study, [finding()], revision=2)
    (alert,) = alerts(sqlite_database, study)
    with sqlite_database.write() as session:
        life.acknowledge(session, study, alert.id, "rada")
    assert alerts(sqlite_database, study)[0].closed_why == "signed"


def test_the_lists_tag_follows_every_change(sqlite_database: Database) -> None:
    def tag() -> str:
        with sqlite_database.read() as session:
            return items.etag(session, SYSTEM, verdict_count)

    study = add_study(sqlite_database)
    read(sqlite_database, study, [finding()])
    (alert,) = alerts(sqlite_database, study)
    seen = [tag()]
    for act in (life.shown, life.acknowledge):
        with sqlite_database.write() as session:
            act(session, study, alert.id, "rada")
        seen.append(tag())
    assert len(set(seen)) == 3


def test_no_identifier_in_what_is_kept(sqlite_database: Database) -> None:
    study = add_study(sqlite_database)
    read(sqlite_database, study, [finding()])
    with sqlite_database.read() as session:
        kept = [
            dict(row._mapping)
            for table in ("urgent_alert", "urgent_event", "urgent_message")
            for row in session.execute(text(f"SELECT * FROM {table}"))
        ]
    assert "PLANTED" not in json.dumps(kept, default=str).upper()
    assert PLANTED not in json.dumps(kept, default=str)
