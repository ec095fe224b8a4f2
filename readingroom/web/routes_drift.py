"""How readers do over time on each scanner: control charts, and new baselines. No patient, no study."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from readingroom.access.actor import Actor
from readingroom.core.database import Database
from readingroom.core.permissions import Permission
from readingroom.learning.drift.view import WatchView, watch, watches
from readingroom.learning.drift.watch import LONGEST_REASON, restart
from readingroom.web.permissions import requires

router = APIRouter(prefix="/drift")


class Restart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    reason: str = Field(min_length=1, max_length=LONGEST_REASON)


@router.get("", dependencies=[Depends(requires(Permission.DRIFT_READ))])
def all_watches(request: Request) -> list[WatchView]:
    """Every reader and scanner that is watched, alarms first, each stream with its newest point."""
    database: Database = request.app.state.database
    with database.read() as session:
        return watches(session)


@router.get("/{watch_id}", dependencies=[Depends(requires(Permission.DRIFT_READ))])
def one_watch(watch_id: str, request: Request) -> WatchView:
    """One reader on one scanner, with the points of its charts."""
    database: Database = request.app.state.database
    with database.read() as session:
        return watch(session, watch_id)


@router.post("/{watch_id}/restart", status_code=204)
def begin_anew(
    watch_id: str, body: Restart, request: Request, actor: Annotated[Actor, Depends(requires(Permission.DRIFT_RESTART))]
) -> Response:
    """Say that what has changed is known: the next readings make new baselines. Points stay."""
    database: Database = request.app.state.database
    with database.write() as session:
        restart(session, watch_id, body.reason, actor.name)
    return Response(status_code=204)
