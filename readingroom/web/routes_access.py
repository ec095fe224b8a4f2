"""Who may see a study, and opening one that is closed in an emergency."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from readingroom.access.actor import Actor
from readingroom.archive import glass, visibility
from readingroom.archive.tables import Study
from readingroom.core.database import Database
from readingroom.core.permissions import Permission
from readingroom.web.permissions import requires

router = APIRouter()

Breaker = Annotated[Actor, Depends(requires(Permission.GLASS_BREAK))]
Restricter = Annotated[Actor, Depends(requires(Permission.STUDY_RESTRICT))]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BreakGlass(_Body):
    """In a body: names and identifiers have no place in an address."""

    by: glass.By
    value: str = Field(min_length=1, max_length=64)
    reason: str = Field(max_length=32)
    text: str = Field(default="", max_length=500)


class GlassBroken(_Body):
    study_ids: tuple[str, ...]
    until: datetime


class WhoSees(_Body):
    """``people``: names of accounts. Empty and not restricted: everybody in the study's project."""

    restricted: bool
    people: tuple[str, ...] = Field(default=(), max_length=200)


@router.get("/glass")
def reasons(actor: Breaker) -> dict[str, Any]:
    """The reasons there are, and for how long a study then stays open."""
    return {"reasons": list(glass.glass_reasons().values()), "minutes": int(glass.OPEN_FOR.total_seconds() // 60)}


@router.post("/glass")
def break_glass(body: BreakGlass, request: Request, actor: Breaker) -> GlassBroken:
    """Open a patient's closed studies for an hour. Administrators are told, of attempts that find nothing too."""
    opened = glass.break_glass(
        request.app.state.database, actor, body.by, body.value.strip(), body.reason, body.text.strip()
    )
    return GlassBroken(study_ids=opened.study_ids, until=opened.until)


@router.get("/studies/{study_id}/visibility")
def who_sees(study_id: str, request: Request, actor: Restricter) -> dict[str, Any]:
    """Whether the study is restricted, and the others who are or could be named: the asker always is."""
    database: Database = request.app.state.database
    with database.read() as session:
        named = {account.name for account in visibility.people_on(session, study_id)}
        people = [
            {"name": account.name, "display_name": account.display_name, "named": account.name in named}
            for account in visibility.people_of_project(session, study_id)
            if account.id != actor.account_id
        ]
        return {"restricted": session.get_one(Study, study_id).restricted, "people": people}


@router.put("/studies/{study_id}/visibility", status_code=204)
def set_who_sees(study_id: str, body: WhoSees, request: Request, actor: Restricter) -> None:
    """Restrict the study to these people (the asker is always one), or open it to its project again."""
    database: Database = request.app.state.database
    with database.write() as session:
        if body.restricted:
            visibility.restrict(session, study_id, body.people, actor)
        else:
            visibility.open_up(session, study_id, actor)
