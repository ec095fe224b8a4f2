"""Passkeys (WebAuthn): sign in with a device or a key instead of a password. The device checks its owner's finger, face
or PIN (user verification), so a passkey alone is both factors.

Each challenge is a ticket: kept here, used once, minutes old at most. A signature counter that did not grow means that
the passkey was copied: the sign-in is refused and an alert audited.
"""

import ipaddress
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from readingroom.access import limits, tickets
from readingroom.access.tables import Account, Passkey
from readingroom.access.tickets import Purpose
from readingroom.core.audit import AuditCode, record
from readingroom.core.clock import utc_now
from readingroom.core.database import Database
from readingroom.core.errors import BadInput, Conflict, NotFound, ReadingRoomError, Unsupported
from readingroom.core.ids import new_id, sha256_hex

NAME_LENGTH = 64
MOST = 20
CHALLENGE_BYTES = 32
_KIND = "passkey"
_RP_NAME = "Reading Room"


class PasskeyRefused(ReadingRoomError):
    """The passkey is not known here, or what it signed is not what it was asked to; which of them is not told."""

    code = "passkey-refused"

    def __init__(self) -> None:
        super().__init__("That passkey was not accepted.", "Try again, or sign in another way.")


@dataclass(frozen=True)
class Place:
    """Where the pages are, as passkeys know it: the host name they belong to, and the origin that asks."""

    rp_id: str
    origin: str


@dataclass(frozen=True)
class Question:
    """What the browser hands to the device, and the ticket it answers with."""

    ticket: str
    options: dict[str, Any]


def why_not(address: str) -> str:
    """Return why passkeys cannot be used at an address of the pages, or nothing."""
    host = urlsplit(address).hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        local = host == "localhost" or host.endswith(".localhost")
        if local or address.startswith("https://"):
            return ""
        return "Passkeys need https, and this address has none. An administrator can set tls_certificate."
    return "Passkeys belong to a name, not a number: open these pages by this machine's name, over https."


def place_of(address: str) -> Place:
    """Return the place that an address of the pages (scheme, host, port) is. Raises Unsupported with ``why_not``."""
    if reason := why_not(address):
        raise Unsupported(reason)
    parts = urlsplit(address)
    assert parts.hostname is not None
    standard = parts.port is None or (parts.scheme, parts.port) in (("https", 443), ("http", 80))
    return Place(parts.hostname, f"{parts.scheme}://{parts.hostname}" + ("" if standard else f":{parts.port}"))


def of_account(session: Session, account_id: int) -> list[Passkey]:
    """Return the account's passkeys, oldest first."""
    return list(
        session.scalars(select(Passkey).where(Passkey.account_id == account_id).order_by(Passkey.created_at)).unique()
    )


def ask_to_register(session: Session, place: Place, account: Account) -> Question:
    """Begin adding a passkey. Raises Conflict where the account has as many as it may."""
    import webauthn
    from webauthn.helpers import options_to_json_dict
    from webauthn.helpers.structs import (
        AuthenticatorSelectionCriteria,
        PublicKeyCredentialDescriptor,
        ResidentKeyRequirement,
        UserVerificationRequirement,
    )

    present = of_account(session, account.id)
    if len(present) >= MOST:
        raise Conflict(f"An account has at most {MOST} passkeys.", "Remove one first.")
    challenge, ticket = _challenge(session, Purpose.PASSKEY_REGISTER, account.id)
    options = webauthn.generate_registration_options(
        rp_id=place.rp_id,
        rp_name=_RP_NAME,
        user_id=_handle(account.id),
        user_name=account.name,
        user_display_name=account.display_name,
        challenge=challenge,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=passkey.credential_id) for passkey in present],
    )
    return Question(ticket, options_to_json_dict(options))


