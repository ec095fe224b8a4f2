"""The audit on the pages and by FHIR: who saw a patient, what somebody did, and that every look at it is an event."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from fhir.resources.bundle import Bundle
from sqlalchemy import select
from support import ct_series
from web_support import Site, make_site

from readingroom.access.audit.chain import check
from readingroom.access.audit.seals import seal_head
from readingroom.access.audit.tables import AuditCursor
from readingroom.archive.receive import Archive
from readingroom.archive.store import LocalStore
from readingroom.archive.tables import Patient
from readingroom.core.audit import AuditCode, AuditEvent, record_alone
from readingroom.core.config import AuditSyslog, Settings
from readingroom.core.database import Database
from readingroom.core.permissions import Permission, Role

SECRETS = ("MRN-1", "MRN-2", "Aster", "Briar")


def receive(site: Site, name: str, identifier: str, number: int = 1) -> tuple[str, str]:
    """Store a small study. Returns our id and its UID."""
    archive = Archive(site.settings, site.database, LocalStore(site.settings.store_folder))
    (ds,) = ct_series(1, patient_name=name, patient_id=identifier, AccessionNumber=f"{identifier}-{number}")
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    received = archive.put_file(buffer.getvalue(), source="import")
    assert received.study_id is not None
    return received.study_id, received.StudyInstanceUID


@pytest.fixture
def studies(site: Site) -> list[tuple[str, str]]:
    """Two studies of one patient and one of another."""
    return [
        receive(site, "Aster^Ada", "MRN-1"),
        receive(site, "Aster^Ada", "MRN-1", 2),
        receive(site, "Briar^Bo", "MRN-2"),
    ]


@pytest.fixture
def auditor(site: Site) -> TestClient:
    return site.signed_in(Role.ADMINISTRATOR)


def events(site: Site, *actions: str) -> list[AuditEvent]:
    with site.database.read() as session:
        return list(session.scalars(select(AuditEvent).where(AuditEvent.action.in_(actions)).order_by(AuditEvent.id)))


def ask(client: TestClient, what: str, **body: Any) -> Any:
    answer = client.post(f"/api/v1/audit/{what}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_who_saw_this_patient_over_all_their_studies(
    site: Site, studies: list[tuple[str, str]], auditor: TestClient
) -> None:
    (first, _), (second, uid), (other, _) = studies
    radiologist, resident = site.signed_in(Role.RADIOLOGIST), site.signed_in(Role.RESIDENT)
    radiologist.get(f"/api/v1/studies/{first}")
    resident.get(f"/dicomweb/studies/{uid}/metadata")
    resident.get(f"/api/v1/studies/{other}")
    found = ask(auditor, "patient", patient_id="MRN-1")
    assert [p["PatientName"] for p in found["patients"]] == ["Aster^Ada"]
    assert {(p["actor"], p["role"], p["times"]) for p in found["people"]} == {
        ("radiologist", "radiologist", 1),
        ("resident", "resident", 1),
    }
    assert [(i["actor"], i["words"], i["study"]["study_id"]) for i in found["items"]] == [
        ("resident", "retrieved images by DICOMweb", second),
        ("radiologist", "opened the study", first),
    ]
    assert {i["host"] for i in found["items"]} == {"testclient"}
    assert ask(auditor, "patient", study_id=second)["items"] == found["items"], "asked from a study it is the same"
    assert {i["actor"] for i in ask(auditor, "patient", study_id=other)["items"]} == {"resident"}
    everything = ask(auditor, "patient", patient_id="MRN-1", everything=True)
    assert everything["total"] >= found["total"]
    assert everything["people"] == found["people"]


def test_consent_of_a_patient_is_among_what_was_done(
    site: Site, studies: list[tuple[str, str]], auditor: TestClient
) -> None:
    with site.database.read() as session:
        key = session.scalars(select(Patient.id).where(Patient.PatientID == "MRN-2")).one()
    record_alone(site.database, AuditCode.PATIENT_RECORD, "consent-given", "resident", patient_id=key)
    assert [i["action"] for i in ask(auditor, "patient", patient_id="MRN-2")["items"]] == ["consent-given"]


def test_what_did_this_person_do(site: Site, studies: list[tuple[str, str]], auditor: TestClient) -> None:
    radiologist = site.signed_in(Role.RADIOLOGIST)
    radiologist.get(f"/api/v1/studies/{studies[0][0]}")
    radiologist.get("/api/v1/worklist")
    found = ask(auditor, "person", actor="radiologist")
    done = [i["action"] for i in found["items"]]
    assert done == ["worklist-shown", "study-opened", "sign-in-web"]
    opened = found["items"][1]["study"]
    assert (opened["patient"]["PatientName"], opened["patient"]["PatientID"]) == ("Aster^Ada", "MRN-1")
    now = datetime.now(UTC)
    day = timedelta(days=1)
    assert ask(auditor, "person", actor="radiologist", since=(now - day).isoformat())["total"] == 3
    assert ask(auditor, "person", actor="radiologist", since=(now + day).isoformat())["total"] == 0
    assert ask(auditor, "person", actor="radiologist", until=(now - day).isoformat())["total"] == 0
    paged = [ask(auditor, "person", actor="radiologist", offset=n, limit=1)["items"][0]["action"] for n in range(3)]
    assert paged == done


def test_asking_is_audited_once_and_says_about_whom(
    site: Site, studies: list[tuple[str, str]], auditor: TestClient
) -> None:
    for offset in (0, 100):
        ask(auditor, "patient", patient_id="MRN-1", offset=offset)
        ask(auditor, "person", actor="administrator", offset=offset)
    (looked,) = events(site, "audit-patient")
    with site.database.read() as session:
        key = session.scalars(select(Patient.id).where(Patient.PatientID == "MRN-1")).one()
    assert (looked.code, looked.actor, looked.patient_id) == (AuditCode.AUDIT_LOG_USED, "administrator", key)
    assert [e.detail for e in events(site, "audit-person")] == [{"about": "administrator"}]


def test_what_is_not_there_is_not_written_down(site: Site, auditor: TestClient) -> None:
    before = len(events(site, "audit-patient", "audit-person"))
    for what, body in (
        ("patient", {"patient_id": "Typed^Name"}),
        ("patient", {"study_id": "f" * 32}),
        ("person", {"actor": "Typed^Name"}),
    ):
        answer = auditor.post(f"/api/v1/audit/{what}", json=body)
        assert (answer.status_code, "Typed" in answer.text) == (404, False)
    for body in ({}, {"patient_id": "a", "study_id": "b"}, {"patient_id": "a", "limit": 0}):
        assert auditor.post("/api/v1/audit/patient", json=body).status_code == 422
    assert len(events(site, "audit-patient", "audit-person")) == before
    with site.database.read() as session:
        assert "Typed" not in str([(e.detail, e.actor) for e in session.scalars(select(AuditEvent))])


def test_the_state_line(site: Site, studies: list[tuple[str, str]], auditor: TestClient) -> None:
    state = auditor.get("/api/v1/audit").json()
    assert (state["sealed"], state["checked"], state["sent"]) == (None, None, None)
    assert {a["name"] for a in state["accounts"]} == {role.value for role in Role}
    sealed = seal_head(site.settings, site.database)
    assert sealed is not None
    check(site.settings, site.database)
    receiver = AuditSyslog(host="audit.example")
    site.pages.state.settings = site.settings.model_copy(update={"audit_syslog": receiver})
    with site.database.write() as session:
        session.add(AuditCursor(receiver="audit.example:6514", event=1, last_error="TimeoutError"))
    state = auditor.get("/api/v1/audit").json()
    assert state["sealed"]["event"] == state["checked"]["event"] == sealed.event == state["events"]
    assert state["checked"]["problem"] == ""
    assert state["sent"] == {"waiting": state["events"] - 1, "at": None, "last_error": "TimeoutError"}


def test_each_access_to_a_study_is_one_event_a_session(site: Site, studies: list[tuple[str, str]]) -> None:
    study_id, uid = studies[0]
    radiologist = site.signed_in(Role.RADIOLOGIST)
    found = radiologist.get(f"/dicomweb/studies/{uid}/metadata").json()[0]
    series, instance = found["0020000E"]["Value"][0], found["00080018"]["Value"][0]
    at = f"/dicomweb/studies/{uid}/series/{series}/instances/{instance}"
    for address in (f"{at}/frames/1", f"{at}/rendered", at, f"/api/v1/studies/{study_id}", f"/dicomweb/studies/{uid}"):
        assert radiologist.get(address).status_code == 200, address
    assert [e.action for e in events(site, "study-opened", "wado")] == ["wado"]
    # Whoever goes for the pixels at once has seen the study as well.
    again = site.signed_in(Role.RADIOLOGIST)
    assert again.get(f"{at}/frames/1").status_code == 200
    assert [e.action for e in events(site, "study-opened", "wado")] == ["wado", "wado"]
    # A page and its polls are one.
    third = site.signed_in(Role.RESIDENT)
    for _ in range(3):
        assert third.get(f"/api/v1/studies/{study_id}").status_code == 200
    assert [e.action for e in events(site, "study-opened")] == ["study-opened"]


def test_a_report_taken_as_pdf_is_an_export(site: Site, study_id: str) -> None:
    radiologist = site.signed_in(Role.RADIOLOGIST)
    radiologist.get(f"/api/v1/studies/{study_id}/report")
    for _ in range(2):
        assert radiologist.get(f"/api/v1/studies/{study_id}/report/pdf").status_code == 200
    assert [(e.code, e.study_id) for e in events(site, "report-pdf")] == [(AuditCode.EXPORT, study_id)]


def test_an_upload_that_breaks_off_leaves_its_trace(site: Site) -> None:
    from readingroom.access.tokens import scopes_of

    (ds,) = ct_series(1)
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    whole = b"\r\n--x\r\nContent-Type: application/dicom\r\n\r\n" + buffer.getvalue()
    client = site.client()
    client.headers["Authorization"] = f"Bearer {site.token(Role.SERVICE, scopes_of(Role.SERVICE))}"

    headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=x'}
    broken = client.post("/dicomweb/studies", content=whole + b"\r\n--x\r\n" + 100_000 * b"A", headers=headers)
    assert broken.status_code >= 400
    sent = events(site, "stow")
    assert [(e.actor, e.outcome, e.detail) for e in sent] == [("service", "success", {"instances": 1})]


def test_the_questions_are_understood_by_both_databases(database: Database, settings: Settings) -> None:
    site = make_site(database, settings)
    study_id, _ = receive(site, "Aster^Ada", "MRN-1")
    assert site.signed_in(Role.RADIOLOGIST).get(f"/api/v1/studies/{study_id}").status_code == 200
    auditor = site.signed_in(Role.ADMINISTRATOR)
    found = ask(auditor, "patient", patient_id="MRN-1")
    assert [(p["actor"], p["times"]) for p in found["people"]] == [("radiologist", 1)]
    now = datetime.now(UTC).isoformat()
    assert ask(auditor, "person", actor="radiologist", until=now)["total"] == 2
    assert auditor.get("/api/v1/audit").json()["events"] > 0
    query = f"?type=110103&entity=ImagingStudy/{study_id}&date=ge2026&agent=radiologist"
    assert len(fhir(auditor, query)["entry"]) == 1


# FHIR


def fhir(client: TestClient, query: str = "") -> Any:
    answer = client.get(f"/fhir/AuditEvent{query}")
    assert answer.status_code == 200, answer.text
    bundle = answer.json()
    Bundle.model_validate(bundle)
    return bundle


def actions_of(bundle: Any) -> list[str]:
    return [entry["resource"]["code"]["coding"][-1]["code"] for entry in bundle.get("entry", [])]


@pytest.fixture
def machine(site: Site) -> TestClient:
    """A program with a token that may read the audit and nothing else."""
    client = site.client()
    client.headers["Authorization"] = f"Bearer {site.token(Role.ADMINISTRATOR, [Permission.AUDIT_READ])}"
    return client


def test_fhir_tells_every_event_validly(site: Site, studies: list[tuple[str, str]], machine: TestClient) -> None:
    for action, code, outcome in (
        ("study-opened", AuditCode.INSTANCES_ACCESSED, "success"),
        ("C-STORE", AuditCode.INSTANCES_TRANSFERRED, "refused"),
        ("deliver", AuditCode.INSTANCES_TRANSFERRED, "failure"),
        ("audit-altered", AuditCode.SECURITY_ALERT, "compromised"),
        ("unheard-of", AuditCode.PATIENT_RECORD, "odd"),
    ):
        detail = {"empty": "", "list": [1], "instances": 2}
        record_alone(site.database, code, action, "x", study_id=studies[0][0], outcome=outcome, detail=detail)
    bundle = fhir(machine)
    assert bundle["total"] == len(bundle["entry"])
    assert not any(secret in str(bundle) for secret in SECRETS)
    resource = next(e["resource"] for e in bundle["entry"] if actions_of({"entry": [e]}) == ["study-opened"])
    assert resource["category"][0]["coding"][0]["code"] == "110103"
    assert resource["patient"]["reference"].startswith("Patient/")
    assert {"reference": f"ImagingStudy/{studies[0][0]}"} in [entity["what"] for entity in resource["entity"]]
    one = machine.get(f"/fhir/AuditEvent/{resource['id']}")
    assert (one.status_code, one.json()) == (200, resource)
    missing = machine.get("/fhir/AuditEvent/999999")
    assert (missing.status_code, missing.json()["resourceType"]) == (404, "OperationOutcome")


def test_fhir_search_narrows(site: Site, studies: list[tuple[str, str]], machine: TestClient) -> None:
    ids = [study_id for study_id, _ in studies]
    for n, study_id in enumerate(ids):
        record_alone(site.database, AuditCode.INSTANCES_ACCESSED, "study-opened", f"person-{n}", study_id=study_id)
    with site.database.read() as session:
        key = session.scalars(select(Patient.id).where(Patient.PatientID == "MRN-1")).one()
    assert actions_of(fhir(machine, "?agent=person-1")) == ["study-opened"]
    assert len(fhir(machine, "?type=110103")["entry"]) == 3
    assert len(fhir(machine, "?category=http://dicom.nema.org/resources/ontology/DCM|110103")["entry"]) == 3
    assert len(fhir(machine, f"?entity=ImagingStudy/{ids[0]}&type=110103")["entry"]) == 1
    assert len(fhir(machine, f"?entity=Patient/{key}&type=110103")["entry"]) == 2
    assert len(fhir(machine, f"?patient=Patient/{key}&type=110103&agent=person-0")["entry"]) == 1
    assert "entry" not in fhir(machine, "?agent=nobody")
    today = datetime.now(UTC).date()
    for query, expected in (
        (f"date={today}", 3), (f"date=ge{today}", 3), (f"date=lt{today}", 0), (f"date=gt{today}", 0),
        (f"date=le{today.year}", 3), (f"date={today:%Y-%m}", 3), (f"date=ge{today}T00:00:00Z&date=lt2200-01-01", 3),
        ("date=lt2000-01-01T00:00:00.123%2B02:00", 0),
    ):  # fmt: skip
        assert len(fhir(machine, f"?type=110103&{query}").get("entry", [])) == expected, query


def test_fhir_pages_do_not_shift(site: Site, machine: TestClient) -> None:
    for n in range(7):
        record_alone(site.database, AuditCode.QUERY, "worklist-shown", f"p{n}")
    bundle, seen = fhir(machine, "?type=110112&_count=3"), []
    while True:
        seen += [entry["resource"]["agent"][0]["who"]["identifier"]["value"] for entry in bundle["entry"]]
        following = [link["url"] for link in bundle["link"] if link["relation"] == "next"]
        if not following:
            break
        # What comes meanwhile belongs to no page that follows.
        record_alone(site.database, AuditCode.QUERY, "worklist-shown", "later")
        bundle = fhir(machine, "?" + following[0].split("?")[1])
    assert seen == [f"p{n}" for n in reversed(range(7))]


@pytest.mark.parametrize(
    "query",
    ["date=yesterday", "date=2026-13", "date=2026-02-30", "date=2026-01-01T10:00", "date=ne2026", "type=1",
     "type=x|110103", "entity=Person/1", "entity=Patient/x", "entity=Patient/99999999999999", "outcome=0", "_count=0",
     "_count=x", "page=-1", "_count=9999"],
)  # fmt: skip
def test_fhir_refuses_what_it_does_not_understand(machine: TestClient, query: str) -> None:
    answer = machine.get(f"/fhir/AuditEvent?{query}")
    assert (answer.status_code, answer.json()["resourceType"]) == (400, "OperationOutcome"), answer.text


def test_reading_by_fhir_is_audited(site: Site, machine: TestClient) -> None:
    fhir(machine, "?agent=alice&_count=2")
    machine.get("/fhir/AuditEvent/1")
    read = events(site, "audit-fhir")
    assert {(e.code, e.actor) for e in read} == {(AuditCode.AUDIT_LOG_USED, "administrator")}
    assert [e.detail for e in read] == [{"searched_by": ["_count", "agent"]}, {"searched_by": []}]


def test_nobody_else_reads_it(site: Site, auditor: TestClient) -> None:
    for role in set(Role) - {Role.ADMINISTRATOR}:
        client = site.signed_in(role)
        assert client.get("/api/v1/audit").status_code == 403, role
        assert client.get("/fhir/AuditEvent").status_code == 403, role
        assert client.post("/api/v1/audit/patient", json={"patient_id": "MRN-1"}).status_code == 403, role
    assert site.client().get("/fhir/AuditEvent").status_code == 401
