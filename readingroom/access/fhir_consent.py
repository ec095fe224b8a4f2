"""Consent as FHIR: read from R5 or R4B (``fhir.resources`` validates both), written as R5.

A consent is taken only where it can be held to the letter. What it allows or denies must be told by purposes of the
table below and by a period; anything that narrows it further (an actor, a class of data, a grantee) is refused with the
place in the resource, because holding half of a consent would be worse than asking for it again.

In R5 ``decision`` is the default and each provision an exception from it: ``deny`` with a provision for ``HRESCH``
allows research. In R4B a provision says by its own ``type`` what it does. Purposes that are not named stay as they are.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from readingroom.access.consent import Kind, Statement
from readingroom.access.tables import ConsentRow
from readingroom.core.errors import BadInput
from readingroom.core.purposes import Purpose, legal_bases

Version = Literal["5.0", "4.3"]
Resource = dict[str, Any]

ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
PURPOSE_OF_CODE = {
    "TREAT": Purpose.CARE,
    "TREATDS": Purpose.CARE,
    "HRESCH": Purpose.RESEARCH,
    "CLINTRCH": Purpose.RESEARCH,
    "MLTRAINING": Purpose.TRAINING,
    "TRAIN": Purpose.TEACHING,
}
"""Codes of v3-ActReason that are taken. TREATDS is treatment by decision support; TRAIN is the training of people. Here
is one purpose for research, so that a consent to clinical trials counts as one to research."""
CODE_OF_PURPOSE = {purpose: code for code, purpose in reversed(PURPOSE_OF_CODE.items())}

_NARROWER = (
    "modifierExtension", "actor", "action", "securityLabel", "documentType", "resourceType", "class_fhir", "type",
    "code", "dataPeriod", "data", "expression",
)  # fmt: skip
_OVER = frozenset({"inactive", "entered-in-error"})
_OPPOSITE = {"permit": "deny", "deny": "permit"}
_PARTIAL = re.compile(r"([0-9]{4})(?:-([0-9]{2}))?")


@dataclass(frozen=True)
class Problem:
    """Why a consent is not taken, and where in it. ``text`` is ours: it repeats nothing of what was sent."""

    where: str
    code: str
    text: str


class Unmappable(BadInput):
    """A consent that is no valid FHIR, or says more than can be held to."""

    code = "consent-not-taken"

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(f"{p.where}: {p.text}" for p in problems), "Send it again without that.")
        self.problems = problems


@dataclass(frozen=True)
class PatientIdentifier:
    """Whose consent it is: in DICOM's words, as the archive knows people."""

    PatientID: str
    IssuerOfPatientID: str = ""


@dataclass(frozen=True)
class Received:
    """A consent as it was sent."""

    patient: PatientIdentifier
    statements: tuple[Statement, ...]


def read_consent(body: bytes, version: Version, zone: ZoneInfo, now: datetime) -> Received:
    """Return what a FHIR Consent says. Raises Unmappable. Times without a zone are the site's (``zone``)."""
    # 17 MB that a house nobody speaks FHIR with need not hold; below and in ``web`` as well.
    from fhir.resources.consent import Consent
    from fhir.resources.R4B.consent import Consent as ConsentR4B

    try:
        resource: Any = (Consent if version == "5.0" else ConsentR4B).model_validate_json(body)
    except ValidationError as error:
        raise Unmappable(*(_invalid(one) for one in error.errors()[:10])) from None
    _refuse(resource, ("modifierExtension", "implicitRules", "grantee"), "")
    _check_status(resource.status)
    patient = _patient(resource.subject if version == "5.0" else resource.patient, version)
    decided = resource.date if version == "5.0" else resource.dateTime
    reference = next((one.value for one in resource.identifier or () if one.value), "")
    said = _provisions(resource) if version == "5.0" else _provisions_r4b(resource)
    statements = []
    for where, permits, provision in said:
        period = provision.period or getattr(resource, "period", None)
        starts = _moment(period.start if period and period.start else decided, zone, now)
        kind = _kind(permits, resource.status, where)
        statements.append(
            Statement(
                kind=kind,
                purposes=_purposes(provision, where),
                basis="consent",
                reference=(reference or "FHIR Consent")[:200],
                source="fhir",
                starts_at=starts,
                ends_at=_end(period.end, zone) if period and period.end and kind is Kind.GIVEN else None,
            )
        )
    _check_whole(statements)
    return Received(patient, tuple(statements))


