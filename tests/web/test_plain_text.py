"""A NUL character, or half of a surrogate pair, in whatever comes in: refused, as no database keeps such a text."""

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from web_support import Site

from readingroom.core.permissions import Role

NUL, HALF = "a\0b", "a\ud800b"


@pytest.fixture
def radiologist(site: Site) -> TestClient:
    return site.signed_in(Role.RADIOLOGIST)


def send(client: TestClient, method: str, path: str, content: bytes) -> Any:
    return client.request(method, f"/api/v1{path}", content=content, headers={"Content-Type": "application/json"})


def test_in_a_body(radiologist: TestClient) -> None:
    for text in (NUL, HALF):
        for method, path, body in (
            ("POST", "/session", {"name": text, "password": "x"}),
            ("POST", "/worklist/search", {"q": text}),
            ("POST", "/studies/any/verdicts", {"kind": "reject", "reason_text": text, "revision": 1}),
            ("PUT", "/studies/any/report", {"etag": 1, "sections": {"findings": text}}),
            ("PUT", "/studies/any/report", {"etag": 1, "sections": {text: "findings"}}),
            ("POST", "/studies/any/report/addenda", {"text": [{"deep": [text]}]}),
        ):
            answer = send(radiologist, method, path, json.dumps(body).encode())
            assert answer.status_code == 400, (path, answer.text)
            assert "character" in answer.json()["message"]


def test_what_is_none_of_that_is_left_to_its_route(radiologist: TestClient) -> None:
    # Six letters, and none of them a NUL.
    assert send(radiologist, "POST", "/worklist/search", json.dumps({"q": "\\u0000"}).encode()).status_code == 200
    for content in (b"{", b"[" * 100_000, b"\xff\xfe"):
        assert send(radiologist, "POST", "/worklist/search", content).status_code in (400, 422)


def test_in_an_address(radiologist: TestClient) -> None:
    nul = quote(NUL)
    for path in (
        f"/dicomweb/studies?PatientName={nul}",
        f"/dicomweb/studies?{nul}=x",
        f"/dicomweb/studies/{nul}/series",
        f"/api/v1/studies/{nul}",
        f"/api/v1/worklist?status={nul}",
        f"/{nul}",
    ):
        answer = radiologist.get(path)
        assert (answer.status_code, answer.json()["error"]) == (400, "bad-input"), path


def test_in_a_form_and_in_a_name(site: Site) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = site.client().post("/fhir/Consent/_search", content=b"patient:identifier=%00", headers=form)
    assert answer.status_code == 400
    login = base64.b64encode(f"{NUL}:password".encode()).decode()
    answer = site.client().get("/dicomweb/studies", headers={"Authorization": f"Basic {login}"})
    assert answer.status_code == 401
