"""Consent over HTTP: by hand on a study's page, and as FHIR from another system; who may, and what is never told."""

import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from fhir.resources.bundle import Bundle
from fhir.resources.consent import Consent
from fhir.resources.operationoutcome import OperationOutcome
from sqlalchemy import select
from support import ct_series
from web_support import Site

from readingroom.access.consent import Kind, Statement, decide, permitted, says_no
from readingroom.access.fhir_consent import ACT_REASON
from readingroom.access.projects import find_project
from readingroom.access.tables import ConsentRow
from readingroom.access.uses import Made, used
from readingroom.archive.receive import Archive
from readingroom.archive.store import LocalStore
from readingroom.archive.tables import Patient, Study
from readingroom.core.audit import AuditEvent
from readingroom.core.outbox import OutboxRow
from readingroom.core.permissions import Role
from readingroom.core.purposes import Purpose

SYSTEM = "urn:oid:1.2.3"
FHIR = {"Content-Type": "application/fhir+json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def receive(site: Site, **header: str) -> str:
    """A study has come; returns its id."""
    archive = Archive(site.settings, site.database, LocalStore(site.settings.store_folder))
    (ds,) = ct_series(1, **header)
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    received = archive.put_file(buffer.getvalue(), source="test")
    assert received.study_id is not None
    return received.study_id


@pytest.fixture
def study_id(site: Site) -> str:
    return receive(site, patient_id="ZEBRA-1", IssuerOfPatientID=SYSTEM)


@pytest.fixture
def radiologist(site: Site) -> TestClient:
    return site.signed_in(Role.RADIOLOGIST)


@pytest.fixture
def service(site: Site) -> TestClient:
    return site.signed_in(Role.SERVICE)


def patient_of(site: Site, study_id: str) -> int:
    with site.database.read() as session:
        return session.get_one(Study, study_id).patient_pk


def on(view: dict[str, Any], purpose: str) -> dict[str, Any]:
    return next(one for one in view["purposes"] if one["purpose"] == purpose)


def consent(*codes: str, value: str = "ZEBRA-1", **changes: Any) -> str:
    resource = {
        "resourceType": "Consent", "identifier": [{"value": "F-1"}], "status": "active", "decision": "deny",
        "subject": {"identifier": {"system": SYSTEM, "value": value}},
        "provision": [{"purpose": [{"system": ACT_REASON, "code": code} for code in codes]}],
    }  # fmt: skip
    return json.dumps(resource | changes)


def test_by_hand_given_shown_and_withdrawn(site: Site, radiologist: TestClient, study_id: str) -> None:
    path = f"/api/v1/studies/{study_id}/consent"
    view = radiologist.get(path).json()
    assert [(one["purpose"], one["allowed"]) for one in view["purposes"]] == [
        ("care", True), ("research", False), ("training", False), ("teaching", False),
    ]  # fmt: skip
    assert {"consent", "ethics-waiver"} <= {basis["code"] for basis in view["bases"]}
    body = {"kind": "given", "purposes": ["research", "training"], "reference": " form 17 ", "until": "2999-01-31"}
    view = radiologist.post(path, json=body).json()
    research = on(view, "research")
    assert (research["allowed"], research["kind"], research["basis"]) == (True, "given", "consent")
    assert research["until"] == "2999-02-01T00:00:00Z"
    (line,) = research["history"]
    assert (line["reference"], line["actor"], line["source"]) == ("form 17", "radiologist", "hand")

    patient_id = patient_of(site, study_id)
    with site.database.write() as session:
        made = Made("learning", "model", "m1")
        used(session, [patient_id], Purpose.RESEARCH, made, defaults=site.settings.purposes, actor="researcher")
    view = radiologist.post(path, json={"kind": "withdrawn", "purposes": ["research"]}).json()
    research = on(view, "research")
    assert (research["allowed"], research["kind"]) == (False, "withdrawn")
    assert [line["kind"] for line in research["history"]] == ["withdrawn", "given"]
    (use,) = research["uses"]
    assert (use["what"], use["ref"], use["actor"], use["removed_at"]) == ("model", "m1", "researcher", None)
    assert on(view, "training")["allowed"]
    with site.database.read() as session:
        row = session.scalars(select(OutboxRow).where(OutboxRow.topic == "consent.withdrawn")).one()
    assert row.payload == {"patient_id": patient_id, "purpose": "research"}


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "given", "purposes": ["research"]},
        {"kind": "given", "purposes": ["research"], "reference": "  "},
        {"kind": "given", "purposes": ["research"], "reference": "x", "basis": "treatment"},
        {"kind": "given", "purposes": ["research"], "reference": "x", "until": "2001-01-01"},
        {"kind": "given", "purposes": ["research"], "reference": "x", "decided_on": "2999-01-01"},
        {"kind": "given", "purposes": ["marketing"], "reference": "x"},
        {"kind": "given", "purposes": [], "reference": "x"},
        {"kind": "expired", "purposes": ["research"]},
        {"kind": "given", "purposes": ["research"], "reference": "x" * 201},
        {"kind": "given", "purposes": ["research"], "reference": "x", "surprise": 1},
    ],
)
def test_what_is_no_decision_is_refused(
    site: Site, radiologist: TestClient, study_id: str, body: dict[str, Any]
) -> None:
    answer = radiologist.post(f"/api/v1/studies/{study_id}/consent", json=body)
    assert answer.status_code in (400, 422)
    with site.database.read() as session:
        assert session.scalars(select(ConsentRow)).all() == []


