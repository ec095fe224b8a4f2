"""The worklist and its tasks."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from readingroom.access.actor import Actor
from readingroom.core.audit import AuditCode, record
from readingroom.core.database import MAX_INTEGER, Database
from readingroom.core.errors import BadInput
from readingroom.core.ids import sha256_hex
from readingroom.core.permissions import Permission
from readingroom.review.decisions import finding_counts, verdict_count
from readingroom.web.permissions import requires
from readingroom.web.seen import Seen
from readingroom.worklist import items, tasks

router = APIRouter()
MAX_PAGE = 200
_seen = Seen()

MayQuery = Annotated[Actor, Depends(requires(Permission.STUDY_QUERY))]


class Search(BaseModel):
    """What is looked for. In a body: names and identifiers have no place in an address."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    q: str = Field(min_length=1, max_length=200)
    status: items.Status = "open"
    offset: int = Field(default=0, ge=0, le=MAX_INTEGER)
    limit: int = Field(default=50, ge=1, le=MAX_PAGE)


@router.get("/worklist", response_model=None)
def worklist(
    request: Request,
    actor: MayQuery,
    status: items.Status = "open",
    offset: Annotated[int, Query(ge=0, le=MAX_INTEGER)] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
) -> Response:
    """One page, most urgent first; 304 while nothing on it can have changed. Audited once, not at each poll."""
    if "q" in request.query_params:
        raise BadInput("A search is not part of an address.", "POST it to /worklist/search.")
    database: Database = request.app.state.database
    with database.read() as session:
        tag = f'"{items.etag(session, actor, verdict_count, status=status, offset=offset, limit=limit)}"'
        # The tag is the page's to keep: the browser stores no patient's name.
        headers = {"ETag": tag}
        # Compression makes a proxy or browser mark the tag as weak.
        if request.headers.get("If-None-Match", "").removeprefix("W/") == tag:
            return Response(status_code=304, headers=headers)
        page = items.worklist(session, actor, finding_counts, verdict_count, status=status, offset=offset, limit=limit)
    if _seen.first(actor.session or actor.name, "worklist"):
        with database.write() as session:
            record(session, AuditCode.QUERY, "worklist-shown", actor.name)
    return Response(page.model_dump_json(), media_type="application/json", headers=headers)


@router.post("/worklist/search", response_model=None)
def search(body: Search, request: Request, actor: MayQuery) -> Response:
    """One page of what fits. Each search is audited once, however often the page asks again."""
    database: Database = request.app.state.database
    with database.read() as session:
        page = items.worklist(session, actor, finding_counts, verdict_count, **body.model_dump())
    if _seen.first(actor.session or actor.name, sha256_hex("search", body.q)):
        with database.write() as session:
            record(session, AuditCode.QUERY, "worklist-search", actor.name)
    return Response(page.model_dump_json(), media_type="application/json")


@router.post("/studies/{study_id}/tasks/{task_id}/done", status_code=204)
def tick_off(
    study_id: str,
    task_id: str,
    request: Request,
    actor: Annotated[Actor, Depends(requires(Permission.FINDING_JUDGE))],
) -> Response:
    database: Database = request.app.state.database
    with database.write() as session:
        tasks.done(session, study_id, task_id, actor.name)
        record(session, AuditCode.PATIENT_RECORD, "task-done", actor.name, study_id=study_id, detail={"task": task_id})
    return Response(status_code=204)