def register(
    database: Database, place: Place, account: Account, ticket: str, name: str, credential: Mapping[str, Any]
) -> Passkey:
    """Add the passkey that the device made. Raises PasskeyRefused, Conflict, BadInput."""
    import webauthn

    name = name.strip()
    if not 1 <= len(name) <= NAME_LENGTH:
        raise BadInput("The passkey has no name.", f"Give it one of up to {NAME_LENGTH} characters.")
    with database.write() as session:
        held = tickets.take(session, Purpose.PASSKEY_REGISTER, ticket)
    if held is None or held.account_id != account.id:
        raise PasskeyRefused
    try:
        made = webauthn.verify_registration_response(
            credential=dict(credential),
            expected_challenge=bytes.fromhex(held.detail["challenge"]),
            expected_rp_id=place.rp_id,
            expected_origin=place.origin,
            require_user_verification=True,
        )
    except Exception:
        # Whatever a hostile answer makes the parsers of JSON, CBOR, ASN.1 and keys raise.
        raise PasskeyRefused from None
    passkey = Passkey(
        id=new_id(),
        account_id=account.id,
        name=name,
        credential_id=made.credential_id,
        public_key=made.credential_public_key,
        sign_count=made.sign_count,
        rp_id=place.rp_id,
    )
    with database.write() as session:
        if session.scalar(select(Passkey.id).where(Passkey.credential_id == made.credential_id)) is not None:
            raise Conflict("That passkey is here already.", "Use another device.")
        session.add(passkey)
        record(session, AuditCode.SECURITY_ALERT, "passkey-added", account.name, detail={"passkey": passkey.id})
    return passkey


def remove(session: Session, account: Account, passkey_id: str) -> None:
    """Remove one of the account's passkeys. Raises NotFound."""
    gone = session.execute(delete(Passkey).where(Passkey.id == passkey_id, Passkey.account_id == account.id))
    if gone.rowcount != 1:  # type: ignore[attr-defined]
        raise NotFound("There is no such passkey.")
    record(session, AuditCode.SECURITY_ALERT, "passkey-removed", account.name, detail={"passkey": passkey_id})


def forget(session: Session, account_id: int) -> None:
    """Remove all passkeys of an account."""
    session.execute(delete(Passkey).where(Passkey.account_id == account_id))


def ask_to_sign_in(session: Session, place: Place) -> Question:
    """Begin a sign-in by whichever passkey the person has here; nobody is named."""
    return _ask(session, place, Purpose.PASSKEY_SIGN_IN, None)


def ask_for_proof(session: Session, place: Place, account: Account) -> Question:
    """Begin asking a signed-in person for one of the account's own passkeys. Raises Conflict where it has none."""
    if not of_account(session, account.id):
        raise Conflict("This account has no passkey.", "Use another way.")
    return _ask(session, place, Purpose.PASSKEY_PROOF, account.id)


def sign_in(database: Database, place: Place, ticket: str, credential: Mapping[str, Any]) -> Account:
    """Return the account whose passkey signed the ticket's challenge. Raises PasskeyRefused, TooManyAttempts."""
    return _check(database, place, Purpose.PASSKEY_SIGN_IN, ticket, credential, "sign-in-passkey")


def prove(database: Database, place: Place, account: Account, ticket: str, credential: Mapping[str, Any]) -> None:
    """Take one of the account's own passkeys as proof. Raises PasskeyRefused, TooManyAttempts."""
    found = _check(database, place, Purpose.PASSKEY_PROOF, ticket, credential, "sign-in-proof", account.id)
    assert found.id == account.id


