"""Cohorts over HTTP: who may do what in which project, and what no answer says."""

import json

import pytest
from cohort_support import HALVES, Place, nodule
from fastapi.testclient import TestClient
from sqlalchemy import update
from web_support import Site

from readingroom.archive.tables import Study
from readingroom.core.permissions import Permission, Role
from readingroom.learning import locked
from readingroom.learning.model import Folder, Query

READER = "lung-nodule"
NEW = {"name": "lungs", "project": "care", "purpose": "training", "query": {"modality": "CT"}}


@pytest.fixture
def place(site: Site) -> Place:
    """Ten patients who allow training, each with a nodule that was accepted."""
    place = Place(site.settings, site.database)
    for n in range(10):
        study = place.willing(f"P{n}")
        place.read(study, nodule(f"n{n}"), reader=READER)
        place.judge(study, "accept", f"n{n}")
        place.finish(study)
    return place


@pytest.fixture
def rada(site: Site) -> TestClient:
    return site.signed_in(Role.RADIOLOGIST)


def test_a_cohort_by_http(place: Place, rada: TestClient, site: Site) -> None:
    assert rada.get("/api/v1/cohorts").json() == {"items": [], "projects": ["care"]}
    made = rada.post("/api/v1/cohorts", json={**NEW, "shares": {"validation": 0.2, "test": 0.4}})
    assert made.status_code == 201
    here = f"/api/v1/cohorts/{made.json()['id']}"
    assert rada.post("/api/v1/cohorts", json=NEW).status_code == 409
    assert rada.get(f"{here}/export").status_code == 404
    frozen = rada.post(f"{here}/versions").json()
    (version,) = frozen["versions"]
    assert sum(part["members"] for part in version["parts"]) == 10
    assert (version["intact"], version["left_out"], frozen["may_write"]) == (True, {}, True)
    assert rada.post(f"{here}/versions").json()["error"] == "unchanged"
    assert rada.post(f"{here}/labels", json={}).status_code == 201
    wanted = {"reader": READER, "why": "release 1"}
    assert rada.post(f"{here}/evaluations", json={**wanted, "why": "   "}).status_code == 400
    assert rada.post(f"{here}/evaluations", json={**wanted, "reader": "unknown"}).status_code == 404
    looked = rada.post(f"{here}/evaluations", json=wanted)
    assert looked.status_code == 201, looked.text
    (look,) = looked.json()["evaluations"]
    assert (look["said"], look["by"]) == ("This is evaluation 1 of this test set.", "radiologist")
    assert look["result"]["sensitivity"]["value"] == 1.0

    lines = [json.loads(line) for line in rada.get(f"{here}/export").text.splitlines()]
    part = {line["study_id"]: line["part"] for line in lines if line["type"] == "member"}
    testing = {study for study, where in part.items() if where == "test"}
    assert testing
    assert {line["study_id"] for line in lines if line["type"] == "label"} == set(part) - testing
    # Neither the page nor the export names a patient, nor the pages a study of the test part.
    for text in (looked.text, rada.get(here).text):
        assert not any(study in text for study in part)
        assert "P0" not in text
    assert rada.get("/api/v1/cohorts").json()["items"][0]["looks"] == 1


def test_who_may_do_what(place: Place, rada: TestClient, site: Site) -> None:
    here = f"/api/v1/cohorts/{rada.post('/api/v1/cohorts', json=NEW).json()['id']}"
    rada.post(f"{here}/versions")
    resident = site.signed_in(Role.RESIDENT)
    assert resident.get(here).json()["may_write"] is False
    assert resident.get(f"{here}/export").status_code == 200
    assert resident.post(f"{here}/versions").status_code == 403
    # The researcher's project is another: the cohort is not there, nor may one be made in care.
    researcher = site.signed_in(Role.RESEARCHER)
    assert researcher.get("/api/v1/cohorts").json() == {"items": [], "projects": ["trial"]}
    for answer in (
        researcher.get(here),
        researcher.get(f"{here}/export"),
        researcher.post(f"{here}/versions"),
        researcher.post(f"{here}/labels", json={}),
        researcher.post(f"{here}/evaluations", json={"reader": READER, "why": "curious"}),
        researcher.post("/api/v1/cohorts", json={**NEW, "name": "mine"}),
    ):
        assert answer.status_code == 404
    for role in (Role.TECHNOLOGIST, Role.ADMINISTRATOR):
        assert site.signed_in(role).get("/api/v1/cohorts").status_code == 403
    # A program may read cohorts; to freeze one, or to look at the test part, needs a person.
    program = site.client()
    program.headers["Authorization"] = f"Bearer {site.token(Role.RADIOLOGIST, [Permission.COHORT_READ])}"
    assert program.get(here).status_code == 200
    assert program.post(f"{here}/versions").status_code == 403


def test_what_was_filed_elsewhere_is_neither_frozen_nor_exported(place: Place, rada: TestClient, site: Site) -> None:
    here = f"/api/v1/cohorts/{rada.post('/api/v1/cohorts', json=NEW).json()['id']}"
    rada.post(f"{here}/versions")
    with site.database.write() as session:
        session.execute(update(Study).values(project_id=2))
    assert [json.loads(line)["type"] for line in rada.get(f"{here}/export").text.splitlines()] == ["version"]
    assert rada.post(f"{here}/versions").status_code == 400


def test_a_folder_is_the_operators(place: Place, rada: TestClient) -> None:
    folder = Folder(path="/data/secret-place", basis="ethics-waiver", reference="EC 1")
    cohort = place.add("cubes", folder, shares=HALVES)
    shown = rada.get(f"/api/v1/cohorts/{cohort.id}")
    assert shown.json()["source"] == "folder"
    assert "secret-place" not in shown.text
    assert rada.post(f"/api/v1/cohorts/{cohort.id}/versions").status_code == 400
    for wrong in (folder.model_dump(), {"modality": "CT'; --"}, {"from_day": "1 May"}):
        assert rada.post("/api/v1/cohorts", json={**NEW, "query": wrong}).status_code == 422
    assert place.add("asked", Query(modality="CT")).definition["source"] == "query"
    assert locked.RULE.startswith("nearest lesion")
