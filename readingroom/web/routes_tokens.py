"""My sessions and my API tokens: what is signed in as me, and ending it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from readingroom.access import sessions, tokens
from readingroom.access.actor import Actor
from readingroom.access.tables import Account, ApiToken, Project
from readingroom.core.database import Database
from readingroom.core.permissions import Permission, Role
from readingroom.web.browser import account_of, want_proof
from readingroom.web.permissions import requires

router = APIRouter(prefix="/account")

Me = Annotated[Actor, Depends(requires(Permission.SESSION))]
Maker = Annotated[Actor, Depends(requires(Permission.TOKEN_CREATE))]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NewToken(_Body):
    name: str = Field(max_length=64)
    scopes: tuple[Permission, ...] = Field(min_length=1, max_length=50)
    days: int = Field(ge=1, le=tokens.LONGEST_DAYS)
    project: str = Field(default="", max_length=64)


class TokenMade(_Body):
    """``token`` is shown this once."""

    id: str
    token: str
    expires_at: datetime


class TokenShown(_Body):
    id: str
    name: str
    scopes: tuple[str, ...]
    project: str
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None
    revoked_at: datetime | None


class MyTokens(_Body):
    """``scopes``: what a new one may carry; ``projects``: those it may be for."""

    items: list[TokenShown]
    scopes: tuple[str, ...]
    projects: tuple[str, ...]


class SessionShown(_Body):
    """``strong``: signed in with more than a password."""

    id: str
    browser: str
    strong: bool
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    current: bool


@router.get("/sessions")
def my_sessions(request: Request, actor: Me) -> list[SessionShown]:
    """Browsers that are signed in as me, this one first."""
    database: Database = request.app.state.database
    with database.read() as session:
        rows = sessions.sessions_of(session, _id(actor))
    found = [
        SessionShown(
            id=row.id,
            browser=row.browser,
            strong=row.strong,
            created_at=row.created_at,
            seen_at=row.seen_at,
            expires_at=row.expires_at,
            current=row.token_sha256 == actor.session,
        )
        for row in rows
    ]
    return sorted(found, key=lambda one: not one.current)


@router.delete("/sessions/{session_id}", status_code=204)
def end_session(session_id: str, request: Request, actor: Me) -> Response:
    database: Database = request.app.state.database
    with database.write() as session:
        sessions.end_session(session, _id(actor), session_id, actor=actor.name)
    return Response(status_code=204)


@router.get("/tokens")
def my_tokens(request: Request, actor: Me) -> MyTokens:
    database: Database = request.app.state.database
    assert isinstance(actor.role, Role)
    with database.read() as session:
        items = shown(session, tokens.tokens_of(session, actor.account_id))
    scopes = tuple(sorted(tokens.scopes_of(actor.role)))
    return MyTokens(items=items, scopes=scopes, projects=tuple(sorted(p.name for p in actor.projects.values())))


@router.post("/tokens", status_code=201)
def make_token(body: NewToken, request: Request, actor: Maker) -> TokenMade:
    """Make a token. It is a way in, so it wants a fresh proof of who is there."""
    want_proof(request, actor)
    database: Database = request.app.state.database
    with database.write() as session:
        return made(session, account_of(session, actor), body, actor.name)


@router.delete("/tokens/{token_id}", status_code=204)
def revoke_token(token_id: str, request: Request, actor: Me) -> Response:
    database: Database = request.app.state.database
    with database.write() as session:
        tokens.revoke_token(session, token_id, account_id=_id(actor), actor=actor.name)
    return Response(status_code=204)


def made(session: Session, account: Account, body: NewToken, actor: str) -> TokenMade:
    """Make the token that ``body`` describes, for ``account``."""
    new = tokens.create_token(session, account, body.name, body.scopes, body.days, project=body.project, actor=actor)
    return TokenMade(id=new.id, token=new.text, expires_at=new.expires_at)


def shown(session: Session, found: Sequence[ApiToken]) -> list[TokenShown]:
    """Return tokens as the pages show them: all but the token."""
    names = dict(session.execute(select(Project.id, Project.name)).all())
    return [
        TokenShown(
            id=row.id,
            name=row.name,
            scopes=tuple(row.scopes),
            project=names[row.project_id] if row.project_id else "",
            created_at=row.created_at,
            expires_at=row.expires_at,
            used_at=row.used_at,
            revoked_at=row.revoked_at,
        )
        for row in found
    ]


def _id(actor: Actor) -> int:
    assert actor.account_id is not None
    return actor.account_id
