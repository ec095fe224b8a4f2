"""The audit's chain on both databases: written as it commits, without a fork, and every alteration of it found."""

import json
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select, text
from sqlalchemy.orm import Session

from readingroom.access.audit.chain import check, verify, verify_here
from readingroom.access.audit.seals import Seal, read_file, seal_head
from readingroom.access.audit.tables import AuditSeal
from readingroom.access.tables import Alert
from readingroom.core import audit
from readingroom.core.audit import AuditCode, AuditEvent, acting_from, chained_hash, record, record_alone
from readingroom.core.config import Settings
from readingroom.core.database import Database
from readingroom.core.secrets import SecretBox, load_secrets

ALTERATIONS = 1000
WRITERS, EACH = 8, 200
EVENTS, SEALS = AuditEvent.__table__, AuditSeal.__table__


@pytest.fixture
def box(settings: Settings) -> SecretBox:
    return load_secrets(settings)


def fill(database: Database, settings: Settings, *, events: int = 40, seals: int = 4) -> None:
    """Write events of every kind and seal the chain now and then; the newest event is sealed."""
    codes = list(AuditCode)
    for n in range(events):
        with database.write() as session, acting_from("192.0.2.7" if n % 3 else ""):
            study_id = f"{n % 5:032x}" if n % 2 else None
            detail = {"instances": n, "words": "ü, \u2028, \\", "nested": {"list": [1, None, True]}}
            about = {"study_id": study_id, "patient_id": None if n % 4 else n}
            record(session, codes[n % len(codes)], f"action-{n}", "alice", **about, detail=detail)
        if (n + 1) % (events // seals) == 0:
            assert seal_head(settings, database) is not None


def unprotect(connection: Connection) -> None:
    """Take away what keeps the tables append-only, as somebody who owns the database can."""
    if connection.dialect.name == "sqlite":
        for table in ("audit_event", "audit_seal"):
            for verb in ("update", "delete"):
                connection.execute(text(f"DROP TRIGGER {table}_no_{verb}"))
    else:
        for table in ("audit_event", "audit_seal"):
            connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER ALL"))


def test_a_chain_that_nobody_touched_is_intact(database: Database, settings: Settings) -> None:
    empty = verify_here(settings, database)
    assert (empty.intact, empty.events, empty.sealed) == (True, 0, 0)
    fill(database, settings)
    found = verify_here(settings, database)
    assert (found.intact, found.events, found.sealed, found.first_wrong) == (True, 40, 40, None)
    with database.write() as session:
        record(session, AuditCode.QUERY, "later", "bob")
    assert (verify_here(settings, database).events, verify_here(settings, database).sealed) == (41, 40)
    assert seal_head(settings, database) is not None
    assert seal_head(settings, database) is None, "what is sealed is not sealed again"


def test_pages_of_a_long_chain(sqlite_database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("readingroom.access.audit.chain.PAGE", 7)
    fill(sqlite_database, settings)
    assert verify_here(settings, sqlite_database).events == 40


class Alterations:
    """Single alterations of the audit store, each a sentence and what it does, chosen by a seeded generator."""

    def __init__(self, seed: int, events: list[dict[str, Any]], seals: list[dict[str, Any]]) -> None:
        self.random, self.events, self.seals = random.Random(seed), events, seals

    def one(self, connection: Connection) -> str:
        table, rows, key = (EVENTS, self.events, "id") if self.random.random() < 0.8 else (SEALS, self.seals, "number")
        kind = self.random.choice(["column", "column", "column", "delete", "swap", "duplicate", "insert"])
        row = self.random.choice(rows)
        here = table.c[key] == row[key]
        if kind == "column":
            name = self.random.choice([c.name for c in table.columns])
            value = self._other(name, row[name], rows)
            connection.execute(table.update().where(here).values({name: value}))
            return f"{table.name} {row[key]}: {name} altered"
        if kind == "delete":
            connection.execute(table.delete().where(here))
            return f"{table.name} {row[key]}: deleted"
        if kind == "swap":
            other = self.random.choice([o for o in rows if o is not row])
            for one, into in ((row, other), (other, row)):
                content = {name: value for name, value in one.items() if name != key}
                connection.execute(table.update().where(table.c[key] == into[key]).values(content))
            return f"{table.name} {row[key]} and {other[key]}: swapped"
        number = rows[-1][key] + 1 if kind == "duplicate" else self.random.choice([0, -1, rows[-1][key] + 5])
        connection.execute(insert(table).values({**row, key: number}))
        return f"{table.name} {row[key]}: again as {number}"

    def _other(self, name: str, value: Any, rows: list[dict[str, Any]]) -> Any:
        if name in ("id", "number"):
            return self.random.choice([0, -3, rows[-1][name] + 1, rows[-1][name] + 9])
        if isinstance(value, int):
            return value + self.random.choice([-1, 1, 7])
        if name == "at":
            return value.replace(microsecond=(value.microsecond + self.random.randrange(1, 10**6)) % 10**6)
        if name == "detail":
            return self.random.choice([{**value, "instances": value["instances"] + 1}, {}, {**value, "more": None}])
        if value is None:
            return 7 if name == "patient_id" else "f" * 32
        if self.random.random() < 0.3:
            return "" if value else "x"
        at = self.random.randrange(len(value) or 1)
        return value[:at] + ("b" if value[at : at + 1] != "b" else "c") + value[at + 1 :]


def test_a_thousand_single_alterations_are_found(database: Database, settings: Settings, box: SecretBox) -> None:
    fill(database, settings)
    file = read_file(settings.audit_seals_file)
    with database.read() as session:
        events = [dict(row) for row in session.execute(select(EVENTS).order_by(EVENTS.c.id)).mappings()]
        seals = [dict(row) for row in session.execute(select(SEALS).order_by(SEALS.c.number)).mappings()]
    choose = Alterations(20261126, events, seals)
    kinds, missed = set(), []
    with database.engine.connect() as connection:
        unprotect(connection)
        session = Session(connection)
        for _ in range(ALTERATIONS):
            connection.exec_driver_sql("SAVEPOINT alteration")
            what = choose.one(connection)
            found = verify(session, box, file)
            if found.intact:
                missed.append(what)
            if what.startswith("audit_event") and "altered" in what and ": id" not in what:
                assert found.first_wrong == int(what.split()[1].rstrip(":")), (what, found.problem)
            kinds.add(what.split(": ")[0].split()[0] + what.split(": ")[1])
            connection.exec_driver_sql("ROLLBACK TO alteration")
        assert verify(session, box, file).intact, "each was taken back"
    assert missed == []
    every = {f"audit_event{c.name} altered" for c in EVENTS.columns} | {
        f"audit_seal{c.name} altered" for c in SEALS.columns
    }
    assert every | {"audit_eventdeleted", "audit_eventswapped", "audit_sealdeleted", "audit_sealswapped"} <= kinds


def test_a_value_that_cannot_be_read_is_the_wrong_event(sqlite_database: Database, settings: Settings) -> None:
    fill(sqlite_database, settings)
    for column, value in (("at", "yesterday"), ("detail", "{broken")):
        with sqlite_database.engine.connect() as connection:
            unprotect(connection)
            connection.execute(text(f"UPDATE audit_event SET {column} = :value WHERE id = 17"), {"value": value})
            found = verify(Session(connection), load_secrets(settings))
            connection.rollback()
        assert (found.first_wrong, found.events) == (17, 16), column


def rewrite(connection: Connection, start: int, change: Callable[[dict[str, Any]], None]) -> None:
    """Do what an insider can who knows this code: change an event and every hash after it."""
    rows = [dict(row) for row in connection.execute(select(EVENTS).order_by(EVENTS.c.id)).mappings()]
    previous = rows[start - 2]["hash"] if start > 1 else audit.FIRST
    for row in rows[start - 1 :]:
        if row["id"] == start:
            change(row)
        row["hash"] = previous = chained_hash(previous, row)
        connection.execute(EVENTS.update().where(EVENTS.c.id == row["id"]).values(row))


def test_a_chain_written_anew_contradicts_its_seals(database: Database, settings: Settings) -> None:
    fill(database, settings)
    with database.engine.begin() as connection:
        unprotect(connection)
        rewrite(connection, 25, lambda row: row.update(actor="nobody"))
    found = verify_here(settings, database)
    # Seals stand after 10, 20, 30 and 40: what is wrong lies after the last one that still fits.
    assert (found.events, found.first_wrong) == (20, 21)
    assert "written anew" in found.problem


def test_cutting_off_events_and_seals_is_found_by_the_file(database: Database, settings: Settings) -> None:
    fill(database, settings)
    with database.engine.begin() as connection:
        unprotect(connection)
        connection.execute(EVENTS.delete().where(EVENTS.c.id > 20))
        connection.execute(SEALS.delete().where(SEALS.c.event > 20))
    found = verify_here(settings, database)
    assert (found.events, found.first_wrong) == (20, 21)
    assert "21 to 40 are missing" in found.problem
    settings.audit_seals_file.unlink()
    assert verify_here(settings, database).intact, "without the file nothing here remembers them"


def test_the_file_of_seals_cannot_be_altered_either(sqlite_database: Database, settings: Settings) -> None:
    fill(sqlite_database, settings)
    path = settings.audit_seals_file
    assert path.stat().st_mode & 0o777 == 0o600
    lines = path.read_text().splitlines(keepends=True)
    altered = {**json.loads(lines[1]), "event": 19}
    for wrong in (
        [lines[0], json.dumps(altered) + "\n", *lines[2:]],
        [lines[1], lines[0], *lines[2:]],
        [*lines, lines[0]],
        ["not JSON\n", *lines[1:]],
        [json.dumps({"number": 1}) + "\n"],
    ):
        path.write_text("".join(wrong))
        assert not verify_here(settings, sqlite_database).intact, wrong
    path.write_text("".join(lines))
    assert verify_here(settings, sqlite_database).intact


def test_a_seal_of_another_key_is_none(sqlite_database: Database, settings: Settings) -> None:
    fill(sqlite_database, settings)
    file = read_file(settings.audit_seals_file)
    stranger = SecretBox([b"s" * 32])
    with sqlite_database.read() as session:
        assert "Seal 1" in verify(session, stranger, file).problem
    forged = replace(file[0], key=stranger.newest)
    forged = replace(forged, signature=forged.signed(stranger))
    assert not forged.made_by(load_secrets(settings))


def test_a_rotated_key_keeps_the_older_seals(sqlite_database: Database, settings: Settings) -> None:
    fill(sqlite_database, settings, events=10, seals=1)
    key = settings.home / "secret.key"
    key.write_text("bmV3IGtleSBuZXcga2V5IG5ldyBrZXkgbmV3IGtleSE=\n" + key.read_text())
    record_alone(sqlite_database, AuditCode.QUERY, "after", "alice")
    assert seal_head(settings, sqlite_database) is not None
    found = verify_here(settings, sqlite_database)
    assert (found.intact, found.sealed) == (True, 11)


def write_many(url: str, writer: int, each: int, start: threading.Barrier) -> None:
    database = Database(url)
    start.wait()
    for n in range(each):
        with database.write() as session:
            record(session, AuditCode.INSTANCES_ACCESSED, "study-opened", f"writer-{writer}", detail={"n": n})
    database.close()


def test_many_writers_make_one_chain(database: Database, database_url: str, settings: Settings) -> None:
    start = threading.Barrier(WRITERS)
    threads = [threading.Thread(target=write_many, args=(database_url, w, EACH, start)) for w in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = verify_here(settings, database)
    assert (found.problem, found.events) == ("", WRITERS * EACH)
    with database.read() as session:
        rows = session.execute(select(AuditEvent.actor, AuditEvent.detail).order_by(AuditEvent.id)).all()
    for writer in range(WRITERS):
        assert [d["n"] for actor, d in rows if actor == f"writer-{writer}"] == list(range(EACH)), "none lost or doubled"


def test_an_event_goes_with_its_transaction_and_its_savepoint(database: Database, settings: Settings) -> None:
    with pytest.raises(ZeroDivisionError), database.write() as session:
        record(session, AuditCode.QUERY, "rolled back", "alice")
        raise ZeroDivisionError
    with database.write() as session:
        record(session, AuditCode.QUERY, "one", "alice")
        with pytest.raises(ZeroDivisionError), session.begin_nested():
            record(session, AuditCode.QUERY, "undone", "alice")
            with session.begin_nested():
                record(session, AuditCode.QUERY, "undone too", "alice")
            raise ZeroDivisionError
        with session.begin_nested():
            record(session, AuditCode.QUERY, "two", "alice")
    with Session(database.engine) as session:
        record(session, AuditCode.QUERY, "left without a commit", "alice")
        session.close()
        record(session, AuditCode.QUERY, "three", "alice")
        session.commit()
    with database.read() as session:
        assert session.scalars(select(AuditEvent.action).order_by(AuditEvent.id)).all() == ["one", "two", "three"]
    assert verify_here(settings, database).events == 3


def test_transactions_never_wait_for_each_other_in_a_ring(database: Database, settings: Settings) -> None:
    """Both record first and change the same row then: the chain's lock is taken last, so neither holds the other up."""
    alone = database.engine.dialect.name == "sqlite"
    with database.write() as session:
        session.execute(text("CREATE TABLE thing (id int PRIMARY KEY, n int)"))
        session.execute(text("INSERT INTO thing VALUES (1, 0)"))
    recorded, errors = threading.Barrier(2), []

    def change(which: int) -> None:
        try:
            with database.write() as session:
                record(session, AuditCode.PATIENT_RECORD, "first", f"writer-{which}")
                session.execute(select(AuditEvent.id).limit(1))
                if not alone:
                    recorded.wait(10)
                session.execute(text("UPDATE thing SET n = n + 1 WHERE id = 1"))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=change, args=(w,)) for w in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    assert verify_here(settings, database).events == 2


@pytest.mark.parametrize("actor", ["x" * 500, "nul\0byte", "lone \ud800 surrogate", ""])
def test_no_event_is_lost_to_an_odd_name(database: Database, settings: Settings, actor: str) -> None:
    with database.write() as session:
        record(
            session, AuditCode.SECURITY_ALERT, "A-ASSOCIATE", actor, detail={"half": 0.5, "when": Path("x"), actor: 1}
        )
    found = verify_here(settings, database)
    assert (found.problem, found.events) == ("", 1)


def test_the_host_is_that_of_whoever_acts(sqlite_database: Database) -> None:
    with acting_from("192.0.2.1"), sqlite_database.write() as session:
        record(session, AuditCode.QUERY, "here", "alice")
        record(session, AuditCode.QUERY, "there", "CT1", host="192.0.2.2")
    record_alone(sqlite_database, AuditCode.QUERY, "nowhere", "system")
    with sqlite_database.read() as session:
        assert session.scalars(select(AuditEvent.host).order_by(AuditEvent.id)).all() == ["192.0.2.1", "192.0.2.2", ""]


def test_what_cannot_be_recorded_alone_is_logged_and_no_more(
    sqlite_database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with sqlite_database.engine.begin() as connection:
        connection.execute(text("DROP TABLE audit_event"))
    record_alone(sqlite_database, AuditCode.QUERY, "worklist-search", "Planted^Name")
    assert "audit event 110112 could not be written" in caplog.text
    assert "Planted" not in caplog.text


def test_what_a_check_finds_is_an_alert_once(database: Database, settings: Settings) -> None:
    fill(database, settings)
    assert check(settings, database).intact
    with database.engine.begin() as connection:
        unprotect(connection)
        connection.execute(EVENTS.update().where(EVENTS.c.id == 12).values(actor="nobody"))
    for _ in range(2):
        assert check(settings, database).first_wrong == 12
    with database.read() as session:
        alerts = session.scalars(select(AuditEvent).where(AuditEvent.action == "audit-altered")).all()
        told = session.execute(select(Alert.kind, Alert.text)).all()
    assert [(a.outcome, a.detail) for a in alerts] == [("compromised", {"event": 12, "intact_to": 11})]
    assert told == [("audit-altered", "Event 12 was altered, or does not follow the one before it.")]


def test_seals_chain_too(sqlite_database: Database, settings: Settings) -> None:
    fill(sqlite_database, settings)
    seals: list[Seal] = read_file(settings.audit_seals_file)
    assert [s.event for s in seals] == [10, 20, 30, 40]
    assert [s.previous for s in seals] == ["", *(s.signature for s in seals[:-1])]
