"""Who sees a study: its project, whom it is restricted to, and broken glass, on every route that names a study and in
every list. A study that somebody may not know of answers as one that is not there.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient
from sqlalchemy import select, update
from support import ct_series
from web_support import Site

from readingroom.access.accounts import create_account, find_account
from readingroom.access.projects import create_project, set_memberships
from readingroom.archive import glass
from readingroom.archive.filing import Filing
from readingroom.archive.revisions import make_revision
from readingroom.archive.tables import GlassBreak, Study, StudyPerson
from readingroom.core.audit import AuditEvent
from readingroom.core.clock import utc_now
from readingroom.core.permissions import ABOUT_STUDIES, Permission, ProjectKind, Role
from readingroom.web.permissions import STUDY_PARAMETERS, declared

PATIENT = "HIDDEN-7"
WORD = "Okapi"


@dataclass(frozen=True)
class Named:
    """One study by all its names."""

    study_id: str
    uid: str
    series: str
    instance: str

    def address(self, template: str) -> str:
        given = {"study_id": self.study_id, "study": self.uid, "series": self.series, "instance": self.instance}
        return re.sub(r"\{(\w+)\}", lambda m: given.get(m[1], "1"), template)


ABSENT = Named("f" * 32, "1.2.3.4", "1.2.3.5", "1.2.3.6")


def receive(site: Site, filing: Filing, **about: object) -> Named:
    """A study of one image, with a revision."""
    (ds,) = ct_series(1, **{"patient_id": PATIENT, "patient_name": f"{WORD}^Test", **about})
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    received = site.pages.state.archive.put_file(buffer.getvalue(), source="test", filing=filing)
    assert received.study_id is not None, received.message
    with site.database.write() as session:
        make_revision(session, received.study_id, "request")
    return Named(received.study_id, ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)


@pytest.fixture
def elsewhere(site: Site) -> Named:
    """A study in a project that nobody of the site is in."""
    with site.database.write() as session:
        project = create_project(session, "elsewhere", ProjectKind.CARE, actor="test")
        where = Filing(project.id, None)
    return receive(site, where)


@pytest.fixture
def restricted(site: Site) -> Named:
    """A study in care that only ``named`` may see."""
    found = receive(site, Filing(), AccessionNumber="VIP-ACC")
    with site.database.write() as session:
        named = create_account(session, "named", "correct horse battery", Role.RADIOLOGIST)
        session.execute(update(Study).where(Study.id == found.study_id).values(restricted=True))
        session.add(StudyPerson(study_id=found.study_id, account_id=named.id))
    return found


def study_routes(app: FastAPI) -> Iterator[tuple[str, str, Permission]]:
    """Yield method, path template and permission of every route whose address names a study."""
    for context in iter_route_contexts(app.routes):
        if set(re.findall(r"\{(\w+)", context.path or "")) & set(STUDY_PARAMETERS):
            (permission,) = declared(context)
            for method in sorted(context.methods or ()):
                yield method, context.path or "", permission


def answer(client: TestClient, method: str, address: str) -> tuple[int, str]:
    """Status and body, without what differs by address alone."""
    found = client.request(method, address, json={}, follow_redirects=False)
    return found.status_code, found.text


@pytest.mark.parametrize("which", ["elsewhere", "restricted"])
def test_every_route_answers_as_if_the_study_were_not_there(
    site: Site, request: pytest.FixtureRequest, which: str
) -> None:
    hidden: Named = request.getfixturevalue(which)
    walked = set()
    for app in (site.pages, site.viewer):
        for role in Role:
            client = site.signed_in(role, app)
            for method, path, permission in study_routes(app):
                found = answer(client, method, hidden.address(path))
                what = (method, path, role, found)
                if permission in ABOUT_STUDIES and found[0] != 403:
                    assert found[0] == 404, what
                    if permission is not Permission.STUDY_STORE:
                        assert found == answer(client, method, ABSENT.address(path)), what
                else:
                    # By the role alone, whatever the study.
                    assert answer(client, method, ABSENT.address(path))[0] == 403, what
                walked.add((method, path))
    assert len(walked) > 30


def test_the_walk_would_see_a_route_that_forgets(site: Site, elsewhere: Named) -> None:
    """The same addresses, by somebody who is in the project: nothing of it is 404 but what is not there itself."""
    with site.database.write() as session:
        account = find_account(session, "radiologist")
        set_memberships(session, account, {"elsewhere": Role.RADIOLOGIST}, actor="test")
    client = site.signed_in(Role.RADIOLOGIST)
    for path in ("/api/v1/studies/{study_id}", "/dicomweb/studies/{study}", "/dicomweb/studies/{study}/metadata"):
        assert answer(client, "GET", elsewhere.address(path))[0] == 200


def seen_by(client: TestClient) -> dict[str, bool]:
    """Where the study of ``WORD`` shows."""
    found = {
        "worklist": client.get("/api/v1/worklist?status=all").text,
        "search": client.post("/api/v1/worklist/search", json={"q": WORD, "status": "all"}).text,
        "studies": client.get("/dicomweb/studies").text,
        "studies by name": client.get("/dicomweb/studies", params={"PatientName": f"{WORD}*"}).text,
        "studies with fields": client.get("/dicomweb/studies", params={"includefield": "Manufacturer"}).text,
        "series": client.get("/dicomweb/series").text,
        "instances": client.get("/dicomweb/instances").text,
    }
    return {name: PATIENT in text or WORD in text for name, text in found.items()}


@pytest.mark.parametrize("which", ["elsewhere", "restricted"])
def test_no_list_and_no_search_shows_it(site: Site, request: pytest.FixtureRequest, which: str) -> None:
    request.getfixturevalue(which)
    for role in Role:
        client = site.signed_in(role)
        assert set(seen_by(client).values()) == {False}, role
        assert client.get("/api/v1/worklist?status=all").json().get("total", 0) == 0
    everybody_s = receive(site, Filing(), patient_id=f"{PATIENT}-OTHER")
    assert set(seen_by(site.signed_in(Role.RADIOLOGIST)).values()) == {True}
    # A machine's token has no worklist of the page's kind to itself: the same filter, the same list.
    assert set(seen_by(site.signed_in(Role.SERVICE)).values()) == {True}
    assert set(seen_by(site.signed_in(Role.RESEARCHER)).values()) == {False}
    assert set(seen_by(site.signed_in(Role.ADMINISTRATOR)).values()) == {False}
    assert everybody_s.study_id in site.signed_in(Role.RESIDENT).get("/api/v1/worklist?status=all").text


def test_totals_are_for_those_who_keep_the_house_running(site: Site, elsewhere: Named) -> None:
    """Numbers over all projects tell of no study; whoever sees studies does not get them."""
    for role in Role:
        status = site.signed_in(role).get("/metrics").status_code
        assert status == (200 if role in (Role.ADMINISTRATOR, Role.SERVICE) else 403), role


def test_the_tag_of_a_list_is_the_asker_s(site: Site, elsewhere: Named) -> None:
    tags = {
        role: site.signed_in(role).get("/api/v1/worklist").headers["etag"] for role in (Role.RADIOLOGIST, Role.RESIDENT)
    }
    assert len(set(tags.values())) == 2
    with site.database.write() as session:
        set_memberships(session, find_account(session, "resident"), {"elsewhere": Role.RESIDENT}, actor="test")
    client = site.signed_in(Role.RESIDENT)
    again = client.get("/api/v1/worklist", headers={"If-None-Match": tags[Role.RESIDENT]})
    assert again.status_code == 200
    assert again.json()["total"] == 1


def test_researcher_sees_the_research_project_s_studies_and_changes_nothing(site: Site) -> None:
    with site.database.read() as session:
        trial = next(iter(site_projects(session, "researcher")))
    ours = receive(site, Filing(trial, None))
    care = receive(site, Filing())
    client = site.signed_in(Role.RESEARCHER)
    assert client.get(f"/api/v1/studies/{ours.study_id}").status_code == 200
    assert client.get(f"/api/v1/studies/{care.study_id}").status_code == 404
    assert [s["0020000D"]["Value"] for s in client.get("/dicomweb/studies").json()] == [[ours.uid]]
    assert client.post(f"/api/v1/studies/{ours.study_id}/verdicts", json={}).status_code == 403
    # A radiologist in the trial as a researcher holds there what researchers hold.
    with site.database.write() as session:
        account = find_account(session, "radiologist")
        set_memberships(session, account, {"care": Role.RADIOLOGIST, "trial": Role.RESEARCHER}, actor="test")
    radiologist = site.signed_in(Role.RADIOLOGIST)
    can = radiologist.get(f"/api/v1/studies/{ours.study_id}").json()["can"]
    assert "study:read" in can
    assert not {"finding:judge", "report:sign"} & set(can)
    assert radiologist.post(f"/api/v1/studies/{ours.study_id}/verdicts", json={}).status_code == 403
    assert "report:sign" in radiologist.get(f"/api/v1/studies/{care.study_id}").json()["can"]


def site_projects(session: Any, name: str) -> list[int]:
    from readingroom.access.actor import actor_of

    return sorted(actor_of(session, find_account(session, name)).projects)


def test_store_goes_to_one_s_own_projects_only(site: Site, elsewhere: Named) -> None:
    (ds,) = ct_series(1, study_uid=elsewhere.uid)
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    body = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + buffer.getvalue() + b"\r\n--x--\r\n"
    headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=x'}
    for role in (Role.TECHNOLOGIST, Role.SERVICE):
        client = site.signed_in(role)
        refused = client.post("/dicomweb/studies", content=body, headers=headers)
        assert refused.status_code == 409
        assert refused.json()["00081198"]["Value"][0]["00081197"]["Value"] == [0x0124]
        assert client.post(f"/dicomweb/studies/{elsewhere.uid}", content=body, headers=headers).status_code == 404
    technologist = site.signed_in(Role.TECHNOLOGIST)
    done = technologist.post("/api/v1/import", files={"file": ("a.dcm", buffer.getvalue())})
    assert done.json()["accepted"] == 0
    assert done.json()["quarantined"][0]["code"] == "other-project"
    wrong = technologist.post("/api/v1/import", files={"file": ("a", b"x")}, data={"project": "elsewhere"})
    assert wrong.status_code == 404
    with site.database.write() as session:
        account = find_account(session, "technologist")
        set_memberships(session, account, {"elsewhere": Role.TECHNOLOGIST}, actor="test")
    done = technologist.post(
        "/api/v1/import", files={"file": ("a.dcm", buffer.getvalue())}, data={"project": "elsewhere"}
    )
    assert done.json()["accepted"] == 1
    with site.database.read() as session:
        assert session.query(Study).count() == 1
    # In no project that it may store into.
    with site.database.write() as session:
        set_memberships(session, find_account(session, "technologist"), {}, actor="test")
    assert technologist.post("/api/v1/import", files={"file": ("a", b"x")}).status_code == 403


# Restricting


def test_restrict_name_and_open_up_again(site: Site) -> None:
    study = receive(site, Filing())
    radiologist, resident = site.signed_in(Role.RADIOLOGIST), site.signed_in(Role.RESIDENT)
    path = f"/api/v1/studies/{study.study_id}/visibility"
    assert resident.get(path).status_code == 403
    shown = radiologist.get(path).json()
    assert shown["restricted"] is False
    # Machines are not named: they see no restricted study.
    assert [person["name"] for person in shown["people"]] == ["resident", "technologist"]
    assert radiologist.put(path, json={"restricted": True}).status_code == 204
    assert radiologist.get(f"/api/v1/studies/{study.study_id}").json()["restricted"] is True
    for role in (Role.RESIDENT, Role.SERVICE):
        assert site.signed_in(role).get(f"/dicomweb/studies/{study.uid}/metadata").status_code == 404
    assert radiologist.put(path, json={"restricted": True, "people": ["resident"]}).status_code == 204
    assert resident.get(f"/api/v1/studies/{study.study_id}").status_code == 200
    named = {person["name"] for person in radiologist.get(path).json()["people"] if person["named"]}
    assert named == {"resident"}
    assert radiologist.put(path, json={"restricted": True, "people": ["researcher"]}).status_code == 400
    assert radiologist.put(path, json={"restricted": False}).status_code == 204
    assert site.signed_in(Role.TECHNOLOGIST).get(f"/api/v1/studies/{study.study_id}").status_code == 200
    with site.database.read() as session:
        actions = session.scalars(select(AuditEvent.action).where(AuditEvent.study_id == study.study_id)).all()
        assert session.query(StudyPerson).count() == 0
    assert {"study-restricted", "study-opened-up"} <= set(actions)


def test_a_restricted_patient_s_next_study_is_restricted_too(site: Site, restricted: Named) -> None:
    later = receive(site, Filing())
    assert site.signed_in(Role.RADIOLOGIST).get(f"/api/v1/studies/{later.study_id}").status_code == 404
    with site.database.read() as session:
        named = session.scalars(select(StudyPerson.account_id).where(StudyPerson.study_id == later.study_id)).all()
        assert named == [find_account(session, "named").id]


def test_a_study_that_turns_out_to_be_a_restricted_patient_s_becomes_restricted(site: Site, restricted: Named) -> None:
    (ds,) = ct_series(1, patient_id="WRONG-ID")
    ids = set()
    for patient_id in ("WRONG-ID", PATIENT):
        ds.PatientID = patient_id
        buffer = io.BytesIO()
        ds.save_as(buffer, enforce_file_format=True)
        ids.add(site.pages.state.archive.put_file(buffer.getvalue(), source="test").study_id)
    (study_id,) = ids
    with site.database.read() as session:
        assert session.get_one(Study, study_id).restricted


# Breaking the glass


def break_glass(client: TestClient, **changes: str) -> Any:
    body = {"by": "patient_id", "value": PATIENT, "reason": "emergency", "text": "Trauma room 2"}
    return client.post("/api/v1/glass", json=body | changes)


@pytest.mark.parametrize("which", ["elsewhere", "restricted"])
@pytest.mark.parametrize("role", [Role.RADIOLOGIST, Role.RESIDENT, Role.TECHNOLOGIST, Role.ADMINISTRATOR])
def test_broken_glass_opens_the_patient_s_study_for_an_hour(
    site: Site, request: pytest.FixtureRequest, which: str, role: Role
) -> None:
    hidden: Named = request.getfixturevalue(which)
    client = site.signed_in(role)
    opened = break_glass(client)
    assert opened.status_code == 200, opened.text
    assert opened.json()["study_ids"] == [hidden.study_id]
    study = client.get(f"/api/v1/studies/{hidden.study_id}").json()
    assert study["glass_until"] == opened.json()["until"]
    assert ("finding:judge" in study["can"]) is (role in (Role.RADIOLOGIST, Role.RESIDENT))
    assert ("report:sign" in study["can"]) is (role is Role.RADIOLOGIST)
    assert "study:restrict" not in study["can"]
    assert set(seen_by(client).values()) == {True}
    assert client.get(f"/dicomweb/studies/{hidden.uid}/metadata").status_code == 200
    # Nobody else sees it for that, nor a program of the same account.
    other = Role.RESIDENT if role is not Role.RESIDENT else Role.TECHNOLOGIST
    assert site.signed_in(other).get(f"/api/v1/studies/{hidden.study_id}").status_code == 404
    program = site.client()
    program.headers["Authorization"] = f"Bearer {site.token(role, [Permission.STUDY_QUERY, Permission.STUDY_READ])}"
    assert program.get(f"/api/v1/studies/{hidden.study_id}").status_code == 404
    assert set(seen_by(program).values()) == {False}
    with site.database.write() as session:
        session.execute(update(GlassBreak).values(expires_at=utc_now() - timedelta(seconds=1)))
    assert client.get(f"/api/v1/studies/{hidden.study_id}").status_code == 404
    assert set(seen_by(client).values()) == {False}


@pytest.mark.parametrize("role", [Role.RESEARCHER, Role.SERVICE])
def test_who_breaks_no_glass(site: Site, restricted: Named, role: Role) -> None:
    assert break_glass(site.signed_in(role)).status_code == 403


def test_by_accession_number_and_by_address(site: Site, restricted: Named) -> None:
    resident = site.signed_in(Role.RESIDENT)
    assert break_glass(resident, by="accession_number", value="VIP-ACC").json()["study_ids"] == [restricted.study_id]
    technologist = site.signed_in(Role.TECHNOLOGIST)
    found = break_glass(technologist, by="study_id", value=restricted.study_id)
    assert found.json()["study_ids"] == [restricted.study_id]


def test_it_is_audited_without_words_and_administrators_are_told(site: Site, restricted: Named) -> None:
    radiologist = site.signed_in(Role.RADIOLOGIST)
    break_glass(radiologist, reason="other", text=f"Looking for {WORD}")
    with site.database.read() as session:
        (event,) = session.scalars(select(AuditEvent).where(AuditEvent.action == "glass-broken"))
    assert (event.code, event.actor, event.study_id) == ("110113", "radiologist", restricted.study_id)
    assert event.detail == {"reason": "other"}
    assert radiologist.get("/api/v1/alerts").status_code == 403
    administrator = site.signed_in(Role.ADMINISTRATOR)
    alerts = administrator.get("/api/v1/alerts").json()
    assert alerts["open"] == 1
    (alert,) = alerts["items"]
    assert (alert["kind"], alert["actor"], alert["study_id"]) == ("glass-broken", "radiologist", restricted.study_id)
    assert f"Looking for {WORD}" in alert["text"]
    path = f"/api/v1/alerts/{alert['id']}/acknowledge"
    assert radiologist.post(path).status_code == 403
    assert administrator.post(path).status_code == 204
    alerts = administrator.get("/api/v1/alerts").json()
    assert alerts["open"] == 0
    assert alerts["items"][0]["acknowledged_by"] == "administrator"
    assert administrator.post("/api/v1/alerts/nothing/acknowledge").status_code == 404


def test_nobody_acknowledges_what_they_did_themselves(site: Site, restricted: Named) -> None:
    administrator = site.signed_in(Role.ADMINISTRATOR)
    break_glass(administrator)
    (alert,) = administrator.get("/api/v1/alerts").json()["items"]
    assert administrator.post(f"/api/v1/alerts/{alert['id']}/acknowledge").status_code == 409


def test_an_attempt_that_finds_nothing_is_told_too_and_they_are_few(site: Site, restricted: Named) -> None:
    """Or anybody could ask, one identifier after the other, who is a patient here."""
    resident = site.signed_in(Role.RESIDENT)
    for n in range(glass.MISSES):
        assert break_glass(resident, value=f"GUESS-{n}").status_code == 404
    assert break_glass(resident).status_code == 403
    assert site.signed_in(Role.ADMINISTRATOR).get("/api/v1/alerts").json()["open"] == glass.MISSES
    with site.database.read() as session:
        events = session.scalars(select(AuditEvent).where(AuditEvent.action == "glass-missed")).all()
    assert len(events) == glass.MISSES
    assert {event.outcome for event in events} == {"failure"}
    assert not any("GUESS" in str(event.detail) for event in events)
    # The others' attempts are their own.
    assert break_glass(site.signed_in(Role.TECHNOLOGIST)).status_code == 200


def test_what_is_open_already_needs_no_breaking(site: Site) -> None:
    receive(site, Filing())
    assert break_glass(site.signed_in(Role.RADIOLOGIST)).status_code == 404


def test_one_identifier_of_two_patients_opens_neither(site: Site, elsewhere: Named) -> None:
    with site.database.read() as session:
        where = Filing(session.get_one(Study, elsewhere.study_id).project_id, None)
    receive(site, where, IssuerOfPatientID="OTHER HOSPITAL")
    resident = site.signed_in(Role.RESIDENT)
    assert break_glass(resident).status_code == 409
    assert resident.get(f"/api/v1/studies/{elsewhere.study_id}").status_code == 404


@pytest.mark.parametrize(
    "changes", [{"reason": "curiosity"}, {"reason": "other", "text": " "}, {"by": "name"}, {"value": ""}]
)
def test_a_reason_from_the_table_is_needed(site: Site, restricted: Named, changes: dict[str, str]) -> None:
    client = site.signed_in(Role.RADIOLOGIST)
    assert break_glass(client, **changes).status_code in (400, 422)
    assert client.get(f"/api/v1/studies/{restricted.study_id}").status_code == 404
    assert {reason["code"] for reason in client.get("/api/v1/glass").json()["reasons"]} >= {"emergency", "other"}


# Refusals


def test_refused_access_is_audited_once_a_while(site: Site, elsewhere: Named) -> None:
    client = site.signed_in(Role.RESIDENT)
    for _ in range(3):
        client.get(f"/api/v1/studies/{elsewhere.study_id}")
        client.get("/api/v1/accounts")
    with site.database.read() as session:
        events = session.scalars(select(AuditEvent).where(AuditEvent.action == "access-denied")).all()
    assert {(event.actor, event.study_id, event.detail["permission"], event.outcome) for event in events} == {
        ("resident", elsewhere.study_id, "study:read", "failure"),
        ("resident", None, "account:manage", "failure"),
    }
    assert len(events) == 2


def test_address_of_another_study_gives_no_way_in(site: Site, elsewhere: Named) -> None:
    """Names of things within a study are looked for within the study the address names."""
    own = receive(site, Filing())
    client = site.signed_in(Role.RADIOLOGIST)
    for mixed in (replace(own, series=elsewhere.series), replace(own, instance=elsewhere.instance)):
        path = "/dicomweb/studies/{study}/series/{series}/instances/{instance}"
        assert answer(client, "GET", mixed.address(path))[0] == 404
    found = client.get("/dicomweb/instances", params={"SOPInstanceUID": elsewhere.instance})
    assert found.status_code == 204