def test_nothing_is_written_for_a_held_study(site: Site, radiologist: TestClient) -> None:
    first = ct_series(1, patient_id="A")[0]
    study_id = receive(site, patient_id="A", study_uid=first.StudyInstanceUID)
    receive(site, patient_id="B", study_uid=first.StudyInstanceUID)
    body = {"kind": "refused", "purposes": ["care"]}
    assert radiologist.post(f"/api/v1/studies/{study_id}/consent", json=body).status_code == 409


def test_who_may(site: Site, study_id: str) -> None:
    path = f"/api/v1/studies/{study_id}/consent"
    body = {"kind": "refused", "purposes": ["research"]}
    may_read = {Role.RADIOLOGIST, Role.RESIDENT, Role.TECHNOLOGIST}
    may_write = {Role.RADIOLOGIST, Role.TECHNOLOGIST}
    for role in Role:
        client = site.signed_in(role)
        assert (client.get(path).status_code == 200) == (role in may_read), role
        assert (client.post(path, json=body).status_code == 200) == (role in may_write), role
        answer = client.post("/fhir/Consent", content=consent("HRESCH"), headers=FHIR)
        assert answer.status_code == (201 if role is Role.SERVICE else 403), role


def test_fhir_in_and_out(site: Site, service: TestClient, radiologist: TestClient, study_id: str) -> None:
    answer = service.post("/fhir/Consent", content=consent("HRESCH", "TRAIN"), headers=FHIR)
    assert answer.status_code == 201, answer.text
    assert answer.headers["content-type"] == "application/fhir+json; fhirVersion=5.0"
    assert Consent.model_validate_json(answer.content).status == "active"
    location = answer.headers["location"]
    assert "ZEBRA" not in location
    view = radiologist.get(f"/api/v1/studies/{study_id}/consent").json()
    assert [one["purpose"] for one in view["purposes"] if one["allowed"]] == ["care", "research", "teaching"]
    assert on(view, "research")["history"][0]["source"] == "fhir"
    assert service.get(location).json() == answer.json()

    # Taken back: the first one no longer holds.
    service.post("/fhir/Consent", content=consent("HRESCH", "TRAIN", status="inactive"), headers=FHIR)
    found = service.post("/fhir/Consent/_search", content=f"patient:identifier={SYSTEM}|ZEBRA-1", headers=FORM)
    bundle = Bundle.model_validate_json(found.content)
    assert bundle.total == 2
    assert [(e.resource.status, e.resource.decision) for e in bundle.entry] == [
        ("active", "permit"),
        ("inactive", "deny"),
    ]
    assert service.get(location).json()["status"] == "inactive"


