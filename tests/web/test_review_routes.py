"""From a study with one finding to a signed report, over HTTP, with every refusal on the way."""

import pytest
from fastapi.testclient import TestClient
from web_support import Site

from readingroom.archive.tables import Study as StudyRow
from readingroom.core.audit import AuditEvent
from readingroom.core.clock import utc_now
from readingroom.core.outbox import OutboxRow
from readingroom.core.permissions import Role
from readingroom.worklist.tasks import open_tasks, raise_task


@pytest.fixture
def radiologist(site: Site) -> TestClient:
    return site.signed_in(Role.RADIOLOGIST)


def accept(client: TestClient, study_id: str, revision: int = 1) -> None:
    answer = client.post(
        f"/api/v1/studies/{study_id}/verdicts",
        json={"kind": "accept", "reading_id": "r1", "finding_id": "f1", "revision": revision},
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["findings"][0]["decision"] == "accepted"


def signing(report: dict, **changes: object) -> dict:
    body = {
        "etag": report["etag"],
        "revision": report["revision"],
        "patient_id": report["header"]["PatientID"],
        "accession_number": report["header"]["AccessionNumber"],
        "acknowledged": [flag["code"] for flag in report["flags"]],
    }
    return body | changes


def test_from_worklist_to_signed(site: Site, radiologist: TestClient, study_id: str) -> None:
    item = radiologist.get("/api/v1/worklist").json()["items"][0]
    assert item["study_id"] == study_id
    assert item["findings"]["undecided"] == 1
    study = radiologist.get(f"/api/v1/studies/{study_id}").json()
    assert "report:sign" in study["can"]
    assert len(study["series"][0]["images"]) == 3
    runs = radiologist.get(study["findings"][0]["segment_url"]).json()
    assert runs["runs"] == [5, 2, 9, 2]
    accept(radiologist, study_id)
    path = f"/api/v1/studies/{study_id}/report"
    report = radiologist.get(path).json()
    assert report["state"] == "draft"
    assert report["header"]["PatientID"] == "PLANTED-1"
    assert [line["finding_id"] for line in report["items"]] == ["f1"]
    assert radiologist.get(f"{path}/pdf").content.startswith(b"%PDF")
    saved = radiologist.put(path, json={"etag": report["etag"], "sections": {"impression": "My words."}})
    assert saved.status_code == 200, saved.text
    assert saved.json()["sections"]["impression"] == "My words."
    old = radiologist.put(path, json={"etag": report["etag"], "sections": {"impression": "Older."}})
    assert old.status_code == 409
    report = radiologist.get(path).json()
    assert report["sections"]["impression"] == "My words."
    for wrong in (
        {"patient_id": "OTHER"},
        {"accession_number": "OTHER"},
        {"revision": 2},
        {"etag": report["etag"] - 1},
    ):
        answer = radiologist.post(f"{path}/sign", json=signing(report, **wrong))
        assert answer.status_code == 409, wrong
        assert "PLANTED-1" not in answer.text
    signed = radiologist.post(f"{path}/sign", json=signing(report))
    assert signed.status_code == 200, signed.text
    assert signed.json()["state"] == "final"
    assert signed.json()["signed_by"] == "radiologist"
    assert radiologist.post(f"{path}/sign", json=signing(report)).status_code == 409
    assert radiologist.put(path, json={"etag": signed.json()["etag"], "sections": {}}).status_code == 409
    late = {"kind": "reject", "reading_id": "r1", "finding_id": "f1", "reason_code": "vessel", "revision": 1}
    assert radiologist.post(f"/api/v1/studies/{study_id}/verdicts", json=late).status_code == 409
    page = radiologist.get(f"{path}/pdf").content
    added = radiologist.post(f"{path}/addenda", json={"text": "One more thing."})
    assert added.json()["addenda"][0]["text"] == "One more thing."
    # It is on the page at once, whatever has been written yet.
    assert len(radiologist.get(f"{path}/pdf").content) > len(page)
    with site.database.read() as session:
        topics = [row.topic for row in session.query(OutboxRow)]
        actions = [(event.action, event.actor) for event in session.query(AuditEvent)]
    assert topics.count("report.signed") == 1
    assert ("report.sign", "radiologist") in actions
    assert actions.count(("study-opened", "radiologist")) == 1


def test_a_decision_reaches_the_other_radiologist_s_worklist(
    site: Site, radiologist: TestClient, study_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tag holds the minute, which must not be what changes it here.
    now = utc_now()
    monkeypatch.setattr("readingroom.worklist.items.utc_now", lambda: now)
    other = site.signed_in(Role.RADIOLOGIST)
    first = other.get("/api/v1/worklist")
    assert first.json()["items"][0]["findings"]["undecided"] == 1
    again = {"If-None-Match": first.headers["etag"]}
    assert other.get("/api/v1/worklist", headers=again).status_code == 304
    accept(radiologist, study_id)
    second = other.get("/api/v1/worklist", headers=again)
    assert second.status_code == 200
    assert second.json()["items"][0]["findings"]["undecided"] == 0


def test_no_answer_about_a_patient_is_left_in_the_browser(radiologist: TestClient, study_id: str) -> None:
    study = radiologist.get(f"/api/v1/studies/{study_id}").json()
    series = study["series"][0]
    of_series = f"/dicomweb/studies/{study['StudyInstanceUID']}/series/{series['SeriesInstanceUID']}"
    of_image = f"{of_series}/instances/{series['images'][0]['SOPInstanceUID']}"
    raw = {"Accept": "application/octet-stream"}
    addresses: list[tuple[str, dict[str, str]]] = [
        (f"/api/v1/studies/{study_id}", {}),
        (study["findings"][0]["segment_url"], {}),
        (study["findings"][0]["heat_map_url"], {}),
        (f"/api/v1/studies/{study_id}/report", {}),
        (f"/api/v1/studies/{study_id}/report/pdf", {}),
        ("/dicomweb/studies", {}),
        (f"{of_series}/metadata", {}),
        (of_series, {}),
        (of_image, {}),
        (f"{of_image}/frames/1", raw),
        (f"{of_image}/bulkdata/7FE00010", raw),
        (f"{of_image}/rendered", {}),
        (f"{of_series}/thumbnail", {}),
    ]
    for address, headers in addresses:
        answer = radiologist.get(address, headers=headers)
        assert answer.status_code == 200, address
        assert "no-store" in answer.headers["cache-control"], address
        assert "max-age" not in answer.headers["cache-control"], address
    radiologist.delete("/api/v1/session")
    for address, headers in addresses:
        assert radiologist.get(address, headers=headers).status_code == 401, address


def test_wrong_revision_is_a_conflict(radiologist: TestClient, study_id: str) -> None:
    body = {"kind": "accept", "reading_id": "r1", "finding_id": "f1", "revision": 7}
    assert radiologist.post(f"/api/v1/studies/{study_id}/verdicts", json=body).status_code == 409


def test_polling_opens_a_study_once(site: Site, radiologist: TestClient, study_id: str) -> None:
    for _ in range(3):
        radiologist.get(f"/api/v1/studies/{study_id}")
    with site.database.read() as session:
        assert session.query(AuditEvent).filter(AuditEvent.action == "study-opened").count() == 1


@pytest.mark.parametrize("part", ["/report", "/report/pdf"])
def test_who_asks_for_the_report_alone_has_opened_the_study(site: Site, study_id: str, part: str) -> None:
    site.signed_in(Role.RADIOLOGIST).get(f"/api/v1/studies/{study_id}/report")
    site.signed_in(Role.RESIDENT).get(f"/api/v1/studies/{study_id}{part}")
    with site.database.read() as session:
        opened = session.query(AuditEvent.actor).filter(AuditEvent.action == "study-opened").all()
    assert {actor for (actor,) in opened} == {"radiologist", "resident"}


def test_who_retrieves_by_dicomweb_alone_has_opened_the_study(site: Site, study_id: str) -> None:
    with site.database.read() as session:
        uid = session.get_one(StudyRow, study_id).StudyInstanceUID
    for _ in range(2):
        assert site.signed_in(Role.RESIDENT).get(f"/dicomweb/studies/{uid}/metadata").status_code == 200
    with site.database.read() as session:
        opened = session.query(AuditEvent).filter(AuditEvent.study_id == study_id, AuditEvent.actor == "resident").all()
    assert {event.action for event in opened} == {"wado"}


def test_unknown_things(radiologist: TestClient, study_id: str) -> None:
    for path in (
        "/api/v1/studies/nothing",
        "/api/v1/studies/nothing/report",
        "/api/v1/studies/nothing/report/pdf",
        f"/api/v1/studies/{study_id}/segments/r1/nothing",
        f"/api/v1/studies/{study_id}/segments/nothing/s1",
        "/api/v1/studies/nothing/segments/r1/s1",
        f"/api/v1/studies/{study_id}/heat-maps/r1/nothing",
        f"/api/v1/studies/{study_id}/heat-maps/nothing/f1",
        "/api/v1/studies/nothing/heat-maps/r1/f1",
    ):
        assert radiologist.get(path).status_code == 404, path


def test_ready_and_reread_reach_the_workflow(site: Site, radiologist: TestClient, study_id: str) -> None:
    assert radiologist.post(f"/api/v1/studies/{study_id}/ready").status_code == 202
    assert radiologist.post(f"/api/v1/studies/{study_id}/reread").status_code == 202
    assert radiologist.post("/api/v1/studies/nothing/ready").status_code == 404
    with site.database.read() as session:
        row = session.query(OutboxRow).filter(OutboxRow.topic == "study.reread").one()
    assert row.payload == {"study_id": study_id, "revision": 1}


def test_tick_off_a_task(site: Site, radiologist: TestClient, study_id: str) -> None:
    with site.database.write() as session:
        raise_task(session, "k", study_id, "late-images", "Look again.")
    task = radiologist.get(f"/api/v1/studies/{study_id}").json()["tasks"][0]
    assert radiologist.post(f"/api/v1/studies/{study_id}/tasks/{task['id']}/done").status_code == 204
    with site.database.read() as session:
        assert open_tasks(session, study_id) == []


def test_resident_judges_and_drafts_but_does_not_sign(site: Site, study_id: str) -> None:
    client = site.signed_in(Role.RESIDENT)
    base = f"/api/v1/studies/{study_id}"
    accept(client, study_id)
    report = client.get(f"{base}/report").json()
    saved = client.put(f"{base}/report", json={"etag": report["etag"], "sections": {"impression": "A nodule."}})
    assert saved.status_code == 200
    assert "report:sign" not in client.get(base).json()["can"]
    for path, body in (("/sign", signing(saved.json())), ("/addenda", {"text": "x"})):
        assert client.post(f"{base}/report{path}", json=body).status_code == 403, path


def test_technologist_sees_the_study_and_marks_it_ready(site: Site, study_id: str) -> None:
    client = site.signed_in(Role.TECHNOLOGIST)
    base = f"/api/v1/studies/{study_id}"
    assert client.get(base).json()["series"][0]["quality"] is not None
    assert client.post(f"{base}/ready").status_code == 202
    verdict = {"kind": "accept", "reading_id": "r1", "finding_id": "f1", "revision": 1}
    for method, path, body in (
        ("POST", f"{base}/verdicts", verdict),
        ("PUT", f"{base}/report", {"etag": 1, "sections": {}}),
        ("POST", f"{base}/report/redraft", None),
    ):
        assert client.request(method, path, json=body).status_code == 403, path
