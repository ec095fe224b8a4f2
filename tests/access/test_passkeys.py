"""Passkeys, with a device made of software: what is accepted, and each thing that must not be."""

import copy
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from soft_authenticator import PRESENT, SoftAuthenticator
from sqlalchemy import select, update

from readingroom.access import limits, passkeys, tickets
from readingroom.access.accounts import create_account, disable_account, find_account
from readingroom.access.limits import TooManyAttempts
from readingroom.access.passkeys import PasskeyRefused, Place, place_of, why_not
from readingroom.access.tables import Account, Passkey, Ticket
from readingroom.core.audit import AuditEvent
from readingroom.core.clock import utc_now
from readingroom.core.database import Database
from readingroom.core.errors import BadInput, Conflict, NotFound, Unsupported
from readingroom.core.permissions import Role

PASSWORD = "correct horse battery"
PLACE = Place("reading.example", "https://reading.example")


def with_people(database: Database) -> Database:
    with database.write() as session:
        create_account(session, "ann", PASSWORD, Role.RADIOLOGIST)
        create_account(session, "bob", PASSWORD, Role.RADIOLOGIST)
    return database


@pytest.fixture
def site(sqlite_database: Database) -> Database:
    return with_people(sqlite_database)


@pytest.fixture
def either(database: Database) -> Database:
    """The same on SQLite and on PostgreSQL, for what the database decides."""
    return with_people(database)


def account(site: Database, name: str = "ann") -> Account:
    with site.read() as session:
        return find_account(session, name)


def device(**changes: Any) -> SoftAuthenticator:
    return SoftAuthenticator(PLACE.origin, PLACE.rp_id, **changes)


def register(site: Database, made: SoftAuthenticator, name: str = "ann") -> str:
    with site.write() as session:
        asked = passkeys.ask_to_register(session, PLACE, account(site, name))
    answer = made.register(asked.options)
    return passkeys.register(site, PLACE, account(site, name), asked.ticket, "my key", answer).id


def question(site: Database) -> passkeys.Question:
    with site.write() as session:
        return passkeys.ask_to_sign_in(session, PLACE)


def sign_in(site: Database, made: SoftAuthenticator) -> str:
    asked = question(site)
    return passkeys.sign_in(site, PLACE, asked.ticket, made.sign(asked.options)).name


def events(site: Database) -> list[tuple[str, str, str]]:
    with site.read() as session:
        return [(e.action, e.outcome, e.actor) for e in session.scalars(select(AuditEvent).order_by(AuditEvent.id))]


def test_register_sign_in_remove(either: Database) -> None:
    made = device()
    passkey_id = register(either, made)
    assert sign_in(either, made) == "ann"
    assert sign_in(either, made) == "ann"
    with either.read() as session:
        (kept,) = passkeys.of_account(session, account(either).id)
    assert (kept.name, kept.rp_id, kept.sign_count) == ("my key", PLACE.rp_id, 3)
    assert kept.used_at is not None
    with either.write() as session, pytest.raises(NotFound):
        passkeys.remove(session, account(either, "bob"), passkey_id)
    with either.write() as session:
        passkeys.remove(session, account(either), passkey_id)
    with pytest.raises(PasskeyRefused):
        sign_in(either, made)
    assert [e for e in events(either) if "passkey" in e[0]] == [
        ("passkey-added", "success", "ann"),
        ("sign-in-passkey", "success", "ann"),
        ("sign-in-passkey", "success", "ann"),
        ("passkey-removed", "success", "ann"),
        ("sign-in-passkey", "failure", "unknown"),
    ]


def test_the_device_is_asked_for_what_makes_it_enough(site: Database) -> None:
    with site.write() as session:
        registering = passkeys.ask_to_register(session, PLACE, account(site)).options
        signing = passkeys.ask_to_sign_in(session, PLACE).options
    assert registering["authenticatorSelection"] == {
        "residentKey": "required", "requireResidentKey": True, "userVerification": "required",
    }  # fmt: skip
    assert signing["userVerification"] == "required"
    assert signing["rpId"] == PLACE.rp_id
    assert signing["allowCredentials"] == []
    assert len(signing["challenge"]) >= 43
    assert "ann" not in registering["user"]["id"]