def test_a_patient_of_whom_no_image_has_come(site: Site, service: TestClient) -> None:
    """A refusal that comes before the images must hold when they are there."""
    text = consent("TREAT", value="NEW-1", decision="permit")
    assert service.post("/fhir/Consent", content=text, headers=FHIR).status_code == 201
    study_id = receive(site, patient_id="NEW-1", patient_name="Later^Name", IssuerOfPatientID=SYSTEM)
    with site.database.write() as session:
        patient = session.scalars(select(Patient).where(Patient.PatientID == "NEW-1")).one()
        assert patient.id == session.get_one(Study, study_id).patient_pk
        assert patient.PatientName == "Later^Name"
        assert not permitted(session, patient.id, Purpose.CARE, defaults=site.settings.purposes, actor="test").allowed


def test_a_system_may_have_another_name_than_images_give_it(
    site: Site, service: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = site.settings.model_copy(update={"patient_systems": {"https://hospital.example/mrn": ""}})
    monkeypatch.setattr(site.pages.state, "settings", named)
    study_id = receive(site, patient_id="ZEBRA-2")
    subject = {"identifier": {"system": "https://hospital.example/mrn", "value": "ZEBRA-2"}}
    answer = service.post("/fhir/Consent", content=consent("HRESCH", subject=subject), headers=FHIR)
    assert answer.json()["subject"] == subject
    with site.database.read() as session:
        assert session.scalars(select(ConsentRow.patient_id)).one() == session.get_one(Study, study_id).patient_pk


def test_r4b_by_its_media_type(service: TestClient) -> None:
    body = {
        "resourceType": "Consent", "status": "active", "scope": {"text": "research"}, "category": [{"text": "x"}],
        "patient": {"identifier": {"system": SYSTEM, "value": "ZEBRA-1"}},
        "provision": {"type": "permit", "purpose": [{"system": ACT_REASON, "code": "MLTRAINING"}]},
    }  # fmt: skip
    send = lambda version: service.post(  # noqa: E731
        "/fhir/Consent", json=body, headers={"Content-Type": f"application/fhir+json; fhirVersion={version}"}
    )
    assert send("4.3").status_code == send("4.0").status_code == 201
    assert send("5.0").status_code == 422
    assert send("3.0").status_code == 400


def test_errors_speak_fhir_and_repeat_nothing(site: Site, service: TestClient) -> None:
    narrowed = json.loads(consent("HRESCH"))
    narrowed["provision"][0]["actor"] = [{"role": {"text": "x"}}]
    for answer, status in (
        (service.post("/fhir/Consent", content=json.dumps(narrowed), headers=FHIR), 422),
        (service.post("/fhir/Consent", content=consent("HPAYMT"), headers=FHIR), 422),
        (service.post("/fhir/Consent", content=b"ZEBRA-1", headers=FHIR), 422),
        (service.get("/fhir/Consent/0123"), 404),
        (service.get("/fhir/Consent?patient=ZEBRA-1"), 400),
        (service.get("/fhir/Patient"), 404),
        (service.post("/fhir/Consent/_search", content="patient=ZEBRA-1", headers=FORM), 400),
        (service.post("/fhir/Consent/_search", content="patient:identifier=ZEBRA-1", headers=FORM), 400),
        (site.client().post("/fhir/Consent", content=consent("HRESCH"), headers=FHIR), 401),
        (site.signed_in(Role.RADIOLOGIST).post("/fhir/Consent", content=consent("HRESCH"), headers=FHIR), 403),
    ):
        assert answer.status_code == status, answer.text
        assert OperationOutcome.model_validate_json(answer.content).issue
        assert "ZEBRA" not in answer.text
    places = service.post("/fhir/Consent", content=json.dumps(narrowed), headers=FHIR).json()["issue"]
    assert [issue["expression"] for issue in places] == [["Consent.provision[0].actor"]]
    assert service.post("/fhir/Consent", content=b" " * (3 << 20), headers=FHIR).status_code == 413


def test_a_search_that_finds_nobody_is_empty(service: TestClient) -> None:
    answer = service.post("/fhir/Consent/_search", content="patient:identifier=|NOBODY", headers=FORM)
    assert answer.json() == {"resourceType": "Bundle", "type": "searchset", "total": 0}


def test_reading_is_audited_and_no_identifier_is_written_down(
    site: Site, service: TestClient, radiologist: TestClient, study_id: str
) -> None:
    path = f"/api/v1/studies/{study_id}/consent"
    location = service.post("/fhir/Consent", content=consent("HRESCH"), headers=FHIR).headers["location"]
    service.get(location)
    service.post("/fhir/Consent/_search", content=f"subject:identifier={SYSTEM}|ZEBRA-1", headers=FORM)
    for _ in range(3):
        radiologist.get(path)
    with site.database.read() as session:
        events = session.scalars(select(AuditEvent).where(AuditEvent.action.like("consent-%"))).all()
    assert sorted((event.action, event.actor) for event in events) == [
        ("consent-given", "service"), ("consent-read", "radiologist"), ("consent-read", "service"),
        ("consent-read", "service"),
    ]  # fmt: skip
    assert "ZEBRA" not in json.dumps([event.detail for event in events])


def test_an_ended_period_is_shown_as_ended(site: Site, service: TestClient, study_id: str) -> None:
    with site.database.write() as session:
        began = datetime.now(UTC) - timedelta(days=9)
        statement = Statement(
            Kind.GIVEN, (Purpose.RESEARCH,), reference="F-2", starts_at=began, ends_at=began + timedelta(days=1)
        )
        act = decide(session, patient_of(site, study_id), statement, actor="rada", now=began)
    assert service.get(f"/fhir/Consent/{act}").json()["status"] == "inactive"


def test_a_project_of_research_shows_nobody_who_says_no(site: Site, radiologist: TestClient) -> None:
    ours, theirs = receive(site, patient_id="A"), receive(site, patient_id="A")
    with site.database.write() as session:
        trial = find_project(session, "trial")
        session.get_one(Study, theirs).project_id = trial.id
    researcher = site.signed_in(Role.RESEARCHER)

    def seen(client: TestClient) -> list[str]:
        return [item["study_id"] for item in client.get("/api/v1/worklist?status=all").json()["items"]]

    assert seen(researcher) == [theirs]
    assert researcher.get(f"/api/v1/studies/{theirs}").status_code == 200
    body = {"kind": "refused", "purposes": ["research"]}
    assert radiologist.post(f"/api/v1/studies/{ours}/consent", json=body).status_code == 200
    assert seen(researcher) == []
    assert researcher.get(f"/api/v1/studies/{theirs}").status_code == 403
    assert researcher.get(f"/api/v1/studies/{theirs}/consent").status_code == 200
    assert seen(radiologist) == [ours]

    later = str(datetime.now(UTC).date() + timedelta(days=9))
    body = {"kind": "given", "purposes": ["research"], "reference": "F-3", "until": later}
    radiologist.post(f"/api/v1/studies/{ours}/consent", json=body)
    assert seen(researcher) == [theirs]
    with site.database.read() as session:
        in_a_month = datetime.now(UTC) + timedelta(days=30)
        gone = select(Study.id).where(says_no(Study.patient_pk, Purpose.RESEARCH, in_a_month))
        assert set(session.scalars(gone)) == {ours, theirs}
