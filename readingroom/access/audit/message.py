"""An event as the XML audit message of PS3.15 A.5 (edition 2026a; schema of section A.5.1.1).

The log itself holds opaque ids only; the standard has an audit repository be told the Study Instance UID and the
PatientID, so they are looked up when a message is made (``Subject``). Names, birth dates and what was searched for
stay here.
"""

import base64
import ipaddress
import json
from dataclasses import dataclass
from datetime import UTC
from typing import Final
from xml.etree.ElementTree import Element, SubElement, tostring

from readingroom.access.audit.actions import CODES, OUTCOMES, TYPES, Action, actions
from readingroom.core.audit import AuditCode, AuditEvent

OURS = "99READINGROOM"
LOG = "urn:readingroom:audit"
_TRANSFERS = (AuditCode.BEGIN_TRANSFERRING, AuditCode.INSTANCES_TRANSFERRED, AuditCode.QUERY)


@dataclass(frozen=True)
class Subject:
    """What an audit repository is told of the study or the patient an event is about.

    ``patient_key``: the index's own key of the patient.
    """

    StudyInstanceUID: str = ""
    PatientID: str = ""
    IssuerOfPatientID: str = ""
    patient_key: int | None = None


@dataclass(frozen=True)
class Us:
    """Who reports: our AE title and this machine's name."""

    aet: str
    node: str


def action_of(event: AuditEvent) -> Action:
    """Return the line of the table; of an action that has none, what can be told without."""
    return actions().get(event.action) or Action(event.action, AuditCode(event.code), "E", "", "actor", event.action)


def audit_message(event: AuditEvent, subject: Subject, us: Us) -> bytes:
    """Return the message as UTF-8 XML."""
    action = action_of(event)
    root = Element("AuditMessage")
    _identification(root, event, action)
    for one in participants(event, action, us):
        attributes = {"UserID": _text(one.user), "UserIsRequestor": str(one.requests).lower()}
        participant = SubElement(root, "ActiveParticipant", {**attributes, **_access_point(one.host)})
        if one.role_code is not None:
            _code(participant, "RoleIDCode", *one.role_code)
        if one.role.endswith("media"):
            _code(SubElement(participant, "MediaIdentifier"), "MediaType", "110037", "DCM", "URI")
    source = SubElement(root, "AuditSourceIdentification", {"AuditSourceID": f"{us.aet}@{us.node}"})
    SubElement(source, "AuditSourceTypeCode", {"csd-code": "4"})
    _objects(root, event, action, subject)
    # On one line: syslog receivers escape control characters, and the message would be XML no more.
    return b'<?xml version="1.0" encoding="UTF-8"?>' + tostring(root, encoding="unicode").encode()


def _identification(root: Element, event: AuditEvent, action: Action) -> None:
    head = SubElement(
        root,
        "EventIdentification",
        {
            "EventActionCode": action.how,
            "EventDateTime": event.at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "EventOutcomeIndicator": OUTCOMES.get(event.outcome, "4"),
        },
    )
    _code(head, "EventID", event.code, "DCM", CODES[AuditCode(event.code)])
    if action.type:
        _code(head, "EventTypeCode", action.type, "DCM", TYPES[action.type])
    _code(head, "EventTypeCode", _text(event.action), OURS, action.words)
    if event.outcome != "success":
        SubElement(head, "EventOutcomeDescription").text = _text(event.outcome)


_ROLES: Final = {
    "source": ("110153", "DCM", "Source Role ID"),
    "destination": ("110152", "DCM", "Destination Role ID"),
    "application": ("110150", "DCM", "Application"),
    "destination media": ("110154", "DCM", "Destination Media"),
    "source media": ("110155", "DCM", "Source Media"),
}


@dataclass(frozen=True)
class Participant:
    """One who took part. ``role`` is a key of CID 402 as we need it, or empty."""

    user: str
    host: str
    requests: bool
    role: str = ""

    @property
    def role_code(self) -> tuple[str, str, str] | None:
        return _ROLES.get(self.role)


