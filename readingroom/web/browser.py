"""The signed-in browser: its cookie, what its pages know of it, and who must show again that it is them."""

from datetime import timedelta
from typing import Any

from fastapi import Request, Response
from sqlalchemy.orm import Session

from readingroom.access import sessions
from readingroom.access.actor import Actor
from readingroom.access.sign_in import UNTIL_ENROLLED, Entered, owes_second_factor
from readingroom.access.tables import Account
from readingroom.core.config import Settings
from readingroom.core.database import Database
from readingroom.core.permissions import ROLE_PERMISSIONS, Role
from readingroom.web.addresses import is_secure
from readingroom.web.permissions import session_cookie


def account_json(account: Account, csrf: str, *, owes: bool) -> dict[str, Any]:
    """Return what the pages know about who is signed in."""
    role = Role(account.role)
    known = {
        "name": account.name,
        "display_name": account.display_name,
        "role": role.value,
        "permissions": sorted(UNTIL_ENROLLED if owes or account.password_given else ROLE_PERMISSIONS[role]),
        "second_factor_owed": owes,
        "password_owed": account.password_given,
    }
    return {"account": known, "csrf": csrf}


def enter(request: Request, response: Response, entered: Entered) -> dict[str, Any]:
    """Open a session for somebody who has just shown who they are; set its cookie, return what the pages know."""
    database: Database = request.app.state.database
    settings: Settings = request.app.state.settings
    with database.write() as session:
        new = sessions.open_session(
            session,
            entered.account.id,
            strong=entered.strong,
            browser=request.headers.get("User-Agent", ""),
        )
    response.set_cookie(
        session_cookie(request),
        new.token,
        max_age=int(sessions.ABSOLUTE.total_seconds()),
        httponly=True,
        samesite="strict",
        secure=is_secure(request, settings),
    )
    owes = owes_second_factor(entered.account, strong=entered.strong, strong_roles=settings.second_factor_required)
    return account_json(entered.account, new.csrf, owes=owes)


def account_of(session: Session, actor: Actor) -> Account:
    """Return the account of a signed-in person."""
    account = session.get(Account, actor.account_id)
    assert account is not None
    return account


def want_proof(request: Request, actor: Actor, within: timedelta = sessions.FRESH) -> None:
    """Raise ProofNeeded where the browser's person showed who they are longer ago than ``within``."""
    database: Database = request.app.state.database
    with database.read() as session:
        sessions.want_proof(session, actor.session, within)