def test_one_that_did_not_verify_its_owner_is_refused(site: Database) -> None:
    with pytest.raises(PasskeyRefused):
        register(site, device(flags=PRESENT))
    made = device()
    register(site, made)
    made.flags = PRESENT
    with pytest.raises(PasskeyRefused):
        sign_in(site, made)


@pytest.mark.parametrize(
    ("origin", "rp_id"),
    [("https://evil.example", PLACE.rp_id), ("http://reading.example", PLACE.rp_id), (PLACE.origin, "evil.example")],
)
def test_another_origin_is_refused(site: Database, origin: str, rp_id: str) -> None:
    with pytest.raises(PasskeyRefused):
        register(site, SoftAuthenticator(origin, rp_id))
    made = device()
    register(site, made)
    made.origin, made.rp_id = origin, rp_id
    with pytest.raises(PasskeyRefused):
        sign_in(site, made)


def test_a_challenge_counts_once_for_its_purpose_and_not_for_long(site: Database) -> None:
    made = device()
    register(site, made)
    asked = question(site)
    answer = made.sign(asked.options)
    assert passkeys.sign_in(site, PLACE, asked.ticket, answer).name == "ann"
    made.count += 5
    with pytest.raises(PasskeyRefused):
        passkeys.sign_in(site, PLACE, asked.ticket, made.sign(asked.options))
    other, asked = question(site), question(site)
    with pytest.raises(PasskeyRefused):
        passkeys.sign_in(site, PLACE, other.ticket, made.sign(asked.options))
    with pytest.raises(PasskeyRefused):
        passkeys.prove(site, PLACE, account(site), asked.ticket, made.sign(asked.options))
    asked = question(site)
    with site.write() as session:
        session.execute(update(Ticket).values(expires_at=utc_now() - timedelta(seconds=1)))
    with pytest.raises(PasskeyRefused):
        passkeys.sign_in(site, PLACE, asked.ticket, made.sign(asked.options))
    assert sign_in(site, made) == "ann"


def test_a_copied_passkey_is_refused_and_audited(either: Database) -> None:
    made = device()
    register(either, made)
    copied = copy.copy(made)
    assert sign_in(either, made) == "ann"
    assert sign_in(either, made) == "ann"
    with pytest.raises(PasskeyRefused):
        sign_in(either, copied)
    assert ("passkey-counter-fell", "failure", "ann") in events(either)
    assert sign_in(either, made) == "ann"
    # A false signature with a low counter is no copy: nobody may raise that alarm without the key.
    before = events(either).count(("passkey-counter-fell", "failure", "ann"))
    liar = device(credential_id=made.credential_id, count=1, user_handle=made.user_handle)
    with pytest.raises(PasskeyRefused):
        sign_in(either, liar)
    assert events(either).count(("passkey-counter-fell", "failure", "ann")) == before


def test_a_device_that_does_not_count_is_taken(site: Database) -> None:
    made = device(count=0)
    register(site, made)
    assert [sign_in(site, made) for _ in range(3)] == ["ann"] * 3


def test_disabled_account_and_another_ones_handle(site: Database) -> None:
    made, bobs = device(), device()
    register(site, made)
    register(site, bobs, "bob")
    bobs.user_handle, handle = made.user_handle, bobs.user_handle
    with pytest.raises(PasskeyRefused):
        sign_in(site, bobs)
    bobs.user_handle = handle
    assert sign_in(site, bobs) == "bob"
    with site.write() as session:
        disable_account(session, "ann", actor="root")
    with pytest.raises(PasskeyRefused):
        sign_in(site, made)


