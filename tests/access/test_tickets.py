"""Tickets on both databases: taken once, for their purpose, while they last."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event

from sqlalchemy import select

from readingroom.access import tickets
from readingroom.access.tables import Ticket
from readingroom.access.tickets import Purpose
from readingroom.core.clock import utc_now
from readingroom.core.database import Database


def issue(database: Database) -> str:
    with database.write() as session:
        return tickets.issue(session, Purpose.OIDC, detail={"state": "s"})


def test_taken_once_even_at_the_same_moment(database: Database) -> None:
    token = issue(database)
    about_to = Event()

    def take_meanwhile() -> bool:
        about_to.set()
        with database.write() as session:
            return tickets.take(session, Purpose.OIDC, token) is not None

    with ThreadPoolExecutor(1) as pool:
        with database.write() as session:
            held = tickets.take(session, Purpose.OIDC, token)
            other = pool.submit(take_meanwhile)
            assert about_to.wait(10)
            time.sleep(0.5)  # long enough for the other to have seen the row, and to wait for us
        assert held is not None
        assert held.detail == {"state": "s"}
        assert other.result(30) is False


def test_for_its_purpose_while_it_lasts_and_kept_as_a_digest(sqlite_database: Database) -> None:
    token = issue(sqlite_database)
    later = utc_now() + tickets.LIFETIME
    with sqlite_database.write() as session:
        assert tickets.look(session, Purpose.SECOND_FACTOR, token) is None
        assert tickets.take(session, Purpose.SECOND_FACTOR, token) is None
        assert tickets.look(session, Purpose.OIDC, token, now=later) is None
        assert tickets.look(session, Purpose.OIDC, token, now=later - timedelta(seconds=1)) is not None
        assert token not in session.scalars(select(Ticket.token_sha256)).one()
        tickets.void(session, Purpose.OIDC)
        assert tickets.take(session, Purpose.OIDC, token) is None
