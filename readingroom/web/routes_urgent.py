"""Urgent findings: who waits, who has been shown what, and acknowledging. Only what the asker may see is told."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from readingroom.access.actor import Actor
from readingroom.core.database import Database
from readingroom.core.ids import sha256_hex
from readingroom.core.permissions import Permission
from readingroom.web.permissions import requires
from readingroom.worklist.urgent import life
from readingroom.worklist.urgent.views import urgent_list

router = APIRouter()

MayQuery = Annotated[Actor, Depends(requires(Permission.STUDY_QUERY))]
MayJudge = Annotated[Actor, Depends(requires(Permission.FINDING_JUDGE))]


@router.get("/urgent", response_model=None)
def urgent(request: Request, actor: MayQuery, everything: bool = False) -> Response:
    """The alerts that nobody has acknowledged, and with ``everything`` the others; 304 while they are the same."""
    database: Database = request.app.state.database
    with database.read() as session:
        found = urgent_list(session, actor, everything=everything)
    body = found.model_dump_json()
    headers = {"ETag": f'"{sha256_hex(body)[:32]}"'}
    # Compression makes a proxy or browser mark the tag as weak.
    if request.headers.get("If-None-Match", "").removeprefix("W/") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


@router.post("/studies/{study_id}/urgent/{alert_id}/shown", status_code=204)
def shown(study_id: str, alert_id: str, request: Request, actor: MayJudge) -> Response:
    """A page shows the alert to somebody who may acknowledge it."""
    database: Database = request.app.state.database
    with database.write() as session:
        life.shown(session, study_id, alert_id, actor.name)
    return Response(status_code=204)


@router.post("/studies/{study_id}/urgent/{alert_id}/acknowledge", status_code=204)
def acknowledge(study_id: str, alert_id: str, request: Request, actor: MayJudge) -> Response:
    """Somebody sees to it."""
    database: Database = request.app.state.database
    with database.write() as session:
        life.acknowledge(session, study_id, alert_id, actor.name)
    return Response(status_code=204)