def _ask(session: Session, place: Place, purpose: Purpose, account_id: int | None) -> Question:
    import webauthn
    from webauthn.helpers import options_to_json_dict
    from webauthn.helpers.structs import PublicKeyCredentialDescriptor, UserVerificationRequirement

    challenge, ticket = _challenge(session, purpose, account_id)
    own = of_account(session, account_id) if account_id is not None else []
    options = webauthn.generate_authentication_options(
        rp_id=place.rp_id,
        challenge=challenge,
        allow_credentials=[PublicKeyCredentialDescriptor(id=passkey.credential_id) for passkey in own],
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return Question(ticket, options_to_json_dict(options))


def _challenge(session: Session, purpose: Purpose, account_id: int | None) -> tuple[bytes, str]:
    challenge = secrets.token_bytes(CHALLENGE_BYTES)
    return challenge, tickets.issue(session, purpose, account_id=account_id, detail={"challenge": challenge.hex()})


def _check(
    database: Database,
    place: Place,
    purpose: Purpose,
    ticket: str,
    credential: Mapping[str, Any],
    action: str,
    account_id: int | None = None,
    *,
    now: datetime | None = None,
) -> Account:
    now = now or utc_now()
    shown = _credential_id(credential)
    with database.write() as session:
        held = tickets.take(session, purpose, ticket, now=now)
        passkey = session.scalar(select(Passkey).where(Passkey.credential_id == shown))
        actor = passkey.account.name if passkey else "unknown"
        # Of passkeys that nobody has only a few are looked at: they may not fill the audit.
        may = limits.take_attempt(session, _KIND, passkey.id if passkey else "unknown", now)
    if not may:
        raise limits.TooManyAttempts
    count = _signed_count(place, held, passkey, credential) if held is not None and passkey is not None else None
    right = (
        passkey is not None
        and held is not None
        and count is not None
        and not passkey.account.disabled
        and held.account_id == account_id
        and account_id in (None, passkey.account_id)
    )
    with database.write() as session:
        copied = right and passkey is not None and count is not None and not _take_count(session, passkey, count, now)
        if copied and passkey is not None:
            detail = {"passkey": passkey.id}
            record(session, AuditCode.SECURITY_ALERT, "passkey-counter-fell", actor, outcome="failure", detail=detail)
        outcome = "success" if right and not copied else "failure"
        record(session, AuditCode.USER_AUTHENTICATION, action, actor, outcome=outcome, detail={"way": "passkey"})
        if right and not copied and passkey is not None:
            limits.forgive(session, _KIND, passkey.id)
    if passkey is None or not right or copied:
        raise PasskeyRefused
    return passkey.account


def _signed_count(place: Place, held: tickets.Held, passkey: Passkey, credential: Mapping[str, Any]) -> int | None:
    """Return the counter that the passkey signed with our challenge; None where anything does not fit."""
    import webauthn
    from webauthn.helpers import parse_authentication_credential_json

    try:
        parsed = parse_authentication_credential_json(dict(credential))
        if parsed.response.user_handle not in (None, _handle(passkey.account_id)):
            return None
        verified = webauthn.verify_authentication_response(
            credential=parsed,
            expected_challenge=bytes.fromhex(held.detail["challenge"]),
            expected_rp_id=place.rp_id,
            expected_origin=place.origin,
            credential_public_key=passkey.public_key,
            # The library would look at it before the signature; whether it fell matters of a true one only.
            credential_current_sign_count=0,
            require_user_verification=True,
        )
    except Exception:
        # Whatever a hostile answer makes the parsers of JSON, CBOR and keys raise.
        return None
    return verified.new_sign_count


def _take_count(session: Session, passkey: Passkey, count: int, now: datetime) -> bool:
    """Whether the counter grew since the last time (devices that do not count always say 0); if so, note it."""
    grew = (Passkey.sign_count < count) if count else (Passkey.sign_count == 0)
    noted = session.execute(update(Passkey).where(Passkey.id == passkey.id, grew).values(sign_count=count, used_at=now))
    return noted.rowcount == 1  # type: ignore[attr-defined, no-any-return]


def _credential_id(credential: Mapping[str, Any]) -> bytes:
    from webauthn.helpers import base64url_to_bytes

    try:
        return base64url_to_bytes(str(credential.get("id", "")))
    except ValueError:
        return b""


def _handle(account_id: int) -> bytes:
    """Return what the device knows the account by: nothing that tells a person."""
    return bytes.fromhex(sha256_hex("passkey user", str(account_id)))