def participants(event: AuditEvent, action: Action, us: Us) -> list[Participant]:
    """Return who took part in an event, as the table of its kind in PS3.15 A.5.3 wants them."""
    actor, host = event.actor, event.host
    requests = action.actor != "destination"
    if event.code in _TRANSFERS and action.actor != "actor":
        other = "destination" if action.actor == "source" else "source"
        return [
            Participant(actor, host, requests, action.actor),
            Participant(us.aet, us.node, not requests, other),
        ]
    match event.code:
        case AuditCode.APPLICATION_ACTIVITY:
            return [Participant(actor, host, False, "application")]
        case AuditCode.EXPORT:
            medium = Participant(host or "browser", host, False, "destination media")
            return [Participant(actor, host, True, "source"), medium]
        case AuditCode.IMPORT:
            medium = Participant(host or us.node, host, False, "source media")
            return [Participant(actor, host, True, "destination"), medium]
        case AuditCode.NETWORK_ENTRY:
            return [Participant(actor, host, False)]
        case AuditCode.USER_AUTHENTICATION:
            # The standard has no sign-in without a place it came from.
            return [Participant(actor, host or us.node, True)]
    return [Participant(actor, host, True)]


def _access_point(host: str) -> dict[str, str]:
    if not host:
        return {}
    try:
        ipaddress.ip_address(host)
        kind = "2"
    except ValueError:
        kind = "1"
    return {"NetworkAccessPointID": _text(host), "NetworkAccessPointTypeCode": kind}


def _objects(root: Element, event: AuditEvent, action: Action, subject: Subject) -> None:
    if event.study_id:
        uid = subject.StudyInstanceUID
        kind = ("110180", "DCM", "Study Instance UID") if uid else ("study", OURS, "Study of this archive")
        study = _object(root, uid or event.study_id, kind, "Study", type_code="2", role="3")
        instances = event.detail.get("instances")
        if isinstance(instances, int):
            SubElement(
                SubElement(study, "ParticipantObjectDescription"), "SOPClass", {"NumberOfInstances": str(instances)}
            )
    if subject.PatientID:
        identifier = f"{subject.PatientID}^^^{subject.IssuerOfPatientID}".rstrip("^")
        _object(root, identifier, ("2", "RFC-3881", "Patient Number"), "withheld", type_code="1", role="1")
    if event.code == AuditCode.QUERY:
        _object(root, "1.2.840.10008.5.1.4.1.2.2.1", ("110181", "DCM", "SOP Class UID"), "withheld", "2", "3")
    if event.code == AuditCode.AUDIT_LOG_USED:
        _object(root, LOG, ("12", "RFC-3881", "URI"), "Security Audit Log", type_code="2", role="13")
    if event.code == AuditCode.SECURITY_ALERT:
        alert = _object(root, LOG, ("12", "RFC-3881", "URI"), _text(event.action), type_code="2", role="13")
        _detail(alert, "Alert Description", action.words)
    # What lets a repository see a gap, and check what it was sent against the chain.
    chained = _object(root, str(event.id), ("event", OURS, "Number in the audit's chain"), "Audit event", "2", "13")
    _detail(chained, "SHA-256", event.hash)
    for key, value in event.detail.items():
        _detail(chained, key, value if isinstance(value, str) else json.dumps(value))


def _object(
    root: Element, identifier: str, kind: tuple[str, str, str], name: str, type_code: str, role: str
) -> Element:
    made = SubElement(
        root,
        "ParticipantObjectIdentification",
        {
            "ParticipantObjectID": _text(identifier),
            "ParticipantObjectTypeCode": type_code,
            "ParticipantObjectTypeCodeRole": role,
        },
    )
    _code(made, "ParticipantObjectIDTypeCode", *kind)
    SubElement(made, "ParticipantObjectName").text = name
    return made


def _detail(parent: Element, kind: str, value: str) -> None:
    encoded = base64.b64encode(value.encode()).decode()
    SubElement(parent, "ParticipantObjectDetail", {"type": _text(kind), "value": encoded})


def _code(parent: Element, name: str, value: str, scheme: str, meaning: str) -> None:
    SubElement(
        parent,
        name,
        {"csd-code": value, "codeSystemName": scheme, "displayName": meaning, "originalText": meaning},
    )


def _text(words: str) -> str:
    """``words`` as a token of XML: what XML cannot hold is replaced, and nothing is empty."""
    return "".join(c if c.isprintable() and c not in "\ufffe\uffff" else "?" for c in words).strip() or "unknown"
