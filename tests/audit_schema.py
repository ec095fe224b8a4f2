"""The schema of audit messages (PS3.15 A.5.1.1, edition 2026a) as a table, and a check of a message against it.

Written from the standard's RELAX NG schema: for each element its attributes (a pattern each; optional ones with ``?``)
and its children in their order, with how often each may come (``?``, ``*``, ``+``, or once).
"""

import re
from xml.etree.ElementTree import Element

TOKEN, TEXT, BASE64 = r"\S(.*\S)?", r".*", r"[A-Za-z0-9+/]*={0,2}"
CODED = {"csd-code": TOKEN, "codeSystemName": TOKEN, "displayName?": TOKEN, "originalText": TOKEN}
BOOLEAN = "true|false|1|0"
MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?"

SCHEMA: dict[str, tuple[dict[str, str], list[str], str]] = {
    # element: (attributes, children, text)
    "AuditMessage": (
        {},
        [
            "EventIdentification",
            "ActiveParticipant+",
            "AuditSourceIdentification",
            "ParticipantObjectIdentification*",
        ],
        "",
    ),
    "EventIdentification": (
        {"EventActionCode?": "[CRUDE]", "EventDateTime": MOMENT, "EventOutcomeIndicator": "0|4|8|12"},
        ["EventID", "EventTypeCode*", "EventOutcomeDescription?"],
        "",
    ),
    "EventID": (CODED, [], ""),
    "EventTypeCode": (CODED, [], ""),
    "EventOutcomeDescription": ({}, [], TEXT),
    "ActiveParticipant": (
        {
            "UserID": TEXT,
            "AlternativeUserID?": TEXT,
            "UserName?": TEXT,
            "UserIsRequestor": BOOLEAN,
            "NetworkAccessPointID?": TOKEN,
            "NetworkAccessPointTypeCode?": "[1-5]",
        },
        ["RoleIDCode*", "MediaIdentifier?"],
        "",
    ),
    "RoleIDCode": (CODED, [], ""),
    "MediaIdentifier": ({}, ["MediaType"], ""),
    "MediaType": (CODED, [], ""),
    "AuditSourceIdentification": (
        {"AuditEnterpriseSiteID?": TOKEN, "AuditSourceID": TOKEN},
        ["AuditSourceTypeCode*"],
        "",
    ),
    "AuditSourceTypeCode": (
        {"csd-code": TOKEN, "codeSystemName?": TOKEN, "displayName?": TOKEN, "originalText?": TOKEN},
        [],
        "",
    ),
    "ParticipantObjectIdentification": (
        {
            "ParticipantObjectID": TOKEN,
            "ParticipantObjectTypeCode?": "[1-4]",
            "ParticipantObjectTypeCodeRole?": r"[1-9]|1\d|2[0-6]",
            "ParticipantObjectDataLifeCycle?": r"[1-9]|1[0-5]",
            "ParticipantObjectSensitivity?": TOKEN,
        },
        [
            "ParticipantObjectIDTypeCode",
            "ParticipantObjectName|ParticipantObjectQuery",
            "ParticipantObjectDetail*",
            "ParticipantObjectDescription*",
        ],
        "",
    ),
    "ParticipantObjectIDTypeCode": (CODED, [], ""),
    "ParticipantObjectName": ({}, [], TOKEN),
    "ParticipantObjectQuery": ({}, [], BASE64),
    "ParticipantObjectDetail": ({"type": TOKEN, "value": BASE64}, [], ""),
    "ParticipantObjectDescription": (
        {},
        ["MPPS*", "Accession*", "SOPClass*", "ParticipantObjectContainsStudy?", "Encrypted?", "Anonymized?"],
        "",
    ),
    "SOPClass": ({"UID?": r"[0-9.]+", "NumberOfInstances": r"\d+"}, ["Instance*"], ""),
}


def problems(element: Element, where: str = "") -> list[str]:
    """Return everything in which a message is not as the schema has it."""
    here = f"{where}/{element.tag}"
    if element.tag not in SCHEMA:
        return [f"{here} is unknown"]
    attributes, children, text = SCHEMA[element.tag]
    found = []
    for name, value in element.attrib.items():
        pattern = attributes.get(name) or attributes.get(f"{name}?")
        if pattern is None:
            found.append(f"{here}@{name} is unknown")
        elif not re.fullmatch(pattern, value, re.DOTALL):
            found.append(f"{here}@{name} is {value!r}")
    found += [
        f"{here}@{name} is missing" for name in attributes if not name.endswith("?") and name not in element.attrib
    ]
    if not re.fullmatch(text, element.text or "", re.DOTALL):
        found.append(f"{here} holds {element.text!r}")
    order = "".join(f"(({part.rstrip('?*+')}) ){part[-1] if part[-1] in '?*+' else ''}" for part in children)
    if not re.fullmatch(order, "".join(f"{child.tag} " for child in element)):
        found.append(f"{here} has {[child.tag for child in element]}")
    return found + [problem for child in element for problem in problems(child, here)]