def test_proof_is_by_the_accounts_own(site: Database) -> None:
    made, bobs = device(), device()
    register(site, made)
    register(site, bobs, "bob")

    def ask() -> passkeys.Question:
        with site.write() as session:
            return passkeys.ask_for_proof(session, PLACE, account(site))

    asked = ask()
    assert [c["id"] for c in asked.options["allowCredentials"]] == [made.sign(question(site).options)["id"]]
    passkeys.prove(site, PLACE, account(site), asked.ticket, made.sign(asked.options))
    asked = ask()
    with pytest.raises(PasskeyRefused):
        passkeys.prove(site, PLACE, account(site), asked.ticket, bobs.sign(asked.options))
    asked = ask()
    with pytest.raises(PasskeyRefused):
        passkeys.prove(site, PLACE, account(site, "bob"), asked.ticket, made.sign(asked.options))
    asked = ask()
    with pytest.raises(PasskeyRefused):
        passkeys.prove(site, PLACE, account(site, "bob"), asked.ticket, bobs.sign(asked.options))  # ann was asked
    assert ("sign-in-proof", "success", "ann") in events(site)


def test_registering_is_the_askers_and_once(site: Database) -> None:
    made = device()
    with site.write() as session:
        stolen, own, again = (passkeys.ask_to_register(session, PLACE, account(site)) for _ in range(3))
    for name in ("bob", "ann"):
        # The ticket of the first is used up, though it was refused.
        with pytest.raises(PasskeyRefused):
            passkeys.register(site, PLACE, account(site, name), stolen.ticket, "key", made.register(stolen.options))
    with pytest.raises(BadInput):
        passkeys.register(site, PLACE, account(site), own.ticket, "  ", made.register(own.options))
    passkeys.register(site, PLACE, account(site), own.ticket, "key", made.register(own.options))
    with pytest.raises(Conflict):
        passkeys.register(site, PLACE, account(site), again.ticket, "key", made.register(again.options))


def test_hostile_answers_are_refused_and_limited(site: Database) -> None:
    made = device()
    register(site, made)
    good = made.sign(question(site).options)
    hostile: list[dict[str, Any]] = [
        {}, {"id": 5}, {"id": "é"}, {**good, "response": None}, {**good, "response": {"clientDataJSON": "AA"}},
        {**good, "type": "x"}, {**good, "response": {**good["response"], "authenticatorData": "AAAA"}},
    ]  # fmt: skip
    refused = 0
    for answer in hostile * 2:
        try:
            passkeys.sign_in(site, PLACE, question(site).ticket, answer)
        except PasskeyRefused:
            refused += 1
        except TooManyAttempts:
            pass
    assert refused == 2 * limits.FAILURES_PER_NAME, "some for the passkey that is named, some for all unknown ones"
    for answer in ({}, {"attestationObject": "AAAA"}, {**good["response"], "attestationObject": "o2NmbXQ"}):
        with site.write() as session:
            asked = passkeys.ask_to_register(session, PLACE, account(site))
        with pytest.raises(PasskeyRefused):
            passkeys.register(site, PLACE, account(site), asked.ticket, "key", {**good, "response": answer})


def test_an_account_has_so_many(site: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passkeys, "MOST", 2)
    for _ in range(2):
        register(site, device())
    with pytest.raises(Conflict):
        register(site, device())


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://localhost:8042", Place("localhost", "http://localhost:8042")),
        ("https://reading.example", PLACE),
        ("https://reading.example:443", PLACE),
        ("https://reading.example:8443", replace(PLACE, origin="https://reading.example:8443")),
    ],
)
def test_places(address: str, expected: Place) -> None:
    assert why_not(address) == ""
    assert place_of(address) == expected


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8042", "https://10.0.0.5", "http://reading.example", "https://[::1]"]
)
def test_where_passkeys_cannot_be(address: str) -> None:
    with pytest.raises(Unsupported):
        place_of(address)


def test_tickets_have_a_most(either: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tickets, "MOST", 3)
    for _ in range(3):
        question(either)
    with pytest.raises(TooManyAttempts):
        question(either)
    with either.write() as session:
        passkeys.ask_to_register(session, PLACE, account(either))  # nobody who is signed in is kept out
        session.execute(update(Ticket).values(expires_at=utc_now() - timedelta(seconds=1)))
    question(either)
    with either.read() as session:
        assert len(session.scalars(select(Ticket)).all()) == 1
        assert session.scalars(select(Passkey)).all() == []
