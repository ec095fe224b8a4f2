"""My account: password, authenticator app, passkeys. What changes a way in wants a fresh proof first."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from readingroom.access import accounts, passkeys, second_factor, sessions
from readingroom.access.actor import Actor
from readingroom.access.tables import Account
from readingroom.core.config import Settings
from readingroom.core.database import Database
from readingroom.core.errors import Conflict
from readingroom.core.permissions import Permission
from readingroom.web.addresses import passkey_place
from readingroom.web.browser import account_of, want_proof
from readingroom.web.permissions import requires

router = APIRouter(prefix="/account")

Me = Annotated[Actor, Depends(requires(Permission.SESSION))]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NewPassword(_Body):
    current: str = Field(max_length=256)
    new: str = Field(max_length=256)


class FirstCode(_Body):
    code: str = Field(max_length=64)


class NewPasskey(_Body):
    """What the device made, as the browser's ``PublicKeyCredential.toJSON()`` writes it."""

    ticket: str = Field(max_length=64)
    name: str = Field(max_length=passkeys.NAME_LENGTH)
    credential: dict[str, Any]


class PasskeyShown(_Body):
    id: str
    name: str
    rp_id: str
    """The host name it works at."""
    created_at: datetime
    used_at: datetime | None


class AppBegun(_Body):
    secret: str
    uri: str
    qr: str
    """The same as a picture: a ``data:`` address of an SVG."""


@router.get("")
def my_account(request: Request, actor: Me) -> dict[str, Any]:
    """How the account signs in."""
    database: Database = request.app.state.database
    settings: Settings = request.app.state.settings
    with database.read() as session:
        account = account_of(session, actor)
        return {
            "name": account.name,
            "has_password": account.oidc_subject is None,
            "app": second_factor.is_on(session, account.id),
            "recovery_codes_left": second_factor.recovery_codes_left(session, account.id),
            "required": account.role in settings.second_factor_required,
            "passkeys": [_shown(passkey) for passkey in passkeys.of_account(session, account.id)],
        }


@router.put("/password", status_code=204)
def change_password(body: NewPassword, request: Request, actor: Me) -> Response:
    """Change the password. The present one is the proof; the account's other sessions end."""
    database: Database = request.app.state.database
    accounts.check_password(database, actor.name, body.current, way="proof")
    with database.write() as session:
        accounts.change_password(session, actor.name, body.new, actor=actor.name, keep=actor.session)
        sessions.prove(session, actor.session)
    return Response(status_code=204)


@router.post("/app")
def begin_app(request: Request, actor: Me) -> AppBegun:
    """Begin with an authenticator app: a new secret, to be confirmed by its first code."""
    import segno

    want_proof(request, actor)
    database: Database = request.app.state.database
    with database.write() as session:
        begun = second_factor.begin(session, request.app.state.secrets, _local(session, actor))
    qr = segno.make(begun.uri, error="m").svg_data_uri(scale=5, border=4, light="#fff")
    return AppBegun(secret=begun.secret, uri=begun.uri, qr=qr)


@router.post("/app/confirm")
def confirm_app(body: FirstCode, request: Request, actor: Me) -> dict[str, list[str]]:
    """Turn it on. The recovery codes are shown this once."""
    database: Database = request.app.state.database
    with database.write() as session:
        codes = second_factor.confirm(session, request.app.state.secrets, _local(session, actor), body.code)
        sessions.prove(session, actor.session, strong=True)
    return {"recovery_codes": codes}


@router.delete("/app", status_code=204)
def remove_app(request: Request, actor: Me) -> Response:
    """Remove the app and its recovery codes. 409 where the role must have a second factor and there is no passkey."""
    want_proof(request, actor)
    database: Database = request.app.state.database
    with database.write() as session:
        account = _local(session, actor)
        if not passkeys.of_account(session, account.id):
            _keep_one(request, account)
        second_factor.turn_off(session, account, actor=actor.name)
    return Response(status_code=204)


@router.post("/recovery-codes")
def new_recovery_codes(request: Request, actor: Me) -> dict[str, list[str]]:
    """Make new recovery codes; the old ones are worth nothing from now on."""
    want_proof(request, actor)
    database: Database = request.app.state.database
    with database.write() as session:
        return {"recovery_codes": second_factor.new_recovery_codes(session, _local(session, actor))}


@router.post("/passkeys/question")
def ask_to_register(request: Request, actor: Me) -> passkeys.Question:
    want_proof(request, actor)
    database: Database = request.app.state.database
    with database.write() as session:
        return passkeys.ask_to_register(
            session, passkey_place(request, request.app.state.settings), _local(session, actor)
        )


@router.post("/passkeys", status_code=201)
def register(body: NewPasskey, request: Request, actor: Me) -> PasskeyShown:
    database: Database = request.app.state.database
    place = passkey_place(request, request.app.state.settings)
    with database.read() as session:
        account = _local(session, actor)
    made = passkeys.register(database, place, account, body.ticket, body.name, body.credential)
    with database.write() as session:
        sessions.prove(session, actor.session, strong=True)
    return _shown(made)


@router.delete("/passkeys/{passkey_id}", status_code=204)
def remove_passkey(passkey_id: str, request: Request, actor: Me) -> Response:
    """Remove a passkey. 409 where the role must have a second factor and this is the last one."""
    want_proof(request, actor)
    database: Database = request.app.state.database
    with database.write() as session:
        account = _local(session, actor)
        others = [passkey for passkey in passkeys.of_account(session, account.id) if passkey.id != passkey_id]
        if not others and not second_factor.is_on(session, account.id):
            _keep_one(request, account)
        passkeys.remove(session, account, passkey_id)
    return Response(status_code=204)


def _local(session: Session, actor: Actor) -> Account:
    """Return the account where it signs in here. Raises Conflict: an account of the provider has no other way in."""
    account = account_of(session, actor)
    if account.oidc_subject is not None:
        raise Conflict("This account signs in at the OpenID provider only.", "Second factors are set up there.")
    return account


def _keep_one(request: Request, account: Account) -> None:
    settings: Settings = request.app.state.settings
    if account.role in settings.second_factor_required:
        raise Conflict("Your role must have a second factor.", "Set up another one first.")


def _shown(passkey: passkeys.Passkey) -> PasskeyShown:
    return PasskeyShown(
        id=passkey.id,
        name=passkey.name,
        rp_id=passkey.rp_id,
        created_at=passkey.created_at,
        used_at=passkey.used_at,
    )
