"""Signing in and out, showing again that it is you, who I am, and what this is."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from readingroom import RESEARCH_NOTICE, __version__
from readingroom.access import accounts, passkeys, second_factor, sessions, sign_in
from readingroom.access.actor import Actor
from readingroom.core.config import Settings
from readingroom.core.database import Database
from readingroom.core.errors import BadInput
from readingroom.core.permissions import Permission
from readingroom.web.addresses import is_secure, no_passkeys_here, page_address, passkey_place, viewer_url
from readingroom.web.browser import account_json, account_of, enter
from readingroom.web.permissions import current_session, requires, session_cookie

router = APIRouter()

Me = Annotated[Actor, Depends(requires(Permission.SESSION))]
anybody = [Depends(requires(Permission.PUBLIC))]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SignIn(_Body):
    name: str = Field(max_length=64)
    password: str = Field(max_length=256)


class OwedCode(_Body):
    ticket: str = Field(max_length=64)
    code: str = Field(max_length=64)


class SignedChallenge(_Body):
    """A passkey's answer, as the browser's ``PublicKeyCredential.toJSON()`` writes it."""

    ticket: str = Field(max_length=64)
    credential: dict[str, Any]


class Proof(_Body):
    """One of the two."""

    password: str | None = Field(default=None, max_length=256)
    code: str | None = Field(default=None, max_length=64)


@router.post("/session", dependencies=anybody)
def by_password(body: SignIn, request: Request, response: Response) -> dict[str, Any]:
    """Sign in. No CSRF header yet: ``SameSite=Strict`` and JSON keep other sites from signing anyone in."""
    settings: Settings = request.app.state.settings
    found = sign_in.by_password(request.app.state.database, body.name, body.password, settings.second_factor_required)
    if isinstance(found, sign_in.CodeOwed):
        return {"account": None, "code_owed": found.ticket}
    return enter(request, response, found)


@router.post("/session/code", dependencies=anybody)
def by_code(body: OwedCode, request: Request, response: Response) -> dict[str, Any]:
    """Give the code that was owed after the password."""
    entered = sign_in.by_code(request.app.state.database, request.app.state.secrets, body.ticket, body.code)
    return enter(request, response, entered)


@router.post("/session/passkey/question", dependencies=anybody)
def ask_passkey(request: Request) -> passkeys.Question:
    """A challenge for whichever passkey the person has."""
    database: Database = request.app.state.database
    with database.write() as session:
        return passkeys.ask_to_sign_in(session, _place(request))


@router.post("/session/passkey", dependencies=anybody)
def by_passkey(body: SignedChallenge, request: Request, response: Response) -> dict[str, Any]:
    account = passkeys.sign_in(request.app.state.database, _place(request), body.ticket, body.credential)
    return enter(request, response, sign_in.Entered(account, strong=True))


@router.get("/session", dependencies=anybody)
def who_am_i(request: Request) -> dict[str, Any]:
    """Who is signed in; the page asks this first, so that nobody is no error."""
    found = current_session(request)
    if found is None:
        return {"account": None}
    settings: Settings = request.app.state.settings
    owes = sign_in.owes_second_factor(found.account, strong=found.strong, strong_roles=settings.second_factor_required)
    return account_json(found.account, found.csrf, owes=owes)


@router.delete("/session")
def sign_out(request: Request, response: Response, actor: Me) -> dict[str, str]:
    """Sign out; ``continue_at`` is where to sign out at the OpenID provider, if that is where it signed in."""
    database: Database = request.app.state.database
    with database.write() as session:
        account = account_of(session, actor)
        sessions.close_session(session, request.cookies[session_cookie(request)], actor=actor.name)
    secure = is_secure(request, request.app.state.settings)
    response.delete_cookie(session_cookie(request), httponly=True, samesite="strict", secure=secure)
    provider = request.app.state.oidc
    if provider is None or account.oidc_subject is None:
        return {"continue_at": ""}
    return {"continue_at": provider.sign_out_url(f"{page_address(request, request.app.state.settings)}/")}


@router.post("/session/proof", status_code=204)
def prove(body: Proof, request: Request, actor: Me) -> Response:
    """Show by password or code that the signed-in person is still the one there."""
    database: Database = request.app.state.database
    with database.read() as session:
        account = account_of(session, actor)
    if body.code is not None:
        second_factor.check(database, request.app.state.secrets, account, body.code, action="sign-in-proof")
    elif body.password is not None:
        accounts.check_password(database, account.name, body.password, way="proof")
    else:
        raise BadInput("There is neither a password nor a code.", "Give one of them.")
    with database.write() as session:
        sessions.prove(session, actor.session, strong=body.code is not None)
    return Response(status_code=204)


@router.post("/session/proof/passkey/question")
def ask_passkey_for_proof(request: Request, actor: Me) -> passkeys.Question:
    database: Database = request.app.state.database
    with database.write() as session:
        return passkeys.ask_for_proof(session, _place(request), account_of(session, actor))


@router.post("/session/proof/passkey", status_code=204)
def prove_by_passkey(body: SignedChallenge, request: Request, actor: Me) -> Response:
    database: Database = request.app.state.database
    with database.read() as session:
        account = account_of(session, actor)
    passkeys.prove(database, _place(request), account, body.ticket, body.credential)
    with database.write() as session:
        sessions.prove(session, actor.session, strong=True)
    return Response(status_code=204)


@router.get("/about", dependencies=anybody)
def about(request: Request) -> dict[str, Any]:
    settings: Settings = request.app.state.settings
    database: Database = request.app.state.database
    with database.read() as session:
        empty = accounts.count_accounts(session) == 0
    # The address to send to is shown to everybody in the demo only, which listens on loopback.
    line = f"storescu -aec {settings.aet} {settings.dicom_host} {settings.dicom_port} +sd +r FOLDER"
    return {
        "name": "Reading Room",
        "version": __version__,
        "research_notice": RESEARCH_NOTICE,
        "viewer_url": viewer_url(request, settings),
        "demo": settings.demo,
        "set_up_owed": empty,
        "provider": settings.oidc.label if settings.oidc else None,
        "no_passkeys": no_passkeys_here(request, settings),
        **({"storescu": line} if settings.demo else {}),
    }


def _place(request: Request) -> passkeys.Place:
    return passkey_place(request, request.app.state.settings)
