"""Accounts on both databases: passwords, the limit on failures, what is audited and what is never written down."""

import time
from datetime import timedelta

import pytest
from sqlalchemy import select

from readingroom.access import accounts, limits, sessions
from readingroom.access.accounts import SignInRefused, check_password, create_account
from readingroom.access.limits import TooManyAttempts
from readingroom.access.tables import Account, SignInFailure, WebSession
from readingroom.core.audit import AuditEvent
from readingroom.core.clock import utc_now
from readingroom.core.database import Database
from readingroom.core.errors import BadInput, Conflict
from readingroom.core.permissions import Role

PASSWORD = "correct horse battery"


@pytest.fixture
def site(database: Database) -> Database:
    with database.write() as session:
        create_account(session, "ann", PASSWORD, Role.RADIOLOGIST, display_name="Ann")
    return database


def test_right_password_and_wrong(site: Database) -> None:
    assert check_password(site, "ann", PASSWORD).display_name == "Ann"
    with pytest.raises(SignInRefused):
        check_password(site, "ann", PASSWORD + "x")
    with pytest.raises(SignInRefused):
        check_password(site, "nobody", PASSWORD)


def test_password_is_kept_as_argon2id_only(site: Database) -> None:
    with site.read() as session:
        kept = session.scalars(select(Account.password_hash)).one()
    assert kept.startswith("$argon2id$")
    assert PASSWORD not in kept


@pytest.mark.parametrize("name", ["", "a b", "../x", "a" * 65, "-x", "Doe^John"])
def test_bad_names(site: Database, name: str) -> None:
    with site.write() as session, pytest.raises(BadInput):
        create_account(session, name, PASSWORD, Role.RADIOLOGIST)


def test_weak_password_and_taken_name(site: Database) -> None:
    with site.write() as session:
        with pytest.raises(BadInput):
            create_account(session, "bob", "short", Role.RADIOLOGIST)
        with pytest.raises(Conflict):
            create_account(session, "ann", PASSWORD, Role.RADIOLOGIST)


def test_failures_of_one_name_are_limited_and_the_window_ends(site: Database) -> None:
    for _ in range(limits.FAILURES_PER_NAME):
        with pytest.raises(SignInRefused):
            check_password(site, "ann", "wrong password")
    with pytest.raises(TooManyAttempts):
        check_password(site, "ann", PASSWORD)
    later = utc_now() + limits.WINDOW + timedelta(seconds=1)
    assert check_password(site, "ann", PASSWORD, now=later).name == "ann"


def test_success_forgets_failures(site: Database) -> None:
    for _ in range(3):
        for _ in range(limits.FAILURES_PER_NAME - 1):
            with pytest.raises(SignInRefused):
                check_password(site, "ann", "wrong password")
        check_password(site, "ann", PASSWORD)


def test_failures_of_all_names_are_limited(site: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FAILURES_IN_ALL", 4)
    for n in range(4):
        with pytest.raises(SignInRefused):
            check_password(site, f"guess{n}", "wrong password")
    with pytest.raises(TooManyAttempts):
        check_password(site, "ann", PASSWORD)


def test_unknown_names_cost_as_much_as_known_ones(sqlite_database: Database) -> None:
    with sqlite_database.write() as session:
        create_account(session, "ann", PASSWORD, Role.RADIOLOGIST)

    def seconds(name: str) -> float:
        begun = time.perf_counter()
        with pytest.raises(SignInRefused):
            check_password(sqlite_database, name, "wrong password")
        return time.perf_counter() - begun

    known, unknown = (sorted(seconds(name) for _ in range(4))[1] for name in ("ann", "nobody"))
    # Without the dummy hash an unknown name would answer in a tenth of the time.
    assert unknown > known / 3


def test_typed_names_are_never_kept(site: Database) -> None:
    with pytest.raises(SignInRefused):
        check_password(site, "Zebra^Patient", "wrong password")
    with site.read() as session:
        events = session.scalars(select(AuditEvent)).all()
        failures = session.scalars(select(SignInFailure)).all()
    assert len(failures) == 1
    assert "Zebra" not in failures[0].name_sha256
    assert not any("Zebra" in f"{e.actor}{e.action}{e.detail}" for e in events)
    assert [(e.actor, e.outcome) for e in events if e.action == "sign-in-web"] == [("unknown", "failure")]


def test_disabling_and_changing_the_password_end_sessions(site: Database) -> None:
    for change in (
        lambda session: accounts.change_password(session, "ann", "another long one", actor="root"),
        lambda session: accounts.disable_account(session, "ann", actor="root"),
    ):
        with site.write() as session:
            token = sessions.open_session(session, accounts.find_account(session, "ann").id).token
        with site.write() as session:
            change(session)
        with site.read() as session:
            assert sessions.find_session(session, token) is None
    with pytest.raises(SignInRefused):
        check_password(site, "ann", "another long one")


def test_session_token_is_kept_as_its_digest(site: Database) -> None:
    with site.write() as session:
        new = sessions.open_session(session, accounts.find_account(session, "ann").id)
    with site.read() as session:
        row = session.scalars(select(WebSession)).unique().one()
    assert new.token not in (row.token_sha256, row.csrf)
    assert len(new.token) >= 43


def test_sessions_end_when_idle_and_at_their_end(site: Database) -> None:
    begun = utc_now()
    with site.write() as session:
        token = sessions.open_session(session, accounts.find_account(session, "ann").id, now=begun).token
    with site.read() as session:
        assert sessions.find_session(session, token, now=begun + sessions.IDLE / 2) is not None
        assert sessions.find_session(session, token, now=begun + sessions.IDLE) is None
    # In use all day: still ends.
    at = begun
    while at + sessions.IDLE / 2 < begun + sessions.ABSOLUTE:
        at += sessions.IDLE / 2
        with site.write() as session:
            found = sessions.find_session(session, token, now=at)
            if found is None:
                break
            sessions.touch(session, found.token_sha256, now=at)
    assert at >= begun + sessions.ABSOLUTE - sessions.IDLE
    with site.read() as session:
        assert sessions.find_session(session, token, now=begun + sessions.ABSOLUTE) is None
        assert sessions.find_session(session, "made up", now=begun) is None
