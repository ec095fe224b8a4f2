"""Accounts, projects and alerts: the administrator's pages. Nothing here shows a patient."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from readingroom.access import administration, alerts, projects, second_factor, tokens
from readingroom.access.actor import Actor
from readingroom.access.tables import Account, Membership, Project
from readingroom.archive.tables import Study
from readingroom.core.database import MAX_INTEGER, Database
from readingroom.core.errors import BadInput
from readingroom.core.permissions import MEMBER_ROLES, Permission, ProjectKind, Role
from readingroom.web.browser import want_proof
from readingroom.web.permissions import requires
from readingroom.web.routes_tokens import NewToken, TokenMade, TokenShown, made, shown

router = APIRouter()

AccountKey = Annotated[int, Path(ge=1, le=MAX_INTEGER)]
Manager = Annotated[Actor, Depends(requires(Permission.ACCOUNT_MANAGE))]
Watcher = Annotated[Actor, Depends(requires(Permission.ALERT_READ))]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AccountChange(_Body):
    """``projects``: name -> role there."""

    display_name: str = Field(default="", max_length=128)
    role: Role
    disabled: bool = False
    projects: dict[str, Role] = Field(default={}, max_length=200)


class NewAccount(_Body):
    name: str = Field(max_length=64)
    display_name: str = Field(default="", max_length=128)
    role: Role
    projects: dict[str, Role] = Field(default={}, max_length=200)


class NewProject(_Body):
    name: str = Field(max_length=64)
    title: str = Field(default="", max_length=128)
    kind: ProjectKind


class AccountShown(_Body):
    id: int
    name: str
    display_name: str
    role: Role
    disabled: bool
    second_factor: bool
    elsewhere: bool
    """It signs in at the OpenID provider."""
    password_owed: bool
    """It has not yet chosen a password of its own."""
    projects: dict[str, Role]
    created_at: datetime


class AccountGiven(_Body):
    """An account with a password to hand over: shown this once."""

    account: AccountShown
    password: str


class AlertShown(_Body):
    id: str
    kind: str
    actor: str
    text: str
    study_id: str | None
    at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str


@router.get("/accounts")
def all_accounts(request: Request, actor: Manager) -> dict[str, Any]:
    """Every account with its projects, and what may be chosen for them."""
    database: Database = request.app.state.database
    with database.read() as session:
        found = administration.all_accounts(session)
        return {
            "items": _accounts(session, found),
            "roles": list(Role),
            "machine_scopes": sorted(tokens.scopes_of(Role.SERVICE)),
        }


@router.post("/accounts", status_code=201)
def give_account(body: NewAccount, request: Request, actor: Manager) -> AccountGiven:
    """Make an account. Its password is random, shown once, and must be changed at the first sign-in."""
    want_proof(request, actor)
    database: Database = request.app.state.database
    with database.write() as session:
        given = administration.give_account(
            session, body.name, body.role, body.projects, display_name=body.display_name, actor=actor.name
        )
        return AccountGiven(account=_accounts(session, [given.account])[0], password=given.password)


@router.put("/accounts/{account_id}")
def change_account(account_id: AccountKey, body: AccountChange, request: Request, actor: Manager) -> AccountShown:
    """Set name, role, whether it is disabled, and its projects. What it loses, it loses at once."""
    want_proof(request, actor)
    database: Database = request.app.state.database
    with database.write() as session:
        account = administration.account_by_id(session, account_id)
        administration.change_account(
            session,
            account,
            display_name=body.display_name,
            role=body.role,
            disabled=body.disabled,
            projects=body.projects,
            actor=actor.name,
        )
        return _accounts(session, [account])[0]


@router.post("/accounts/{account_id}/reset")
def reset(account_id: AccountKey, request: Request, actor: Manager) -> AccountGiven:
    """Give a new password to somebody who lost theirs; second factors, sessions and tokens are gone."""
    want_proof(request, actor)
    database: Database = request.app.state.database
    with database.write() as session:
        given = administration.reset(session, administration.account_by_id(session, account_id), actor=actor.name)
        return AccountGiven(account=_accounts(session, [given.account])[0], password=given.password)


@router.get("/accounts/{account_id}/tokens")
def tokens_of_account(account_id: AccountKey, request: Request, actor: Manager) -> list[TokenShown]:
    database: Database = request.app.state.database
    with database.read() as session:
        account = administration.account_by_id(session, account_id)
        return shown(session, tokens.tokens_of(session, account.id))


@router.post("/accounts/{account_id}/tokens", status_code=201)
def make_token(account_id: AccountKey, body: NewToken, request: Request, actor: Manager) -> TokenMade:
    """Make a token for a machine, which cannot do so itself. People make their own, or nobody knows who acts."""
    want_proof(request, actor)
    database: Database = request.app.state.database
    with database.write() as session:
        account = administration.account_by_id(session, account_id)
        if account.role != Role.SERVICE:
            raise BadInput("People make their own tokens.", "On their account's page.")
        return made(session, account, body, actor.name)


@router.delete("/accounts/{account_id}/tokens/{token_id}", status_code=204)
def revoke_token(account_id: AccountKey, token_id: str, request: Request, actor: Manager) -> Response:
    database: Database = request.app.state.database
    with database.write() as session:
        tokens.revoke_token(session, token_id, account_id=account_id, actor=actor.name)
    return Response(status_code=204)


@router.get("/projects")
def all_projects(request: Request, actor: Manager) -> dict[str, Any]:
    """Every project with how many are in it, and which roles count in each kind."""
    database: Database = request.app.state.database
    members = select(func.count()).where(Membership.project_id == Project.id).scalar_subquery()
    studies = select(func.count()).where(Study.project_id == Project.id).scalar_subquery()
    with database.read() as session:
        rows = session.execute(select(Project, members, studies).order_by(Project.name)).all()
    items = [
        {"name": row.name, "title": row.title, "kind": row.kind, "members": of, "studies": holding}
        for row, of, holding in rows
    ]
    return {"items": items, "kinds": {kind: sorted(roles) for kind, roles in MEMBER_ROLES.items()}}


@router.post("/projects", status_code=201)
def make_project(body: NewProject, request: Request, actor: Manager) -> dict[str, str]:
    database: Database = request.app.state.database
    with database.write() as session:
        made = projects.create_project(session, body.name, body.kind, title=body.title, actor=actor.name)
        return {"name": made.name, "title": made.title, "kind": made.kind}


@router.get("/alerts")
def all_alerts(request: Request, actor: Watcher) -> dict[str, Any]:
    """What administrators must see, those that wait first. ``open``: how many wait."""
    database: Database = request.app.state.database
    with database.read() as session:
        rows = alerts.alerts(session)
        waiting = alerts.count_open(session)
    items = [AlertShown(**{name: getattr(row, name) for name in AlertShown.model_fields}) for row in rows]
    return {"open": waiting, "items": items}


@router.post("/alerts/{alert_id}/acknowledge", status_code=204)
def acknowledge(alert_id: str, request: Request, actor: Watcher) -> Response:
    """Say that it has been seen to. Nobody does that for what they did themselves."""
    database: Database = request.app.state.database
    with database.write() as session:
        alerts.acknowledge(session, alert_id, actor.name)
    return Response(status_code=204)


def _accounts(session: Session, found: list[Account]) -> list[AccountShown]:
    where = projects.memberships(session, [account.id for account in found])
    return [
        AccountShown(
            id=account.id,
            name=account.name,
            display_name=account.display_name,
            role=Role(account.role),
            disabled=account.disabled,
            second_factor=second_factor.is_on(session, account.id),
            elsewhere=account.oidc_subject is not None,
            password_owed=account.password_given,
            projects={project.name: role for project, role in where[account.id]},
            created_at=account.created_at,
        )
        for account in found
    ]
