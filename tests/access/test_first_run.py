"""The first administrator's link, on both databases."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from readingroom.access import accounts, limits
from readingroom.access.first_run import SetUpRefused, offer, set_up
from readingroom.access.limits import TooManyAttempts
from readingroom.access.tables import Account, Ticket
from readingroom.core.audit import AuditEvent
from readingroom.core.clock import utc_now
from readingroom.core.database import Database
from readingroom.core.errors import BadInput
from readingroom.core.permissions import Role

PASSWORD = "correct horse battery"


def test_the_link_makes_one_administrator(database: Database) -> None:
    token = offer(database)
    assert len(token) >= 43
    with pytest.raises(BadInput):
        set_up(database, token, "root", "short")
    made = set_up(database, token, "root", PASSWORD, display_name="Root")
    assert (made.name, made.role, made.display_name) == ("root", "administrator", "Root")
    assert accounts.check_password(database, "root", PASSWORD).id == made.id
    with pytest.raises(SetUpRefused):
        set_up(database, token, "root2", PASSWORD)
    assert offer(database) == "", "there is an account now"


def test_a_new_link_voids_the_older_one_and_each_ends(database: Database) -> None:
    old, new = offer(database), offer(database)
    with pytest.raises(SetUpRefused):
        set_up(database, old, "root", PASSWORD)
    with database.write() as session:
        session.execute(update(Ticket).values(expires_at=utc_now() - timedelta(seconds=1)))
    with pytest.raises(SetUpRefused):
        set_up(database, new, "root", PASSWORD)
    with database.read() as session:
        assert session.scalars(select(Account)).all() == []


def test_it_is_over_as_soon_as_there_is_any_account(database: Database) -> None:
    token = offer(database)
    with database.write() as session:
        accounts.create_account(session, "ann", PASSWORD, Role.RADIOLOGIST)
    with pytest.raises(SetUpRefused):
        set_up(database, token, "root", PASSWORD)


def test_two_at_the_same_moment_make_one(database: Database) -> None:
    token = offer(database)

    def ask(number: int) -> bool:
        try:
            set_up(database, token, f"root{number}", PASSWORD)
        except SetUpRefused:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(ask, range(4))) == [False, False, False, True]
    with database.read() as session:
        assert len(session.scalars(select(Account)).all()) == 1


def test_guesses_are_limited_and_leave_the_link_good(database: Database) -> None:
    token = offer(database)
    for _ in range(limits.FAILURES_PER_NAME):
        with pytest.raises(SetUpRefused):
            set_up(database, "made up", "root", PASSWORD)
    with pytest.raises(TooManyAttempts):
        set_up(database, "made up", "root", PASSWORD)
    assert set_up(database, token, "root", PASSWORD).name == "root"


def test_the_token_is_nowhere_in_clear(database: Database) -> None:
    token = offer(database)
    with database.read() as session:
        kept = session.scalars(select(Ticket)).one()
        events = session.scalars(select(AuditEvent)).all()
    assert token not in f"{kept.token_sha256} {kept.detail} {[(e.action, e.detail) for e in events]}"
