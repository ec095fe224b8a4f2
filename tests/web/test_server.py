"""The web process as it runs: both listeners, real sockets, an upload, and its end."""

import errno
import io
import threading
import time
import zipfile
from datetime import timedelta

import httpx
import pytest
from support import ct_series
from web_support import PASSWORD, Site, make_site

from readingroom.access.accounts import create_account
from readingroom.core import certificate_ends, certificates
from readingroom.core.config import Settings
from readingroom.core.database import Database, upgrade
from readingroom.core.permissions import Role
from readingroom.web.server import run_web


def test_both_listeners_and_one_session(settings: Settings) -> None:
    database = Database(settings.index_url)
    upgrade(database.engine)
    with database.write() as session:
        create_account(session, "ann", PASSWORD, Role.RADIOLOGIST)
    stop, ready = threading.Event(), threading.Event()
    thread = threading.Thread(target=run_web, args=(settings, stop, ready.set))
    thread.start()
    try:
        assert ready.wait(30)
        pages, viewer = (f"http://127.0.0.1:{port}" for port in (settings.web_port, settings.viewer_port))
        with httpx.Client() as client:
            answer = client.post(f"{pages}/api/v1/session", json={"name": "ann", "password": PASSWORD})
            csrf = {"X-CSRF-Token": answer.json()["csrf"]}
            assert client.get(f"{viewer}/dicomweb/studies").status_code in (200, 204)
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w") as archive:
                for number, ds in enumerate(ct_series(3)):
                    single = io.BytesIO()
                    ds.save_as(single, enforce_file_format=True)
                    archive.writestr(f"{number}.dcm", single.getvalue())
                archive.writestr("Zebra.txt", "not DICOM")
            files = {"file": ("Zebra^Quagga.zip", packed.getvalue())}
            assert client.post(f"{pages}/api/v1/import", files=files).status_code == 403
            summary = client.post(f"{pages}/api/v1/import", files=files, headers=csrf)
            assert summary.status_code == 200, summary.text
            assert summary.json()["accepted"] == 3
            assert len(summary.json()["quarantined"]) == 1
            assert "Zebra" not in summary.text
            item = client.get(f"{pages}/api/v1/worklist").json()["items"][0]
            assert item["instances"] == 3
            found = client.get(f"{viewer}/dicomweb/studies", headers={"Accept": "application/dicom+json"})
            assert len(found.json()) == 1
            opened = client.get(f"{viewer}/open/{item['study_id']}")
            assert opened.headers["location"].startswith("/viewer?StudyInstanceUIDs=")
        assert list(settings.work_folder.iterdir()) == []
    finally:
        stop.set()
        thread.join(30)
        database.close()
    assert not thread.is_alive()


def test_taken_port_is_an_error(settings: Settings) -> None:
    import socket

    upgrade_only = Database(settings.index_url)
    upgrade(upgrade_only.engine)
    upgrade_only.close()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", settings.viewer_port))
        taken.listen()
        with pytest.raises(OSError):
            run_web(settings, threading.Event())


def test_too_large_upload_is_refused(settings: Settings) -> None:
    small = settings.model_copy(update={"max_upload_bytes": 1000})
    database = Database(small.index_url)
    upgrade(database.engine)
    client = make_site(database, small).signed_in(Role.RADIOLOGIST)
    answer = client.post("/api/v1/import", files={"file": ("a.dcm", b"x" * 5000)})
    assert answer.status_code == 413
    database.close()


def test_no_body_is_read_of_somebody_who_may_not_store(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("starlette.requests.Request.form", lambda *_, **__: pytest.fail("the body was read"))
    client = site.client()
    assert client.post("/api/v1/import", files={"file": ("a.dcm", b"x")}).status_code == 401
    client = site.signed_in(Role.RADIOLOGIST)
    del client.headers["X-CSRF-Token"]
    assert client.post("/api/v1/import", files={"file": ("a.dcm", b"x")}).status_code == 403


def test_an_upload_without_a_file_is_said(site: Site) -> None:
    answer = site.signed_in(Role.RADIOLOGIST).post("/api/v1/import", files={"other": ("a", b"x")})
    assert answer.status_code == 400
    assert "no file" in answer.json()["message"]


def test_a_full_disk_is_said(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("readingroom.web.routes_import.shutil.copyfileobj", full)
    answer = site.signed_in(Role.RADIOLOGIST).post("/api/v1/import", files={"file": ("a.dcm", b"x")})
    assert (answer.status_code, answer.json()["error"]) == (507, "out-of-resources")


def test_certificates_that_end_soon_are_told(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pair = certificates.issue(settings.home / "tls", "server", certificates.SERVER, ["127.0.0.1"])
    secure = settings.model_copy(update={"tls_certificate": pair.certificate, "tls_key": pair.key})
    later = certificate_ends.utc_now() + timedelta(days=certificates.DAYS - 10)
    told = "The certificate of tls_certificate ends on"
    database = Database(settings.index_url)
    upgrade(database.engine)
    client = make_site(database, secure).signed_in(Role.ADMINISTRATOR)
    assert client.get("/api/v1/system").json()["warnings"] == []
    monkeypatch.setattr(certificate_ends, "utc_now", lambda: later)
    (warning,) = client.get("/api/v1/system").json()["warnings"]
    assert warning.startswith(told)
    database.close()
    stop = threading.Event()
    thread = threading.Thread(target=run_web, args=(secure, stop))
    thread.start()
    try:
        end = time.monotonic() + 30
        while told not in caplog.text:
            assert time.monotonic() < end
            time.sleep(0.05)
    finally:
        stop.set()
        thread.join(30)
