"""A report as FHIR R4: a Bundle of DiagnosticReport, Observations, Devices, Patient and ImagingStudy.

Each resource's id is the UUID inside a UID derived from the content as it was signed, so that sending twice, or with an
addendum later, updates and never doubles.
Every resource is validated with ``fhir.resources`` (R4B, whose versions of these resources R4 systems read).
"""

import base64
import json
import uuid
from typing import Any

from fhir.resources.R4B.bundle import Bundle

from readingroom.findings.codes import code, system
from readingroom.findings.model import Assessment, Code, Measurement
from readingroom.findings.rules import NOT_APPLICABLE, concept_of, gives_category
from readingroom.objects.common import MANUFACTURER
from readingroom.objects.content import ContentFinding, ReaderRun, ReportContent, StudyAssessment
from readingroom.objects.source import plain_text, tidy_header
from readingroom.objects.words import assessment_lines, shown_date, shown_time

Resource = dict[str, Any]
_GENDER = {"F": "female", "M": "male", "O": "other"}
_IMAGING = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "imaging"}]}
_RADIOLOGY = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "RAD"}]}


def encode_fhir(content: ReportContent, pdf: bytes | None = None) -> bytes:
    """Return the Bundle as JSON (UTF-8, keys sorted); ``pdf`` becomes the report's presented form.

    Raises pydantic's ValidationError where the result were not FHIR, which is a fault of this module.
    """
    devices = {(run.reader, run.version): _device(content, run) for run in content.readers}
    observations = [_observation(content, item) for item in content.findings]
    observations += [found for one in content.assessments if (found := _assessment(content, one))]
    report = _report(content, observations, list(devices.values()), pdf)
    resources = [report, _patient(content), _imaging_study(content), *devices.values(), *observations]
    bundle = {
        "resourceType": "Bundle",
        "id": _uuid(content.uid("fhir", "bundle")),
        "type": "collection",
        "timestamp": content.written_at.isoformat(),
        "entry": [{"fullUrl": f"urn:uuid:{resource['id']}", "resource": resource} for resource in resources],
    }
    Bundle.model_validate(bundle)
    return json.dumps(bundle, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def _id(content: ReportContent, *role: str) -> str:
    return _uuid(content.first.uid("fhir", *role))


def _uuid(uid: str) -> str:
    return str(uuid.UUID(int=int(uid.removeprefix("2.25."))))


def _reference(content: ReportContent, *role: str) -> dict[str, str]:
    return {"reference": f"urn:uuid:{_id(content, *role)}"}


def _report(
    content: ReportContent, observations: list[Resource], devices: list[Resource], pdf: bytes | None
) -> Resource:
    report: Resource = {
        "resourceType": "DiagnosticReport",
        "id": _id(content, "report"),
        # The SR it began as names the report for ever; the one with its addenda is named beside it.
        "identifier": [_uid_identifier(uid) for uid in dict.fromkeys((content.first.uid("sr"), content.uid("sr")))],
        "status": ("appended" if content.addenda else "final") if content.verified else "preliminary",
        "category": [_RADIOLOGY],
        "code": _concept(code("imaging-report")),
        "subject": _reference(content, "patient"),
        "effectiveDateTime": _study_moment(content),
        "issued": content.written_at.isoformat(),
        "imagingStudy": [_reference(content, "study")],
        "result": [{"reference": f"urn:uuid:{one['id']}"} for one in observations],
    }
    if content.verifier:
        names = dict.fromkeys((content.verifier.name, *(one.author for one in content.addenda)))
        report["resultsInterpreter"] = report["performer"] = [{"display": name} for name in names]
    else:
        report["performer"] = [{"display": device["deviceName"][0]["name"]} for device in devices]
    report["conclusion"] = _conclusion(content)
    if pdf is not None:
        report["presentedForm"] = [
            {"contentType": "application/pdf", "data": base64.b64encode(pdf).decode("ascii"), "title": content.title}
        ]
    return _without_empty(report)


def _conclusion(content: ReportContent) -> str:
    parts = [content.research_notice]
    if content.simulated:
        parts.append("Simulated images.")
    if content.partial:
        parts.append(f"Partial study: {content.partial}")
    impression = content.sections.impression.strip() or content.sections.findings.strip()
    if not content.findings and not impression:
        impression = "No findings accepted."
    added = [
        f"Addendum {one.number} ({one.author}, {shown_time(one.at, content.zone)}): {one.text}"
        for one in content.addenda
    ]
    return "\n".join([*parts, impression, *added]).strip()


def _patient(content: ReportContent) -> Resource:
    header = tidy_header(content.header)
    identifier: Resource = {"value": header.PatientID}
    if header.IssuerOfPatientID:
        identifier["assigner"] = {"display": header.IssuerOfPatientID}
    groups = [group for group in header.PatientName.split("=") if group.strip("^ ")]
    patient = {
        "resourceType": "Patient",
        "id": _id(content, "patient"),
        "identifier": [identifier] if header.PatientID else [],
        "name": [_name(group) for group in groups],
        "birthDate": shown_date(header.PatientBirthDate),
        "gender": _GENDER.get(header.PatientSex, "unknown"),
    }
    return _without_empty(patient)


def _name(group: str) -> Resource:
    family, given, middle, prefix, suffix = ([part.strip() for part in group.split("^")] + [""] * 5)[:5]
    name = {
        "family": family,
        "given": [part for part in (given, middle) if part],
        "prefix": [prefix] if prefix else [],
        "suffix": [suffix] if suffix else [],
    }
    return _without_empty(name)


def _imaging_study(content: ReportContent) -> Resource:
    header = tidy_header(content.header)
    series = []
    for uid in dict.fromkeys(str(ds.get("SeriesInstanceUID", "")) for ds in content.sources):
        images = [ds for ds in content.sources if ds.get("SeriesInstanceUID") == uid]
        modality = {"system": system("DCM"), "code": str(images[0].Modality)}
        series.append({"uid": uid, "modality": modality, "numberOfInstances": len(images)})
    identifiers = [_uid_identifier(header.StudyInstanceUID)]
    if header.AccessionNumber:
        accession = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN"}]}
        identifiers.append({"type": accession, "value": header.AccessionNumber})
    study = {
        "resourceType": "ImagingStudy",
        "id": _id(content, "study"),
        "identifier": identifiers,
        "status": "available",
        "subject": _reference(content, "patient"),
        "started": _study_moment(content),
        "description": header.StudyDescription,
        "numberOfSeries": len(series),
        "numberOfInstances": len(content.sources),
        "series": series,
    }
    return _without_empty(study)


def _device(content: ReportContent, run: ReaderRun) -> Resource:
    properties = []
    for text in run.parameters():
        name, value = text.split("=", 1)
        properties.append({"type": {"text": name}, "valueCode": [{"text": value}]})
    device = {
        "resourceType": "Device",
        "id": _id(content, "device", run.reader, run.version),
        "status": "active",
        "manufacturer": MANUFACTURER,
        "deviceName": [{"name": run.name, "type": "model-name"}],
        "type": _concept(run.family),
        "version": [{"value": run.version}],
        "property": properties,
        "note": [{"text": f"State on this study: {run.state.value}. {run.reason}".strip()}],
    }
    return _without_empty(device)


def _observation(content: ReportContent, item: ContentFinding) -> Resource:
    finding = item.finding
    components = [_component(one) for one in finding.measurements]
    if finding.probability is not None:
        percent = Measurement(code=code("certainty"), value=round(100 * finding.probability, 4), unit=code("percent"))
        components.append(_component(percent))
    if finding.side and finding.side.value:
        components.append(
            {"code": _concept(code("laterality")), "valueCodeableConcept": _concept(code(finding.side.value))}
        )
    components += [
        {"code": _concept(one.concept), "valueCodeableConcept": _concept(one.value)} for one in finding.characteristics
    ]
    components += [
        {"code": _concept(name), "valueCodeableConcept": _concept(one.category)}
        for one in finding.assessments
        if (name := concept_of(one)) is not None and gives_category(one)
    ]
    tracking = content.tracking_uid(finding)
    remarks = (f"Decision: {item.decision}.", item.text, finding.comment)
    observation = {
        "resourceType": "Observation",
        "id": _id(content, "observation", tracking, finding.id),
        "identifier": [_uid_identifier(tracking)],
        "status": "preliminary" if item.decision == "unread" else "final",
        "category": [_IMAGING],
        "code": _concept(code("finding")),
        "subject": _reference(content, "patient"),
        "effectiveDateTime": _study_moment(content),
        "issued": (item.at or content.at).isoformat(),
        "valueCodeableConcept": _concept(finding.code),
        "bodySite": _concept(finding.site) if finding.site else None,
        "device": _reference(content, "device", item.reader.reader, item.reader.version) if item.reader else None,
        "performer": [{"display": item.by}] if item.by else [],
        "derivedFrom": [_reference(content, "study")],
        "component": components,
        "note": [{"text": plain_text(text)} for text in remarks if text],
    }
    return _without_empty(observation)


def _assessment(content: ReportContent, one: StudyAssessment) -> Resource | None:
    """Return what a published table says of the study; None where nothing supports it, or it is no table of ours."""
    stated = one.stated
    name = concept_of(stated) if stated is not None else None
    if stated is None or name is None:
        return None
    findings = [item.finding for item in content.findings]
    leading = next((finding for finding in findings if finding.id == one.dominant), None)
    from_finding = (
        [_reference(content, "observation", content.tracking_uid(leading), leading.id)] if leading is not None else []
    )
    placed = gives_category(stated)
    observation = {
        "resourceType": "Observation",
        "id": _id(content, "assessment", one.table, one.edition),
        "status": "final" if content.verified else "preliminary",
        "category": [_IMAGING],
        "code": _concept(name),
        "subject": _reference(content, "patient"),
        "effectiveDateTime": _study_moment(content),
        "issued": content.at.isoformat(),
        "valueCodeableConcept": _concept(stated.category) if placed else None,
        "dataAbsentReason": None if placed else _absent(stated),
        "method": {"text": f"{one.table} {one.edition}, rule {stated.rule}"},
        "performer": [{"display": content.verifier.name}] if content.verifier else [],
        "derivedFrom": [_reference(content, "study"), *from_finding],
        "note": [{"text": plain_text(text)} for text in assessment_lines(one, findings)],
    }
    return _without_empty(observation)


def _absent(stated: Assessment) -> Resource:
    absent = "not-applicable" if stated.category == NOT_APPLICABLE else "unknown"
    return {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/data-absent-reason", "code": absent}]}


def _component(one: Measurement) -> Resource:
    quantity = {"value": float(f"{one.value:.9g}"), "unit": one.unit.meaning, "code": one.unit.value}
    if found := system(one.unit.scheme):
        quantity["system"] = found
    return {"code": _concept(one.code), "valueQuantity": quantity}


def _concept(coded: Code) -> Resource:
    coding = {"code": coded.value, "display": coded.meaning}
    if found := system(coded.scheme):
        coding["system"] = found
    return {"coding": [coding], "text": coded.meaning}


def _uid_identifier(uid: str) -> Resource:
    return {"system": "urn:dicom:uid", "value": f"urn:oid:{uid}"}


def _study_moment(content: ReportContent) -> str:
    # The date alone: a DICOM study time does not say its zone, and FHIR would have us invent one.
    return shown_date(tidy_header(content.header).StudyDate)


def _without_empty(resource: Resource) -> Resource:
    # FHIR forbids empty strings, lists and nulls, and control characters.
    plain = {name: plain_text(value) if isinstance(value, str) else value for name, value in resource.items()}
    return {name: value for name, value in plain.items() if value not in (None, "", [], {})}
