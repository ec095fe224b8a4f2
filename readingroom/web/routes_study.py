"""One study for the review page: what is known of it, its segments, verdicts, and asking for it to be read."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from readingroom.access.actor import Actor
from readingroom.archive import revisions
from readingroom.archive.receive import Archive
from readingroom.archive.tables import Study as StudyRow
from readingroom.core.audit import AuditCode, record
from readingroom.core.database import Database
from readingroom.core.errors import Conflict, NotFound
from readingroom.core.ids import new_id
from readingroom.core.outbox import emit
from readingroom.core.permissions import Permission
from readingroom.findings.model import SegmentMask
from readingroom.readers.tables import ReadingRow
from readingroom.review import heat_maps, segments, verdicts
from readingroom.review.model import Study, VerdictInput
from readingroom.review.study_view import study_view
from readingroom.web.permissions import requires

router = APIRouter(prefix="/studies/{study_id}")

MayRead = Annotated[Actor, Depends(requires(Permission.STUDY_READ))]
MayJudge = Annotated[Actor, Depends(requires(Permission.FINDING_JUDGE))]
MayControl = Annotated[Actor, Depends(requires(Permission.WORKFLOW_CONTROL))]


class Expected(BaseModel):
    """How many instances a study is to have, as its sender, an order or a gateway knows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    instances: int = Field(ge=1, le=1_000_000)


@router.get("", response_model=None)
def study(study_id: str, request: Request, actor: MayRead) -> Response:
    """The study as the page shows it."""
    database: Database = request.app.state.database
    with database.read() as session:
        view = study_view(session, study_id, sorted(actor.permissions), glass_until=actor.glass_until)
    return _answer(view)


@router.post("/ready", status_code=202)
def ready(study_id: str, request: Request, actor: MayControl) -> dict[str, str]:
    """Let the study be read now, without waiting for quiet."""
    database: Database = request.app.state.database
    with database.write() as session:
        _find(session.get(StudyRow, study_id))
        revisions.request_ready(session, study_id)
        record(session, AuditCode.PATIENT_RECORD, "ready-requested", actor.name, study_id=study_id)
    return {"state": "requested"}


@router.post("/expected", status_code=202)
def expected(study_id: str, body: Expected, request: Request, actor: MayControl) -> dict[str, str]:
    """Announce how many instances the study is to have: with the last of them it is read at once."""
    database: Database = request.app.state.database
    with database.write() as session:
        revisions.expect(session, study_id, body.instances)
        detail = {"instances": body.instances}
        record(session, AuditCode.PATIENT_RECORD, "expected", actor.name, study_id=study_id, detail=detail)
    return {"state": "announced"}


@router.post("/reread", status_code=202)
def reread(study_id: str, request: Request, actor: MayControl) -> dict[str, str]:
    """Run readers that failed or never ran again on the current revision."""
    database: Database = request.app.state.database
    with database.write() as session:
        found = _find(session.get(StudyRow, study_id))
        if found.held:
            raise Conflict("This study is held: nothing reads it.", "Resolve what holds it first.", code="held")
        if found.revision == 0:
            raise Conflict("This study has not been read yet.", "Mark it ready instead.")
        emit(
            session,
            "study.reread",
            f"reread-{study_id}-{found.revision}-{new_id()}",
            {"study_id": study_id, "revision": found.revision},
        )
        record(session, AuditCode.PATIENT_RECORD, "reread-requested", actor.name, study_id=study_id)
    return {"state": "requested"}


@router.get(
    "/segments/{reading_id}/{name}", response_model=None, dependencies=[Depends(requires(Permission.STUDY_READ))]
)
def segment(study_id: str, reading_id: str, name: str, request: Request) -> Response:
    """Run lengths of one segment. It never changes: a new reading has a new id."""
    database: Database = request.app.state.database
    archive: Archive = request.app.state.archive
    with database.read() as session:
        row = session.get(ReadingRow, reading_id)
    key = row.arrays.get(name) if row is not None and row.study_id == study_id else None
    if key is None:
        raise NotFound("There is no such segment.")
    runs = segments.runs_of(SegmentMask.from_bytes(archive.store.read(key)))
    return Response(runs.model_dump_json(), media_type="application/json")


@router.get(
    "/heat-maps/{reading_id}/{finding_id}",
    response_model=None,
    dependencies=[Depends(requires(Permission.STUDY_READ))],
)
def heat_map(study_id: str, reading_id: str, finding_id: str, request: Request) -> Response:
    """Levels of one finding's heat map, on the box of its segment. Like the segment it never changes."""
    database: Database = request.app.state.database
    archive: Archive = request.app.state.archive
    with database.read() as session:
        row = session.get(ReadingRow, reading_id)
    if row is None or row.study_id != study_id:
        raise NotFound("There is no such reading.")
    levels = heat_maps.levels_of(heat_maps.keys_of(row, finding_id), archive.store.read)
    return Response(levels.model_dump_json(), media_type="application/json")


@router.post("/verdicts", response_model=None)
def give_verdict(study_id: str, body: VerdictInput, request: Request, actor: MayJudge) -> Response:
    """Add one verdict; answers the study as it stands then."""
    database: Database = request.app.state.database
    with database.write() as session:
        verdicts.give(session, study_id, body, actor.name)
        view = study_view(session, study_id, sorted(actor.permissions), glass_until=actor.glass_until)
    return _answer(view)


def _find(row: StudyRow | None) -> StudyRow:
    if row is None:
        raise NotFound("There is no such study.")
    return row


def _answer(view: Study) -> Response:
    return Response(view.model_dump_json(), media_type="application/json")
