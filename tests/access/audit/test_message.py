"""Audit messages: as the schema and the tables of PS3.15 A.5 want them, whatever the event; no name in any."""

import base64
from datetime import UTC, datetime
from typing import Any
from xml.etree.ElementTree import Element, fromstring

import pytest
from audit_schema import problems

from readingroom.access.audit.actions import CODES, actions
from readingroom.access.audit.message import Subject, Us, audit_message
from readingroom.core.audit import AuditCode, AuditEvent

US = Us("READINGROOM", "node1.hospital.example")
SUBJECT = Subject("1.2.840.113619.2.55", "MRN-7", "HOSP", 7)
AT = datetime(2026, 11, 25, 1, 2, 3, 456789, tzinfo=UTC)


def event(action: str, **changes: Any) -> AuditEvent:
    values = {
        "id": 41, "at": AT, "code": actions()[action].code.value, "action": action, "outcome": "success",
        "actor": "alice", "host": "192.0.2.7", "study_id": "a" * 32, "patient_id": None,
        "detail": {"instances": 3}, "hash": "f" * 64, **changes,
    }  # fmt: skip
    return AuditEvent(**values)


def message(action: str, **changes: Any) -> Element:
    return fromstring(audit_message(event(action, **changes), SUBJECT, US))


def participants(root: Element) -> list[tuple[str, str, str]]:
    """User, whether requestor, role code of each."""
    found = []
    for one in root.findall("ActiveParticipant"):
        role = one.find("RoleIDCode")
        found.append(
            (
                one.get("UserID", ""),
                one.get("UserIsRequestor", ""),
                role.get("csd-code", "") if role is not None else "",
            )
        )
    return found


def objects(root: Element) -> dict[str, str]:
    """Code of the kind of identifier -> identifier."""
    return {
        one.find("ParticipantObjectIDTypeCode").get("csd-code"): one.get("ParticipantObjectID")  # type: ignore[union-attr, misc]
        for one in root.findall("ParticipantObjectIdentification")
    }


@pytest.mark.parametrize("action", list(actions()))
@pytest.mark.parametrize("bare", [False, True])
def test_every_action_is_a_message_as_the_schema_has_it(action: str, bare: bool) -> None:
    changes = {"study_id": None, "host": "", "detail": {}, "outcome": "refused"} if bare else {}
    root = message(action, **changes)
    assert problems(root) == []
    written = audit_message(event(action, **changes), SUBJECT, US)
    assert not any(byte < 32 for byte in written), "syslog receivers escape control characters"
    identified = root.find("EventIdentification/EventID")
    assert identified is not None
    assert identified.get("csd-code") == actions()[action].code
    assert identified.get("originalText") == CODES[actions()[action].code]


def test_the_schema_sees_what_is_wrong() -> None:
    root = message("study-opened")
    root.find("EventIdentification").set("EventActionCode", "X")  # type: ignore[union-attr]
    root.find("ActiveParticipant").attrib.pop("UserIsRequestor")  # type: ignore[union-attr]
    root.append(root.find("AuditSourceIdentification"))  # type: ignore[arg-type]
    root.find("EventIdentification").append(Element("Extra"))  # type: ignore[union-attr]
    assert len(problems(root)) == 5


def test_an_access_names_study_patient_and_who() -> None:
    root = message("study-opened")
    assert participants(root) == [("alice", "true", "")]
    point = root.find("ActiveParticipant")
    assert point is not None
    assert (point.get("NetworkAccessPointID"), point.get("NetworkAccessPointTypeCode")) == ("192.0.2.7", "2")
    assert objects(root) == {"110180": "1.2.840.113619.2.55", "2": "MRN-7^^^HOSP", "event": "41"}
    head = root.find("EventIdentification")
    assert head is not None
    assert (head.get("EventDateTime"), head.get("EventOutcomeIndicator")) == ("2026-11-25T01:02:03.456789Z", "0")
    counted = root.find(".//SOPClass")
    assert counted is not None
    assert counted.get("NumberOfInstances") == "3"


def test_transfers_have_a_source_and_a_destination() -> None:
    assert participants(message("C-STORE", actor="CT1")) == [
        ("CT1", "true", "110153"),
        ("READINGROOM", "false", "110152"),
    ]
    assert participants(message("deliver", actor="pacs")) == [
        ("pacs", "false", "110152"),
        ("READINGROOM", "true", "110153"),
    ]


def test_media_sign_in_and_processes() -> None:
    assert participants(message("report-pdf")) == [("alice", "true", "110153"), ("192.0.2.7", "false", "110154")]
    assert participants(message("import", host="")) == [
        ("alice", "true", "110152"),
        ("node1.hospital.example", "false", "110155"),
    ]
    assert participants(message("process-started", actor="web@node1")) == [("web@node1", "false", "110150")]
    signed_in = message("sign-in-web", host="").find("ActiveParticipant")
    assert signed_in is not None
    assert signed_in.get("NetworkAccessPointID") == "node1.hospital.example", "the standard wants a place"
    log = objects(message("audit-fhir", study_id=None))
    assert log["12"].startswith("urn:")


def test_what_xml_cannot_hold_harms_nothing() -> None:
    root = message("A-ASSOCIATE", actor="A<&\x01\ud7ff\ufffe", host="not an address", detail={"reason": "\x02]]>"})
    assert problems(root) == []
    details = {d.get("type"): d.get("value") for d in root.iter("ParticipantObjectDetail")}
    assert base64.b64decode(details["reason"] or "") == b"\x02]]>"
    assert base64.b64decode(details["SHA-256"] or "") == b"f" * 64
    assert problems(message("study-opened", actor="")) == []


def test_an_unknown_action_is_told_as_it_is() -> None:
    new = event("study-opened")
    new.action, new.code = "new-deed", AuditCode.PATIENT_RECORD.value
    root = fromstring(audit_message(new, SUBJECT, US))
    assert problems(root) == []
    assert [c.get("csd-code") for c in root.findall("EventIdentification/EventTypeCode")] == ["new-deed"]


def test_a_study_that_is_gone_is_named_by_our_key() -> None:
    root = fromstring(audit_message(event("study-opened"), Subject(), US))
    assert problems(root) == []
    assert objects(root) == {"study": "a" * 32, "event": "41"}
