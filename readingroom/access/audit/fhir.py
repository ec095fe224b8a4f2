"""Events as FHIR R5 AuditEvent, coded as IHE's BALP does: DICOM's codes for what, who took part and how it ended.

Studies and patients are references by our own keys; names and identifiers are not in the log and not here.
"""

import json
import re
from calendar import monthrange
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement

from readingroom.access.audit.actions import CODES, OUTCOMES, TYPES
from readingroom.access.audit.message import Participant, Subject, Us, action_of, participants
from readingroom.core.audit import AuditCode, AuditEvent
from readingroom.core.database import MAX_INTEGER
from readingroom.core.errors import BadInput

DCM = "http://dicom.nema.org/resources/ontology/DCM"
_TERMS = "http://terminology.hl7.org/CodeSystem"
_OUTCOME_NAMES = {"0": "Success", "4": "Minor failure", "8": "Serious failure", "12": "Major failure"}
_SEVERITY = {"success": "informational", "failure": "warning", "refused": "warning", "compromised": "alert"}
_DATE = re.compile(
    r"(?P<prefix>eq|lt|gt|ge|le)?(?P<year>\d{4})(-(?P<month>\d\d)(-(?P<day>\d\d)(?P<time>T\d\d:\d\d"
    r"(?P<seconds>:\d\d(\.(?P<fraction>\d{1,6}))?)?(Z|[+-]\d\d:\d\d))?)?)?"
)


def audit_event(event: AuditEvent, subject: Subject, us: Us) -> dict[str, Any]:
    """Return the event as a resource."""
    action = action_of(event)
    ours = _coding("urn:readingroom:audit-action", event.action, action.words)
    kind = [_coding(DCM, action.type, TYPES[action.type])] if action.type else []
    outcome = OUTCOMES.get(event.outcome, "4")
    moment = event.at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    resource: dict[str, Any] = {
        "resourceType": "AuditEvent",
        "id": str(event.id),
        "category": [{"coding": [_coding(DCM, event.code, CODES[AuditCode(event.code)])]}],
        "code": {"coding": [*kind, ours]},
        "action": action.how,
        "severity": _SEVERITY.get(event.outcome, "warning"),
        "occurredDateTime": moment,
        "recorded": moment,
        "outcome": {"code": _coding(f"{_TERMS}/audit-event-outcome", outcome, _OUTCOME_NAMES[outcome])},
        "agent": [_agent(one) for one in participants(event, action, us)],
        "source": {
            "observer": {"display": f"{us.aet}@{us.node}"},
            "type": [{"coding": [_coding(f"{_TERMS}/security-source-type", "4", "Application Server")]}],
        },
        "entity": [],
    }
    if subject.patient_key is not None:
        resource["patient"] = {"reference": f"Patient/{subject.patient_key}"}
        resource["entity"].append(_entity({"reference": f"Patient/{subject.patient_key}"}, "1", "Patient"))
    if event.study_id:
        resource["entity"].append(_entity({"reference": f"ImagingStudy/{event.study_id}"}, "3", "Report"))
    chained = _entity(
        {"identifier": {"system": "urn:readingroom:audit", "value": str(event.id)}}, "13", "Security Resource"
    )
    chained["detail"] = [
        {"type": {"text": key}, "valueString": value if isinstance(value, str) else json.dumps(value)}
        for key, value in {"SHA-256": event.hash, **event.detail}.items()
        if value != ""
    ]
    resource["entity"].append(chained)
    return resource


def _agent(one: Participant) -> dict[str, Any]:
    agent: dict[str, Any] = {
        "who": {"identifier": {"system": "urn:readingroom:actor", "value": one.user or "unknown"}},
        "requestor": one.requests,
    }
    if one.role_code is not None:
        value, _, meaning = one.role_code
        agent["type"] = {"coding": [_coding(DCM, value, meaning)]}
    if one.host:
        agent["networkString"] = one.host
    return agent


def _entity(what: dict[str, Any], role: str, meaning: str) -> dict[str, Any]:
    return {"what": what, "role": {"coding": [_coding(f"{_TERMS}/object-role", role, meaning)]}}


def _coding(system: str, value: str, meaning: str) -> dict[str, str]:
    return {"system": system, "code": value, "display": meaning}


def date_condition(text: str) -> ColumnElement[bool]:
    """Return the condition of one ``date`` parameter: a prefix and a moment as exact as it is written.

    Raises BadInput.
    """
    match = _DATE.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        start, end = _span(match)
    except (ValueError, OverflowError):
        raise BadInput("The date of a search is not one.", "As in ge2026-01-31 or lt2026-01-31T10:00:00Z.") from None
    at = AuditEvent.at
    return {
        "eq": (at >= start) & (at < end),
        "lt": at < start,
        "gt": at >= end,
        "ge": at >= start,
        "le": at < end,
    }[match["prefix"] or "eq"]


def _span(match: re.Match[str]) -> tuple[datetime, datetime]:
    """Return the first moment of what is written and the first after it."""
    year, month, day = (int(match[name] or 1) for name in ("year", "month", "day"))
    if match["time"]:
        start = datetime.fromisoformat(f"{year:04}-{month:02}-{day:02}{match['time']}").astimezone(UTC)
        fraction = len(match["fraction"] or "")
        exact = timedelta(microseconds=10 ** (6 - fraction)) if fraction else timedelta(seconds=1)
        return start, start + (exact if match["seconds"] else timedelta(minutes=1))
    start = datetime(year, month, day, tzinfo=UTC)
    if match["day"]:
        return start, start + timedelta(days=1)
    if match["month"]:
        return start, start + timedelta(days=monthrange(year, month)[1])
    return start, datetime(year + 1, 1, 1, tzinfo=UTC)


def type_condition(text: str) -> ColumnElement[bool]:
    """Return the condition of ``type``: an event identifier, alone or after DICOM's system. Raises BadInput."""
    system, _, value = text.rpartition("|")
    if system not in ("", DCM) or value not in {code.value for code in AuditCode}:
        raise BadInput("There is no such type of event here.", "One of DICOM's, as in type=110103.")
    return AuditEvent.code == value


def entity_condition(
    text: str, about_patients: Callable[[Collection[int]], ColumnElement[bool]]
) -> ColumnElement[bool]:
    """Return the condition of ``entity``: a study's or a patient's reference. Raises BadInput."""
    kind, _, key = text.rpartition("/")
    if kind == "ImagingStudy":
        return AuditEvent.study_id == key
    if kind == "Patient" and key.isdecimal() and int(key) <= MAX_INTEGER:
        return about_patients([int(key)])
    raise BadInput("Events are found by study or by patient.", "As in entity=ImagingStudy/ID or entity=Patient/KEY.")
