"""What every answer carries, the pages' files, hosts, sizes, and what never gets out."""

import gzip
import logging
from pathlib import Path

import pytest
from fastapi import Depends
from web_support import Site

from readingroom.core.permissions import Permission, Role
from readingroom.web import static_files, viewer
from readingroom.web.permissions import requires
from readingroom.web.static_files import StaticFolder

PATIENT = "Zebra^Quagga"


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A built front end in small: the tests need not build the real one."""
    for part in ("app", "viewer"):
        (tmp_path / part / "assets").mkdir(parents=True)
        (tmp_path / part / "index.html").write_text("<script>a()</script><title>Reading Room</title>")
        (tmp_path / part / "assets" / "index-D5afToR1.js").write_text("let a;")
    packed = tmp_path / "app" / "assets" / "index-D5afToR1.js.gz"
    packed.write_bytes(gzip.compress(b"let a;"))
    (tmp_path / "viewer" / "app.bundle.0f6159c501addfe9.js").write_text("let b;")
    (tmp_path / "secret.txt").write_text("secret")
    monkeypatch.setattr(static_files, "FOLDER", tmp_path)
    monkeypatch.setattr("readingroom.web.app.FOLDER", tmp_path)
    monkeypatch.setattr(viewer, "FOLDER", tmp_path)
    return tmp_path


@pytest.fixture
def built_site(built: Path, site: Site) -> Site:
    return site


def test_headers_on_every_answer(built_site: Site) -> None:
    for app in (built_site.pages, built_site.viewer):
        client = built_site.client(app)
        for path in ("/health", "/api/v1/nothing", "/dicomweb/studies", "/assets/index-D5afToR1.js"):
            headers = client.get(path).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["cross-origin-opener-policy"] == "same-origin"
            assert headers["cross-origin-embedder-policy"] == "require-corp"
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert "strict-transport-security" not in headers
            assert "server" not in headers
    headers = built_site.client().get("https://127.0.0.1/health").headers
    assert "max-age" in headers["strict-transport-security"]


def test_our_policy_is_strict(built_site: Site) -> None:
    policy = built_site.client().get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert "'unsafe-eval'" not in policy
    assert "http" not in policy


def test_patient_data_is_not_cached_on_disk(built_site: Site) -> None:
    client = built_site.signed_in(Role.RADIOLOGIST)
    assert client.get("/api/v1/session").headers["cache-control"] == "no-store"
    assert client.get("/api/v1/worklist").headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/", "/study/0123456789abcdef", "/readers", "/quarantine", "/system"])
def test_every_page_address_gets_the_index(built_site: Site, path: str) -> None:
    answer = built_site.client().get(path)
    assert answer.status_code == 200
    assert "<title>Reading Room" in answer.text
    assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["/assets/nothing.js", "/api/v2/worklist", "/dicomweb/nothing", "/favicon.png"])
def test_missing_files_are_not_the_index(built_site: Site, path: str) -> None:
    assert built_site.client().get(path).status_code == 404


def test_hashed_files_are_kept_for_ever_and_sent_packed(built_site: Site) -> None:
    client = built_site.client()
    answer = client.get("/assets/index-D5afToR1.js", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.text == "let a;"
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-type"].startswith("text/javascript")
    plain = client.get("/assets/index-D5afToR1.js", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.headers["etag"] != answer.headers["etag"]
    again = client.get("/", headers={"If-None-Match": client.get("/").headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize(
    "path", ["../secret.txt", "assets/../../secret.txt", "/etc/passwd", "a\0b", "assets/index-D5afToR1.js.gz"]
)
def test_nothing_outside_the_folder(built: Path, path: str) -> None:
    from starlette.requests import Request

    from readingroom.core.errors import NotFound

    request = Request({"type": "http", "method": "GET", "headers": [], "path": "/"})
    with pytest.raises(NotFound):
        StaticFolder(built / "app").file(path, request)


def test_pages_that_are_not_built_say_so(site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from starlette.requests import Request

    request = Request({"type": "http", "method": "GET", "headers": [], "path": "/"})
    answer = StaticFolder(tmp_path / "none").index(request)
    assert answer.status_code == 503
    assert b"make setup" in answer.body


def test_viewer_asks_for_a_session(built_site: Site) -> None:
    client = built_site.client(built_site.viewer)
    answer = client.get("/viewer", headers={"Accept": "text/html"}, follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"http://127.0.0.1:{built_site.settings.web_port}/"
    assert client.get("/dicomweb/studies").status_code == 401
    signed = built_site.signed_in(Role.RADIOLOGIST, built_site.viewer)
    answer = signed.get("/viewer?StudyInstanceUIDs=1.2", headers={"Accept": "text/html"})
    assert answer.status_code == 200
    assert "'sha256-" in answer.headers["content-security-policy"]
    assert "immutable" in signed.get("/app.bundle.0f6159c501addfe9.js").headers["cache-control"]


def test_viewer_configuration_stays_at_home(built_site: Site) -> None:
    script = built_site.client(built_site.viewer).get("/app-config.js").text
    assert "http" not in script
    assert '"wadoRoot": "/dicomweb"' in script
    assert "Research use only" in script


def test_viewer_opens_a_study_by_our_id(built_site: Site) -> None:
    from readingroom.archive.tables import Patient, Study

    with built_site.database.write() as session:
        patient = Patient(PatientID="1")
        session.add(patient)
        session.flush()
        study = Study(patient_pk=patient.id, StudyInstanceUID="1.2.3")
        session.add(study)
        session.flush()
        study_id = study.id
    client = built_site.signed_in(Role.RADIOLOGIST, built_site.viewer)
    answer = client.get(f"/open/{study_id}", follow_redirects=False)
    assert answer.headers["location"] == "/viewer?StudyInstanceUIDs=1.2.3"
    assert client.get("/open/nothing", follow_redirects=False).status_code == 404


@pytest.mark.parametrize(("host", "status"), [
    ("127.0.0.1:8042", 200), ("localhost", 200), ("[::1]:8042", 200), ("evil.example", 421),
    ("localhost.evil.example", 421), ("", 421),
])  # fmt: skip
def test_only_our_own_names(site: Site, host: str, status: int) -> None:
    assert site.client().get("/health", headers={"Host": host}).status_code == status


def test_large_json_is_refused(site: Site) -> None:
    client = site.client()
    answer = client.post("/api/v1/session", json={"name": "x", "password": "y" * (3 << 20)})
    assert answer.status_code == 413


def test_bad_json_does_not_come_back(site: Site) -> None:
    client = site.client()
    for content in (b'{"name": "' + PATIENT.encode() + b'"}', b"{" + PATIENT.encode()):
        answer = client.post("/api/v1/session", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422
        assert answer.json()["error"] == "validation"
        assert "Zebra" not in answer.text


def test_unexpected_error_is_a_number_only(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise RuntimeError(f"cannot read {PATIENT}")

    routes = site.pages.router.routes
    site.pages.get("/api/v1/fail", dependencies=[Depends(requires(Permission.PUBLIC))])(fail)
    routes.insert(0, routes.pop())
    with caplog.at_level(logging.DEBUG):
        answer = site.client().get("/api/v1/fail")
    assert answer.status_code == 500
    assert "Zebra" not in answer.text
    assert "RuntimeError" not in answer.text
    assert "RuntimeError" in caplog.text
    assert "in fail" in caplog.text
    assert "Zebra" not in caplog.text
    number = answer.json()["hint"].split()[-1].rstrip(".")
    assert number in caplog.text


def test_names_do_not_reach_the_log(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """A patient's name in a query, a path, a header, a body: the log has templates only."""
    client = site.signed_in(Role.RADIOLOGIST)
    with caplog.at_level(logging.DEBUG, logger="readingroom"):
        client.get("/dicomweb/studies", params={"PatientName": PATIENT})
        client.get("/dicomweb/studies/1.2.840.99999.1/metadata")
        assert client.get("/api/v1/worklist", params={"q": PATIENT}).status_code == 400
        assert client.post("/api/v1/worklist/search", json={"q": PATIENT}).status_code == 200
        client.get(f"/api/v1/studies/{PATIENT}")
        client.get(f"/{PATIENT}")
        client.post("/api/v1/session", json={"name": PATIENT, "password": PATIENT})
        client.request("ZEBRA", "/health")
    assert "GET /dicomweb/studies 204" in caplog.text
    assert "GET /dicomweb/studies/{study}/metadata 404" in caplog.text
    assert "/api/v1/studies/{study_id}" in caplog.text
    for word in ("Zebra", "Quagga", "99999", "ZEBRA"):
        assert word not in caplog.text
        assert word not in client.get("/metrics").text


def test_worklist_is_not_sent_twice(site: Site) -> None:
    client = site.signed_in(Role.RADIOLOGIST)
    first = client.get("/api/v1/worklist")
    assert first.json()["items"] == []
    again = client.get("/api/v1/worklist", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code in (200, 304)  # the tag holds the minute, which may just have turned
    if again.status_code == 200:
        again = client.get("/api/v1/worklist", headers={"If-None-Match": again.headers["etag"]})
    assert again.status_code == 304
    assert (
        client.get("/api/v1/worklist?status=all", headers={"If-None-Match": first.headers["etag"]}).status_code == 200
    )


def test_system_and_about(site: Site) -> None:
    client = site.signed_in(Role.ADMINISTRATOR)
    system = client.get("/api/v1/system").json()
    assert system["counts"]["studies"] == 0
    assert system["disk"]["free_bytes"] > 0
    assert client.get("/api/v1/quarantine").json() == {"total": 0, "items": []}
    about = site.client().get("/api/v1/about").json()
    assert about["viewer_url"] == f"http://127.0.0.1:{site.settings.viewer_port}/"
    assert about["research_notice"]