def write_consent(rows: Sequence[ConsentRow], patient: PatientIdentifier, holds: bool) -> Resource:
    """Return one act as an R5 Consent. ``holds``: it is what counts now, for one of its purposes at least."""
    from fhir.resources.consent import Consent

    rows = [row for row in rows if row.kind != Kind.EXPIRED]
    first = rows[0]
    given = first.kind == Kind.GIVEN
    identifier = {"value": patient.PatientID}
    if patient.IssuerOfPatientID:
        identifier["system"] = patient.IssuerOfPatientID
    periods: dict[tuple[datetime, datetime | None], list[ConsentRow]] = {}
    for row in rows:
        periods.setdefault((row.starts_at, row.ends_at), []).append(row)
    words = "; ".join(f"{row.purpose}: {row.kind}" for row in rows)
    resource: Resource = {
        "resourceType": "Consent",
        "id": first.act,
        "meta": {"lastUpdated": first.recorded_at.isoformat()},
        "text": {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{words}</div>'},
        "status": "active" if holds else "inactive",
        "subject": {"identifier": identifier},
        "date": first.starts_at.date().isoformat(),
        "decision": "deny" if given else "permit",
        "provision": [_provision(*period, of_period) for period, of_period in periods.items()],
    }
    if first.reference:
        resource["identifier"] = [{"value": first.reference}]
    if given:
        resource["regulatoryBasis"] = [{"text": legal_bases()[first.basis].title}]
    Consent.model_validate(resource)
    return resource


def _provision(starts_at: datetime, ends_at: datetime | None, rows: Sequence[ConsentRow]) -> Resource:
    period = {"start": starts_at.isoformat()}
    if ends_at is not None:
        period["end"] = ends_at.isoformat()
    purposes = [{"system": ACT_REASON, "code": CODE_OF_PURPOSE[Purpose(row.purpose)]} for row in rows]
    return {"period": period, "purpose": purposes}


def _invalid(error: Any) -> Problem:
    where = ".".join(str(part) for part in error["loc"] if part != "root")
    return Problem(f"Consent.{where}", "structure", f"This is not FHIR ({error['type']}).")


def _refuse(element: Any, names: Sequence[str], where: str) -> None:
    found = [name for name in names if getattr(element, name, None)]
    if found:
        raise Unmappable(
            *(
                Problem(
                    f"Consent{where}.{name.removesuffix('_fhir')}", "not-supported",
                    "This narrows the consent in a way that cannot be held to here.",
                )
                for name in found
            )
        )  # fmt: skip


def _check_status(status: str | None) -> None:
    if status != "active" and status not in _OVER:
        raise Unmappable(Problem("Consent.status", "not-supported", "Only an active or ended consent is taken."))


def _kind(permits: bool, status: str, where: str) -> Kind:
    if status not in _OVER:
        return Kind.GIVEN if permits else Kind.REFUSED
    if permits:
        return Kind.WITHDRAWN
    text = "A refusal that has ended does not say what holds instead."
    raise Unmappable(Problem(f"Consent{where}", "not-supported", text))


def _patient(reference: Any, version: Version) -> PatientIdentifier:
    where = "Consent.subject" if version == "5.0" else "Consent.patient"
    identifier = reference.identifier if reference is not None else None
    if identifier is None or not identifier.value:
        text = "The patient is named by an identifier: value is the PatientID, system its issuer."
        raise Unmappable(Problem(f"{where}.identifier", "required", text))
    if len(identifier.value) > 64 or len(identifier.system or "") > 128:
        raise Unmappable(Problem(f"{where}.identifier", "value", "DICOM has 64 characters, and 128 for the issuer."))
    return PatientIdentifier(identifier.value.strip(), (identifier.system or "").strip())


def _check_whole(statements: Sequence[Statement]) -> None:
    if not statements:
        raise Unmappable(Problem("Consent.provision", "required", "It names no purpose."))
    if len({statement.kind for statement in statements}) > 1:
        text = "One that allows some purposes and denies others comes as two."
        raise Unmappable(Problem("Consent.provision", "not-supported", text))
    named = [purpose for statement in statements for purpose in statement.purposes]
    if len(named) > len(set(named)):
        raise Unmappable(Problem("Consent.provision", "not-supported", "It speaks of one purpose twice."))


def _provisions(resource: Any) -> Iterator[tuple[str, bool, Any]]:
    """Yield place, whether it permits, and the provision: an exception from the default."""
    if resource.decision not in _OPPOSITE:
        raise Unmappable(Problem("Consent.decision", "required", "It is deny or permit; provisions are exceptions."))
    for n, provision in enumerate(resource.provision or ()):
        where = f".provision[{n}]"
        _refuse(provision, (*_NARROWER, "provision"), where)
        yield where, _OPPOSITE[resource.decision] == "permit", provision


def _provisions_r4b(resource: Any) -> Iterator[tuple[str, bool, Any]]:
    root = resource.provision
    if root is None:
        return
    # In R4B ``type`` is permit or deny; in R5 it is another thing, and narrows.
    narrower = tuple(name for name in _NARROWER if name != "type")
    for where, provision in (
        (".provision", root),
        *((f".provision.provision[{n}]", one) for n, one in enumerate(root.provision or ())),
    ):
        _refuse(provision, narrower if provision is root else (*narrower, "provision"), where)
        if not provision.purpose and provision is root:
            continue
        if provision.type not in _OPPOSITE:
            raise Unmappable(Problem(f"Consent{where}.type", "required", "It is deny or permit."))
        yield where, provision.type == "permit", provision


def _purposes(provision: Any, where: str) -> tuple[Purpose, ...]:
    found = []
    for n, coding in enumerate(provision.purpose or ()):
        purpose = PURPOSE_OF_CODE.get(coding.code or "") if coding.system == ACT_REASON else None
        if purpose is None:
            text = f"Taken are {', '.join(PURPOSE_OF_CODE)} of v3-ActReason."
            raise Unmappable(Problem(f"Consent{where}.purpose[{n}]", "code-invalid", text))
        found.append(purpose)
    if not found:
        raise Unmappable(Problem(f"Consent{where}.purpose", "required", "A provision names its purposes."))
    return tuple(dict.fromkeys(found))


def _moment(value: date | datetime | str | None, zone: ZoneInfo, now: datetime) -> datetime | None:
    """Return when something began. A day has no hour: today means now, or what was said this morning went before it."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=zone)
    day = value if isinstance(value, date) else _first_day(value)
    return None if day == now.astimezone(zone).date() else datetime.combine(day, time(), zone)


def _end(value: date | datetime | str, zone: ZoneInfo) -> datetime:
    """Return the first moment after a period: FHIR's last day, month or year belongs to it."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=zone)
    if isinstance(value, date):
        return datetime.combine(value + timedelta(days=1), time(), zone)
    first = _first_day(value)
    longer = first.replace(year=first.year + 1) if len(value) == 4 else (first + timedelta(days=32)).replace(day=1)
    return datetime.combine(longer, time(), zone)


def _first_day(text: str) -> date:
    match = _PARTIAL.fullmatch(text)
    if match is None:
        raise Unmappable(Problem("Consent", "value", "A date in it cannot be read."))
    return date(int(match[1]), int(match[2] or 1), 1)
