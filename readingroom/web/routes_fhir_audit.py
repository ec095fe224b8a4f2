"""The audit for other systems, as FHIR: ``GET /fhir/AuditEvent``. Reading it is audited itself."""

import socket
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import Response
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from readingroom.access.actor import Actor
from readingroom.access.audit.fhir import audit_event, date_condition, entity_condition, type_condition
from readingroom.access.audit.message import Subject, Us
from readingroom.archive.subjects import about_patients, subjects
from readingroom.core.audit import AuditCode, AuditEvent, record
from readingroom.core.config import Settings
from readingroom.core.database import MAX_INTEGER, Database
from readingroom.core.errors import BadInput, NotFound
from readingroom.core.permissions import Permission
from readingroom.web.fhir import PREFIX, resource_answer
from readingroom.web.permissions import requires

router = APIRouter(prefix="/AuditEvent")

MayRead = Annotated[Actor, Depends(requires(Permission.AUDIT_READ))]
COUNT, MOST = 50, 500
_CONTROLS = ("_count", "page", "_format")


@router.get("", response_model=None)
def search(request: Request, actor: MayRead) -> Response:
    """Events, newest first, that fit every parameter, as a Bundle. ``page`` is from the link to the next one."""
    parameters = request.query_params.multi_items()
    conditions = [_condition(name, value) for name, value in parameters if name not in _CONTROLS]
    count = _number(request, "_count", COUNT, MOST)
    before = _number(request, "page", 0, MAX_INTEGER)
    database: Database = request.app.state.database
    with database.write() as session:
        _note(session, actor, sorted({name for name, _ in parameters}))
        total = session.scalar(select(func.count()).select_from(AuditEvent).where(*conditions)) or 0
        page = select(AuditEvent).where(*conditions).order_by(AuditEvent.id.desc())
        if before:
            page = page.where(AuditEvent.id < before)
        found = list(session.scalars(page.limit(count + 1)))
        shown = found[:count]
        resources = _resources(request, session, shown)
    links = [{"relation": "self", "url": str(request.url)}]
    if len(found) > count:
        links.append({"relation": "next", "url": str(request.url.include_query_params(page=shown[-1].id))})
    bundle = {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": total,
        "link": links,
        "entry": [
            {
                "fullUrl": f"{request.base_url}{PREFIX[1:]}/AuditEvent/{resource['id']}",
                "resource": resource,
                "search": {"mode": "match"},
            }
            for resource in resources
        ],
    }
    return resource_answer({name: value for name, value in bundle.items() if value != []})


@router.get("/{number}", response_model=None)
def read(number: Annotated[int, Path(ge=1, le=MAX_INTEGER)], request: Request, actor: MayRead) -> Response:
    """One event by its number."""
    database: Database = request.app.state.database
    with database.write() as session:
        event = session.get(AuditEvent, number)
        if event is None:
            raise NotFound("There is no such event.")
        _note(session, actor, [])
        (resource,) = _resources(request, session, [event])
    return resource_answer(resource)


def _condition(name: str, value: str) -> ColumnElement[bool]:
    match name:
        case "date":
            return date_condition(value)
        case "agent":
            return AuditEvent.actor == value
        case "entity" | "patient":
            return entity_condition(value, about_patients)
        case "type" | "category":
            return type_condition(value)
    # A filter that is passed over would answer with more than was asked for.
    raise BadInput("The audit is not searched by one of these parameters.", "By date, agent, entity, patient, type.")


def _number(request: Request, name: str, usual: int, most: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return usual
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:12]) <= most:
        raise BadInput(f"{name} is not a number from 1 to {most}.")
    return int(text)


def _note(session: Session, actor: Actor, parameters: list[str]) -> None:
    record(session, AuditCode.AUDIT_LOG_USED, "audit-fhir", actor.name, detail={"searched_by": parameters})


def _resources(request: Request, session: Session, events: list[AuditEvent]) -> list[dict[str, Any]]:
    settings: Settings = request.app.state.settings
    us = Us(settings.aet, socket.gethostname())
    about = subjects(session, events)
    return [audit_event(event, about.get(event.id, Subject()), us) for event in events]
