"""The watch for patients' identifiers sees what it must (what it sees otherwise fails the test it is seen in)."""

import logging
import sqlite3
from pathlib import Path

import httpx
import leaks
import pytest


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the watch notes, kept from failing this test."""
    noted: list[str] = []
    monkeypatch.setattr(leaks, "_seen", noted)
    return noted


def test_a_log(seen: list[str]) -> None:
    logging.getLogger("readingroom.test").warning("patient %s", "Plantagenet")
    try:
        raise RuntimeError("Quilla")
    except RuntimeError:
        logging.getLogger("readingroom.other").exception("failed")
    assert len(seen) == 2


def test_a_log_and_an_audit_table_left_in_a_folder(seen: list[str], tmp_path: Path) -> None:
    (tmp_path / "serve.log").write_text("stored PLANTED-1")
    with sqlite3.connect(tmp_path / "index.sqlite") as connection:
        connection.execute("CREATE TABLE audit_event (detail TEXT)")
        connection.execute("INSERT INTO audit_event VALUES ('Plantagenet^Quilla')")
    leaks.look_through(tmp_path)
    assert len(seen) == 3
    (tmp_path / "serve.log").unlink()
    (tmp_path / "index.sqlite").unlink()


@pytest.mark.parametrize(
    ("path", "status", "text", "headers", "count"),
    [
        ("/api/v1/x", 404, "no Plantagenet here", {}, 1),
        ("/api/v1/x", 200, "Plantagenet, as asked for", {}, 0),
        ("/metrics", 200, 'studies{patient="PLANTED-1"} 1', {}, 1),
        ("/open/1", 303, "", {"location": "/study?name=Plantagenet"}, 1),
        ("/open/1", 303, "", {"location": "/study/1"}, 0),
    ],
)
def test_an_answer(seen: list[str], path: str, status: int, text: str, headers: dict[str, str], count: int) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(status, text=text, headers=headers))
    with httpx.Client(transport=transport, base_url="http://room") as client:
        client.get(path)
    assert len(seen) == count


def test_an_address(seen: list[str]) -> None:
    leaks.look_at_address("http://room/api/v1/worklist?q=Plantagenet", "a page")
    leaks.look_at_address("http://room/study/%50LANTED-1", "a page")
    leaks.look_at_address("http://room/dicomweb/studies?PatientName=Plantagenet", "DICOMweb")
    assert len(seen) == 2
