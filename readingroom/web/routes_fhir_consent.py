"""Consents from and for other systems, as FHIR: one at a time by its id, or all of a patient.

A patient is named in the body, never in the address: a search is POSTed to ``_search``.
"""

from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from readingroom.access import consent
from readingroom.access.actor import Actor
from readingroom.access.fhir_consent import PatientIdentifier, Version, read_consent, write_consent
from readingroom.access.tables import ConsentRow
from readingroom.archive.identity import enter_patient, find_patient
from readingroom.archive.tables import Patient
from readingroom.core.audit import AuditCode, record
from readingroom.core.clock import utc_now
from readingroom.core.config import Settings
from readingroom.core.database import Database
from readingroom.core.errors import BadInput, NotFound
from readingroom.core.permissions import Permission
from readingroom.web.fhir import PREFIX, resource_answer
from readingroom.web.permissions import requires

router = APIRouter(prefix="/Consent")

MayExchange = Annotated[Actor, Depends(requires(Permission.CONSENT_EXCHANGE))]
SEARCHES = ("patient:identifier", "subject:identifier", "patient.identifier", "subject.identifier")


@router.post("", status_code=201, response_model=None)
async def create(request: Request, actor: MayExchange) -> Response:
    """Write down what a Consent says; answers it as it was understood."""
    body = await request.body()
    version = _version(request.headers.get("content-type", ""))
    return await run_in_threadpool(_create, request, actor, body, version)


@router.get("", response_model=None)
def no_search(_actor: MayExchange) -> Response:
    """FHIR would have the patient in the address here."""
    raise BadInput("A search for a patient is not part of an address.", f"POST it to {PREFIX}/Consent/_search.")


@router.post("/_search", response_model=None)
async def search(request: Request, actor: MayExchange) -> Response:
    """All consents of one patient, newest first, as a Bundle."""
    body = await request.body()
    return await run_in_threadpool(_search, request, actor, body)


@router.get("/{act}", response_model=None)
def read(act: str, request: Request, actor: MayExchange) -> Response:
    database: Database = request.app.state.database
    with database.write() as session:
        rows = session.scalars(select(ConsentRow).where(ConsentRow.act == act).order_by(ConsentRow.id)).all()
        if not rows:
            raise NotFound("There is no such consent.")
        patient = session.get_one(Patient, rows[0].patient_id)
        (resource,) = _resources(session, rows, _identifier(request, patient))
        _note(session, actor, patient.id)
    return resource_answer(resource)


def _create(request: Request, actor: Actor, body: bytes, version: Version) -> Response:
    database: Database = request.app.state.database
    settings: Settings = request.app.state.settings
    received = read_consent(body, version, ZoneInfo(settings.site_timezone), utc_now())
    issuer = settings.patient_systems.get(received.patient.IssuerOfPatientID, received.patient.IssuerOfPatientID)
    with database.write() as session:
        patient = enter_patient(session, received.patient.PatientID, issuer)
        act = consent.decide(session, patient.id, *received.statements, actor=actor.name)
        rows = session.scalars(select(ConsentRow).where(ConsentRow.act == act).order_by(ConsentRow.id)).all()
        (resource,) = _resources(session, rows, _identifier(request, patient))
    return resource_answer(resource, 201, {"Location": f"{PREFIX}/Consent/{act}"})


def _search(request: Request, actor: Actor, body: bytes) -> Response:
    database: Database = request.app.state.database
    settings: Settings = request.app.state.settings
    system, value = _searched(body)
    issuer = settings.patient_systems.get(system, system)
    with database.write() as session:
        patient = find_patient(session, value, issuer)
        resources: list[dict[str, Any]] = []
        if patient is not None:
            resources = _resources(session, consent.history(session, patient.id), _identifier(request, patient))
            _note(session, actor, patient.id)
    entries = [
        {"fullUrl": f"urn:uuid:{resource['id']}", "resource": resource, "search": {"mode": "match"}}
        for resource in reversed(resources)
    ]
    from fhir.resources.bundle import Bundle

    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset", "total": len(entries)}
    if entries:
        bundle["entry"] = entries
    Bundle.model_validate(bundle)
    return resource_answer(bundle)


def _resources(session: Session, rows: Sequence[ConsentRow], patient: PatientIdentifier) -> list[dict[str, Any]]:
    """Return the acts of these rows (all of one patient), oldest first."""
    now = utc_now()
    every = consent.history(session, rows[0].patient_id) if rows else ()
    holding = set()
    for purpose in {row.purpose for row in every}:
        row = consent.in_force((row for row in every if row.purpose == purpose), now)
        if row is not None and (row.ends_at is None or row.ends_at > now):
            holding.add(row.act)
    acts: dict[str, list[ConsentRow]] = {}
    for row in rows:
        acts.setdefault(row.act, []).append(row)
    return [write_consent(of_act, patient, holds=act in holding) for act, of_act in acts.items()]


def _identifier(request: Request, patient: Patient) -> PatientIdentifier:
    settings: Settings = request.app.state.settings
    issuer = patient.IssuerOfPatientID
    system = next((system for system, named in settings.patient_systems.items() if named == issuer), issuer)
    return PatientIdentifier(patient.PatientID, system)


def _version(content_type: str) -> Version:
    """Return the release a body is in: R5 unless its media type says R4 (whose Consent is R4B's)."""
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.strip().partition("=")
        if name.lower() == "fhirversion":
            if value in ("4.0", "4.3"):
                return "4.3"
            if value != "5.0":
                raise BadInput("That release of FHIR is not read here.", "Send fhirVersion 5.0, 4.3 or 4.0.")
    return "5.0"


def _searched(body: bytes) -> tuple[str, str]:
    """Return system and value of the identifier that is looked for."""
    hint = "POST patient:identifier=system|value as a form; the bar stays where there is no system."
    try:
        given = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True, max_num_fields=8)
    except (UnicodeDecodeError, ValueError):
        raise BadInput("That is no search.", hint) from None
    if len(given) != 1 or given[0][0] not in SEARCHES or "|" not in given[0][1]:
        raise BadInput("Consents are searched for by the patient's identifier, and by nothing else.", hint)
    system, _, value = given[0][1].rpartition("|")
    return system, value


def _note(session: Session, actor: Actor, patient_id: int) -> None:
    record(session, AuditCode.PATIENT_RECORD, "consent-read", actor.name, patient_id=patient_id)
