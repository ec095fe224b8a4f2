"""The way to the OpenID provider and back: to sign in, or to show again that it is you.

What is kept of a trip is a ticket whose token travels in a cookie of its own: ``SameSite=Lax``, as the provider's page
sends the browser back. So only the browser that set out can arrive.
"""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ConfigDict, Field

from readingroom.access import oidc, sessions, tickets
from readingroom.access.actor import Actor
from readingroom.access.oidc import OidcRefused
from readingroom.access.sign_in import Entered
from readingroom.access.tables import Account
from readingroom.access.tickets import Purpose
from readingroom.core.clock import utc_now
from readingroom.core.config import Settings
from readingroom.core.database import Database
from readingroom.core.errors import NotFound
from readingroom.core.permissions import Permission
from readingroom.web.addresses import is_secure, page_address
from readingroom.web.browser import enter
from readingroom.web.permissions import requires

if TYPE_CHECKING:
    from readingroom.access.oidc_provider import Provider

_COOKIE = "readingroom_trip"
TRIP_LIFETIME = timedelta(minutes=10)

router = APIRouter()

Me = Annotated[Actor, Depends(requires(Permission.SESSION))]


class Setting(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    back: str = Field(default="/", pattern=r"^/([A-Za-z0-9_-]+/?)*$", max_length=200)
    """The page to come back to."""


@router.post("/session/oidc", dependencies=[Depends(requires(Permission.PUBLIC))])
def set_out(body: Setting, request: Request, response: Response) -> dict[str, str]:
    """Begin to sign in at the provider: the page goes to ``url``. A POST, so that no other site's link begins it."""
    return _set_out(request, response, {"back": body.back}, None)


@router.post("/session/proof/oidc")
def set_out_for_proof(body: Setting, request: Request, response: Response, actor: Me) -> dict[str, str]:
    """Begin to show at the provider that it is you; it asks even if it knows."""
    return _set_out(request, response, {"back": body.back, "session": actor.session}, actor.account_id)


@router.get("/session/oidc/back", dependencies=[Depends(requires(Permission.PUBLIC))])
def arrive(request: Request) -> Response:
    """The provider sends the browser here; it goes on to the page it came from, with the problem's code if any."""
    database: Database = request.app.state.database
    with database.write() as session:
        held = tickets.take(session, Purpose.OIDC, request.cookies.get(_cookie(request), ""))
    answer = RedirectResponse(held.detail["back"] if held else "/", 303)
    try:
        if held is None:
            raise OidcRefused("That sign-in took too long, or began in another browser.", "Begin again.")
        _finish(request, answer, held)
    except OidcRefused as refused:
        answer.headers["Location"] += f"?{urlencode({'problem': refused.code})}"
    secure = is_secure(request, request.app.state.settings)
    answer.delete_cookie(_cookie(request), path=_path(request), httponly=True, samesite="lax", secure=secure)
    return answer


def _set_out(request: Request, response: Response, kept: dict[str, Any], account_id: int | None) -> dict[str, str]:
    database: Database = request.app.state.database
    trip = _provider(request).begin(_redirect_uri(request), fresh=account_id is not None)
    with database.write() as session:
        token = tickets.issue(
            session,
            Purpose.OIDC,
            account_id=account_id,
            detail={**trip.kept, **kept, "begun": int(utc_now().timestamp())},
            lifetime=TRIP_LIFETIME,
        )
    response.set_cookie(
        _cookie(request),
        token,
        max_age=int(TRIP_LIFETIME.total_seconds()),
        path=_path(request),
        httponly=True,
        samesite="lax",
        secure=is_secure(request, request.app.state.settings),
    )
    return {"url": trip.url}


def _cookie(request: Request) -> str:
    return f"__Secure-{_COOKIE}" if is_secure(request, request.app.state.settings) else _COOKIE


def _finish(request: Request, answer: Response, held: tickets.Held) -> None:
    """Finish the trip: sign in, or note the proof. Raises OidcRefused."""
    database: Database = request.app.state.database
    person = _provider(request).finish(held.detail, _redirect_uri(request), dict(request.query_params))
    if held.account_id is None:
        enter(request, answer, Entered(oidc.enter(database, person), strong=True))
        return
    with database.read() as session:
        account = session.get(Account, held.account_id)
    assert account is not None
    oidc.check_proof(database, person, account, float(held.detail["begun"]))
    with database.write() as session:
        sessions.prove(session, held.detail["session"], strong=True)


def _provider(request: Request) -> "Provider":
    provider: Provider | None = request.app.state.oidc
    if provider is None:
        raise NotFound("No OpenID provider is set up here.", "An administrator can add one to config.toml.")
    return provider


def _path(request: Request) -> str:
    return str(request.app.url_path_for("arrive"))


def _redirect_uri(request: Request) -> str:
    settings: Settings = request.app.state.settings
    return page_address(request, settings) + _path(request)
