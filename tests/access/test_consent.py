"""Consent: the fold over decisions, the port and its audit, withdrawal, expiry, and what was made of whom."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, select, text, update
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

from readingroom.access.consent import (
    Decision,
    Kind,
    Statement,
    decide,
    expire,
    fold,
    for_purpose,
    history,
    may_use,
    permitted,
    permitted_among,
    standing,
)
from readingroom.access.tables import ConsentRow, UseRow
from readingroom.access.uses import Made, removed, used, uses_of
from readingroom.archive.tables import Patient
from readingroom.core.audit import AuditEvent
from readingroom.core.config import PurposeDefault, PurposeDefaults
from readingroom.core.database import Database
from readingroom.core.errors import BadInput, Forbidden
from readingroom.core.outbox import OutboxRow
from readingroom.core.purposes import Purpose, legal_bases

SITE = PurposeDefaults()
DAY = timedelta(days=1)
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
CARE, RESEARCH, TRAINING, TEACHING = Purpose
MODEL = Made("learning", "model", "m1")
COHORT = Made("cohorts", "cohort", "c1")


def given(*purposes: Purpose, **more: object) -> Statement:
    return Statement(Kind.GIVEN, purposes or (RESEARCH,), reference="form 17", **more)  # type: ignore[arg-type]


def said(kind: Kind, *purposes: Purpose, **more: object) -> Statement:
    return Statement(kind, purposes or (RESEARCH,), **more)  # type: ignore[arg-type]


def ask(database: Database, patient_id: int, purpose: Purpose = RESEARCH) -> Decision:
    with database.write() as session:
        return permitted(session, patient_id, purpose, defaults=SITE, actor="rada")


def say(database: Database, patient_id: int, statement: Statement, now: datetime | None = None) -> str:
    with database.write() as session:
        return decide(session, patient_id, statement, actor="rada", now=now)


def topics(database: Database) -> list[dict[str, object]]:
    with database.read() as session:
        return [row.payload for row in session.scalars(select(OutboxRow).order_by(OutboxRow.id))]


def test_care_is_allowed_and_the_rest_denied_until_somebody_decides(database: Database) -> None:
    assert ask(database, 7, CARE) == Decision(
        True, "treatment", "Nothing was decided; this site allows care (care of the patient)."
    )
    for purpose in (RESEARCH, TRAINING, TEACHING):
        answer = ask(database, 7, purpose)
        assert (answer.allowed, answer.basis, answer.kind) == (False, "", None)


def test_a_site_may_rest_a_purpose_on_another_basis_and_a_patient_still_says_no(sqlite_database: Database) -> None:
    site = PurposeDefaults(research=PurposeDefault(basis="ethics-waiver", reference="EC 2026-14"))
    with sqlite_database.write() as session:
        assert permitted(session, 1, RESEARCH, defaults=site, actor="x").basis == "ethics-waiver"
        decide(session, 1, said(Kind.REFUSED), actor="x")
        assert not permitted(session, 1, RESEARCH, defaults=site, actor="x").allowed
        assert permitted(session, 2, RESEARCH, defaults=site, actor="x").allowed


def test_given_then_withdrawn_then_given_again(database: Database) -> None:
    say(database, 7, given())
    assert (ask(database, 7).allowed, ask(database, 7).basis) == (True, "consent")
    assert not ask(database, 8).allowed
    assert not ask(database, 7, TRAINING).allowed
    say(database, 7, said(Kind.WITHDRAWN))
    assert (ask(database, 7).allowed, ask(database, 7).kind) == (False, Kind.WITHDRAWN)
    say(database, 7, given())
    assert ask(database, 7).allowed
    with database.read() as session:
        rows = history(session, 7)
    assert [(row.kind, row.actor, row.source, row.reference) for row in rows] == [
        ("given", "rada", "hand", "form 17"),
        ("withdrawn", "rada", "hand", ""),
        ("given", "rada", "hand", "form 17"),
    ]


def test_one_form_for_several_purposes_is_one_act(sqlite_database: Database) -> None:
    act = say(sqlite_database, 7, given(RESEARCH, TRAINING))
    with sqlite_database.read() as session:
        assert {(row.act, row.purpose) for row in history(session, 7)} == {(act, "research"), (act, "training")}
        assert [p for p, d in standing(session, 7, SITE).items() if d.allowed] == [CARE, RESEARCH, TRAINING]


def test_refusing_what_was_given_is_withdrawing(sqlite_database: Database) -> None:
    say(sqlite_database, 7, said(Kind.REFUSED))
    assert ask(sqlite_database, 7).kind is Kind.REFUSED
    say(sqlite_database, 7, given())
    say(sqlite_database, 7, said(Kind.REFUSED))
    assert ask(sqlite_database, 7).kind is Kind.WITHDRAWN


def test_the_later_decision_holds_whenever_each_was_entered(sqlite_database: Database) -> None:
    say(sqlite_database, 7, said(Kind.REFUSED, starts_at=NOON), now=NOON)
    say(sqlite_database, 7, given(starts_at=NOON - 9 * DAY), now=NOON + DAY)  # an older form, found later
    assert ask(sqlite_database, 7).kind is Kind.REFUSED
    say(sqlite_database, 7, given(starts_at=NOON + DAY), now=NOON + 2 * DAY)
    assert ask(sqlite_database, 7).allowed


def test_withdrawing_holds_at_once_whatever_date_it_bears(sqlite_database: Database) -> None:
    say(sqlite_database, 7, given(starts_at=NOON), now=NOON + DAY)
    say(sqlite_database, 7, said(Kind.WITHDRAWN, starts_at=NOON - DAY), now=NOON + 2 * DAY)
    assert ask(sqlite_database, 7).kind is Kind.WITHDRAWN


def test_a_period_begins_and_ends() -> None:
    row = ConsentRow(id=1, kind="given", basis="consent", starts_at=NOON, ends_at=NOON + DAY, purpose="research")
    nothing = PurposeDefault()
    at = lambda moment: fold([row], nothing, RESEARCH, moment)  # noqa: E731
    assert (at(NOON - DAY).allowed, at(NOON - DAY).kind) == (False, None)
    assert at(NOON).allowed
    assert at(NOON + DAY - timedelta(seconds=1)).allowed
    assert (at(NOON + DAY).allowed, at(NOON + DAY).kind) == (False, Kind.EXPIRED)


def test_expiry_is_noted_once_and_takes_the_patient_out(database: Database) -> None:
    say(database, 7, given(starts_at=NOON, ends_at=NOON + DAY), now=NOON)
    say(database, 8, given(starts_at=NOON, ends_at=NOON + DAY), now=NOON)
    say(database, 8, given(starts_at=NOON + timedelta(hours=1)), now=NOON + timedelta(hours=1))
    with database.write() as session:
        assert expire(session, NOON + timedelta(hours=23)) == 0
        assert expire(session, NOON + DAY) == 1
        assert expire(session, NOON + 2 * DAY) == 0
        assert [row.kind for row in history(session, 7)] == ["given", "expired"]
        assert [row.kind for row in history(session, 8)] == ["given", "given"]
    assert topics(database) == [{"patient_id": 7, "purpose": "research"}]
    assert ask(database, 8).allowed


def test_only_a_no_takes_the_patient_out(sqlite_database: Database) -> None:
    say(sqlite_database, 7, given(RESEARCH, TRAINING))
    assert topics(sqlite_database) == []
    say(sqlite_database, 7, said(Kind.WITHDRAWN, RESEARCH, TRAINING))
    assert topics(sqlite_database) == [
        {"patient_id": 7, "purpose": "research"},
        {"patient_id": 7, "purpose": "training"},
    ]


@pytest.mark.parametrize(
    "statement",
    [
        Statement(Kind.GIVEN, (RESEARCH,)),  # no reference
        Statement(Kind.GIVEN, (RESEARCH,), basis="treatment", reference="x"),
        Statement(Kind.GIVEN, (RESEARCH,), basis="made-up", reference="x"),
        Statement(Kind.GIVEN, (), reference="x"),
        Statement(Kind.EXPIRED, (RESEARCH,)),
        Statement(Kind.GIVEN, (RESEARCH,), reference="x", starts_at=NOON, ends_at=NOON),
        Statement(Kind.GIVEN, (RESEARCH,), reference="x", ends_at=NOON),  # long ago
    ],
)
def test_what_is_no_decision_is_refused(sqlite_database: Database, statement: Statement) -> None:
    with pytest.raises(BadInput):
        say(sqlite_database, 7, statement)
    with sqlite_database.read() as session:
        assert history(session, 7) == []


def test_decisions_and_uses_cannot_be_changed_or_deleted(database: Database) -> None:
    say(database, 7, given())
    with database.write() as session:
        used(session, [7], RESEARCH, COHORT, defaults=SITE, actor="rada")
    for table in (ConsentRow, UseRow):
        for statement in (update(table).values(actor="mallory"), delete(table)):
            with pytest.raises(DBAPIError), database.write() as session:
                session.execute(statement)
    with database.read() as session:
        assert len(history(session, 7)) == len(uses_of(session, 7)) == 1


def events(database: Database, action: str) -> list[AuditEvent]:
    with database.read() as session:
        return list(session.scalars(select(AuditEvent).where(AuditEvent.action == action).order_by(AuditEvent.id)))


def test_every_question_is_audited_whatever_the_answer(database: Database) -> None:
    say(database, 7, given())
    ask(database, 7)
    ask(database, 8)
    with database.write() as session:
        answers = permitted_among(session, [7, 8, 9], RESEARCH, defaults=SITE, actor="rada")
    assert {patient for patient, answer in answers.items() if answer.allowed} == {7}
    asked = events(database, "purpose-asked")
    assert [event.outcome for event in asked] == ["success", "refused", "refused"]
    assert asked[0].detail == {"purpose": "research", "asked": 1, "allowed": 1, "basis": "consent"}
    assert asked[0].patient_id == 7
    assert asked[2].detail == {"purpose": "research", "asked": 3, "allowed": 1}
    assert [event.patient_id for event in events(database, "consent-given")] == [7]


def test_a_question_that_could_not_be_audited_is_refused(database: Database) -> None:
    with database.read() as session, pytest.raises(RuntimeError, match="audited"):
        permitted(session, 7, CARE, defaults=SITE, actor="rada")


def test_an_answer_for_every_patient_of_a_large_cohort(sqlite_database: Database) -> None:
    for patient in (1, 600, 1200):
        say(sqlite_database, patient, given())
    with sqlite_database.write() as session:
        answers = permitted_among(session, range(1, 1301), RESEARCH, defaults=SITE, actor="rada")
        assert permitted_among(session, [], RESEARCH, defaults=SITE, actor="rada") == {}
    assert len(answers) == 1300
    assert [patient for patient, answer in answers.items() if answer.allowed] == [1, 600, 1200]


def test_the_condition_of_a_query_answers_as_the_port_does(database: Database) -> None:
    """Random lives of 60 patients: the fold in Python and the one in SQL agree on every one, at several moments."""
    chance = random.Random(20260310)
    with database.write() as session:
        session.add_all(Patient(id=n, PatientID=f"P{n}") for n in range(1, 61))
        session.flush()
        for n in range(150):
            starts = NOON + chance.randrange(-6, 6) * DAY
            session.add(
                ConsentRow(
                    act=str(n), patient_id=chance.randrange(1, 50), purpose=chance.choice(["research", "training"]),
                    kind=chance.choice(["given", "given", "refused", "withdrawn", "expired"]), basis="consent",
                    source="hand", actor="x", starts_at=starts, recorded_at=NOON,
                    ends_at=chance.choice([None, None, starts + chance.randrange(1, 5) * DAY]),
                )
            )  # fmt: skip
    waiver = PurposeDefaults(training=PurposeDefault(basis="ethics-waiver", reference="EC 1"))
    with database.read() as session:
        for purpose in (RESEARCH, TRAINING):
            for now in (NOON - 4 * DAY, NOON, NOON + 5 * DAY):
                shown = session.scalars(select(Patient.id).where(may_use(Patient.id, purpose, waiver, now))).all()
                wanted = [n for n in range(1, 61) if standing(session, n, waiver, now)[purpose].allowed]
                assert sorted(shown) == wanted
                assert 0 < len(wanted) < 60


def test_a_withdrawal_waits_for_a_use_under_way(database: Database) -> None:
    """What was permitted stays so until the transaction that asked ends; the withdrawal then finds what it made."""
    say(database, 7, given())
    with database.write() as using:
        permitted(using, 7, RESEARCH, defaults=SITE, actor="rada")
        with pytest.raises(OperationalError), database.engine.connect() as other:
            # Neither database is to wait for long here.
            if other.dialect.name == "postgresql":
                other.execute(text("SET lock_timeout = '50ms'"))
            else:
                other.connection.cursor().execute("PRAGMA busy_timeout=50")
                other.rollback()
            with Session(other) as session:
                decide(session, 7, said(Kind.WITHDRAWN), actor="rada")
        if database.engine.dialect.name == "postgresql":
            # Uses go side by side; on SQLite one transaction writes at a time anyway.
            permitted_beside(database)
    say(database, 7, said(Kind.WITHDRAWN))
    assert not ask(database, 7).allowed


def permitted_beside(database: Database) -> None:
    with Session(database.engine) as session:
        session.execute(text("SET lock_timeout = '50ms'"))
        assert permitted(session, 7, RESEARCH, defaults=SITE, actor="rada").allowed


def test_used_then_removed_then_used_again(database: Database) -> None:
    say(database, 7, given(RESEARCH, TRAINING))
    with database.write() as session:
        used(session, [7], RESEARCH, COHORT, defaults=SITE, actor="rada")
        used(session, [7], TRAINING, MODEL, defaults=SITE, actor="trainer")
    with database.write() as session:
        assert removed(session, 7, RESEARCH, [COHORT, COHORT, Made("cohorts", "cohort", "other")]) == 1
        assert removed(session, 7, RESEARCH, [COHORT]) == 0
        assert removed(session, 7, TRAINING, [COHORT]) == 0
    with database.read() as session:
        cohort, model = uses_of(session, 7)
    assert (cohort.made, cohort.purpose, cohort.removed_at is not None) == (COHORT, RESEARCH, True)
    assert (model.made, model.actor, model.removed_at) == (MODEL, "trainer", None)
    with database.write() as session:
        used(session, [7], RESEARCH, COHORT, defaults=SITE, actor="rada")
        assert [use.removed_at for use in uses_of(session, 7)] == [None, None]
        assert uses_of(session, 8) == ()


def test_a_use_that_is_not_permitted_is_refused_and_nothing_of_it_is_kept(database: Database) -> None:
    say(database, 7, given())
    with pytest.raises(Forbidden) as error, database.write() as session:
        used(session, [7, 8], RESEARCH, COHORT, defaults=SITE, actor="rada")
    assert error.value.code == "not-permitted"
    assert "1 of 2" in error.value.message
    with database.read() as session:
        assert uses_of(session, 7) == ()


def test_a_job_that_never_asks_fails(sqlite_database: Database) -> None:
    @for_purpose(RESEARCH)
    def careless() -> str:
        return "done"

    @for_purpose(RESEARCH)
    def asks_for_another() -> None:
        ask(sqlite_database, 7, CARE)

    @for_purpose(RESEARCH)
    def asks() -> bool:
        return ask(sqlite_database, 7).allowed

    @for_purpose(RESEARCH)
    def calls_one_that_asks() -> bool:
        return asks()

    for job in (careless, asks_for_another):
        with pytest.raises(RuntimeError, match="never asked"):
            job()
    assert asks() is False
    assert calls_one_that_asks() is False
    with pytest.raises(RuntimeError):
        careless()  # another's question is not its own


def test_a_declaration_on_what_ends_before_its_work_is_an_error() -> None:
    async def later() -> None: ...

    with pytest.raises(TypeError):
        for_purpose(RESEARCH)(later)


def test_table_of_legal_bases() -> None:
    bases = legal_bases()
    for purpose in Purpose:
        assert "consent" in {code for code, basis in bases.items() if purpose in basis.purposes}
    assert all(basis.title and basis.text and basis.source for basis in bases.values())
    # Consent is a person's own word: no site can presume it.
    assert not bases["consent"].default
    assert not any(basis.default for basis in bases.values() if CARE in basis.purposes and basis.code != "treatment")
