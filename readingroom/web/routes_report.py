"""The report of a study: read, edited, drafted anew, signed, added to. The checks are the service's; none is here."""

from datetime import timedelta
from io import BytesIO
from typing import Annotated, Any

import pydicom
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from readingroom.access.actor import Actor
from readingroom.archive.receive import Archive
from readingroom.archive.tables import Delivery, Instance, Study
from readingroom.core.audit import AuditCode, record
from readingroom.core.clock import utc_now
from readingroom.core.config import Settings
from readingroom.core.database import Database
from readingroom.core.errors import NotFound
from readingroom.core.permissions import Permission
from readingroom.objects.content import AddendumText, Person
from readingroom.report import service
from readingroom.report.model import Flag, ReportBody
from readingroom.report.tables import ReportRow
from readingroom.review.decisions import current_readings, decide, verdicts_of
from readingroom.review.flags import flags_of
from readingroom.review.report_inputs import report_inputs
from readingroom.web.browser import want_proof
from readingroom.web.permissions import requires
from readingroom.web.seen import Seen
from readingroom.worklist.urgent.life import close_signed

router = APIRouter(prefix="/studies/{study_id}/report")
_taken = Seen()

MayRead = Annotated[Actor, Depends(requires(Permission.STUDY_READ))]
MayWrite = Annotated[Actor, Depends(requires(Permission.REPORT_WRITE))]
MaySign = Annotated[Actor, Depends(requires(Permission.REPORT_SIGN))]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SaveBody(_Body):
    etag: int
    sections: dict[str, str]


class SignBody(_Body):
    """What the signer saw. The server compares each with what is in the index."""

    etag: int
    revision: int
    patient_id: str = Field(max_length=64)
    accession_number: str = Field(max_length=64)
    acknowledged: tuple[str, ...] = Field(default=(), max_length=100)


class AddendumBody(_Body):
    text: str


@router.get("", response_model=None)
def report(study_id: str, request: Request, actor: MayRead) -> Response:
    """The report; made from the accepted findings where there is none, and following them while it is a draft."""
    database: Database = request.app.state.database
    with database.write() as session:
        study = _study(session, study_id)
        return _answer(session, study, service.get_or_draft(session, study_id, report_inputs(session, study)))


@router.put("", response_model=None)
def save(study_id: str, body: SaveBody, request: Request, actor: MayWrite) -> Response:
    database: Database = request.app.state.database
    with database.write() as session:
        study = _study(session, study_id)
        row = service.save(session, study_id, etag=body.etag, sections=body.sections, actor=actor.name)
        return _answer(session, study, row)


@router.post("/redraft", response_model=None)
def redraft(study_id: str, request: Request, actor: MayWrite) -> Response:
    database: Database = request.app.state.database
    with database.write() as session:
        study = _study(session, study_id)
        row = service.redraft(session, study_id, report_inputs(session, study), actor.name)
        return _answer(session, study, row)


@router.post("/sign", response_model=None)
def sign(study_id: str, body: SignBody, request: Request, actor: MaySign) -> Response:
    """Sign. All is looked at again in the transaction that signs."""
    database: Database = request.app.state.database
    settings: Settings = request.app.state.settings
    want_proof(request, actor, timedelta(seconds=settings.sign_proof_seconds))
    with database.write() as session:
        study = _study(session, study_id, lock=True)
        row = service.sign(
            session,
            study_id=study_id,
            etag=body.etag,
            revision=body.revision,
            patient_id=body.patient_id,
            accession_number=body.accession_number,
            acknowledged=body.acknowledged,
            actor=actor.name,
            signer=Person(name=actor.display_name or actor.name, role=actor.role or ""),
            inputs=report_inputs(session, study),
            flags=_flags(session, study),
            zone=settings.site_timezone,
        )
        close_signed(session, study_id, actor.name)
        return _answer(session, study, row)


@router.post("/addenda", response_model=None)
def add(study_id: str, body: AddendumBody, request: Request, actor: MaySign) -> Response:
    database: Database = request.app.state.database
    settings: Settings = request.app.state.settings
    want_proof(request, actor, timedelta(seconds=settings.sign_proof_seconds))
    with database.write() as session:
        study = _study(session, study_id)
        service.add_addendum(session, study_id, body.text, author=actor.display_name or actor.name, actor=actor.name)
        row = service.find(session, study_id)
        assert row is not None
        return _answer(session, study, row)


@router.get("/pdf", response_model=None)
def pdf(study_id: str, request: Request, actor: MayRead) -> Response:
    """The page as it was written last, with all addenda; before it is written a preview, marked DRAFT if not signed."""
    database: Database = request.app.state.database
    archive: Archive = request.app.state.archive
    with database.read() as session:
        _study(session, study_id)
        row = service.find(session, study_id)
        if row is None:
            raise NotFound("This study has no report yet.")
        body, addenda = service.body_of(row), service.addenda_of(session, row)
        role = f"pdf-addendum-{len(addenda)}" if addenda else "pdf"
        key = session.scalar(
            select(Instance.store_key).where(Instance.SOPInstanceUID == str(row.objects.get(role, "none")))
        )
    if _taken.first(actor.session or actor.name, study_id):
        with database.write() as session:
            record(session, AuditCode.EXPORT, "report-pdf", actor.name, study_id=study_id)
    page = _written_page(archive.store.read(key)) if key else _preview(body, addenda)
    # The browser's own PDF viewer shows it in a frame of its own.
    headers = {"Content-Disposition": 'inline; filename="report.pdf"'}
    return Response(page, media_type="application/pdf", headers=headers)


def _preview(body: ReportBody, addenda: tuple[AddendumText, ...]) -> bytes:
    # The encoders bring tens of megabytes of libraries; a web process that nobody asks for a page does without.
    from readingroom.report.write import preview_pdf

    return preview_pdf(body, utc_now(), addenda)


def _written_page(data: bytes) -> bytes:
    ds = pydicom.dcmread(BytesIO(data))
    page = bytes(ds.EncapsulatedDocument)
    length = ds.get("EncapsulatedDocumentLength")
    return page[: int(length)] if length else page


def _study(session: Session, study_id: str, *, lock: bool = False) -> Study:
    statement = select(Study).where(Study.id == study_id)
    study = session.scalar(statement.with_for_update(of=Study) if lock else statement)
    if study is None:
        raise NotFound("There is no such study.")
    return study


def _flags(session: Session, study: Study) -> tuple[Flag, ...]:
    readings = current_readings(session, study)
    decided = decide(study.revision, readings, verdicts_of(session, study.id))
    return tuple(Flag(**dict(flag)) for flag in flags_of(session, study, readings, decided))


def _deliveries(session: Session, row: ReportRow) -> list[dict[str, Any]]:
    """Return where each written object stands with each peer."""
    roles = {str(uid): role for role, uid in row.objects.items()}
    rows = session.execute(
        select(Instance.SOPInstanceUID, Delivery.peer, Delivery.state, Delivery.attempts, Delivery.last_error)
        .join(Instance, Instance.id == Delivery.instance_pk)
        .where(Instance.SOPInstanceUID.in_(list(roles)))
        .order_by(Delivery.peer, Delivery.id)
    )
    return [
        {"peer": peer, "role": roles[uid], "state": state, "attempts": attempts, "last_error": error}
        for uid, peer, state, attempts, error in rows
    ]


def _answer(session: Session, study: Study, row: ReportRow) -> Response:
    shown = service.present(session, row, _flags(session, study), _deliveries(session, row))
    return Response(shown.model_dump_json(), media_type="application/json")
