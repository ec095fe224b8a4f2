"""Versions in shadow: they read what the live ones read, and show nowhere; live ones replace the installed reader."""

import ast
import shutil
from pathlib import Path

import pytest
from fastapi.routing import iter_route_contexts
from model_support import in_shadow, move
from sqlalchemy import select
from sqlalchemy.orm import Session
from support import ROOT, ct_series
from web_support import make_site

from readingroom.access.consent import Kind, Statement, decide
from readingroom.archive.tables import Study
from readingroom.core.database import Database
from readingroom.core.permissions import Role
from readingroom.core.purposes import Purpose
from readingroom.learning.models.compare import Pair
from readingroom.learning.models.life import life_by_id
from readingroom.learning.models.statement import Statement as Signed
from readingroom.learning.models.store import path_of
from readingroom.learning.models.tables import ShadowReading
from readingroom.readers.tables import ReadingRow
from readingroom.workflow.worker import QUEUES

MARK = "Zebra 7391"
"""What the version in shadow calls its finding: found anywhere, it has shown."""
OUTPUT = {
    "kind": "segmentation",
    "threshold": 0.5,
    "code": {"value": "zebra-7391", "scheme": "99READINGROOM", "meaning": MARK},
}


def add(story, folder: Path, scale: float = 1.0, **changes):  # type: ignore[no-untyped-def]
    """A version in shadow that calls the installed tiny reader's name its own."""
    return in_shadow(story.rooms, folder, scale, **{"title": MARK, "output": OUTPUT, **changes})


def shadows(session: Session) -> list[ShadowReading]:
    return list(session.scalars(select(ShadowReading)))


def test_a_version_in_shadow_reads_after_the_live_one_and_is_compared(story, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    row = add(story, tmp_path)
    story.send(*ct_series(5))
    story.work()
    assert story.states() == {"tiny-brightest": "found"}
    with story.rooms.database.read() as session:
        (kept,) = shadows(session)
        (live,) = session.scalars(select(ReadingRow))
        assert (kept.model_id, kept.revision, kept.state) == (row.id, 1, "found")
        assert kept.body is not None
        assert kept.body["findings"][0]["code"]["meaning"] == MARK
        assert live.version == "1.0.0"
        pair = Pair.model_validate(kept.compared)
        assert (pair.live_version, pair.live_findings, pair.shadow_findings) == ("1.0.0", 1, 1)
        assert pair.shadow_seconds is not None
    # Once a revision; a new one is read anew.
    story.work()
    with story.rooms.database.read() as session:
        assert len(shadows(session)) == 1


def test_a_shadow_reading_shows_nowhere(sqlite_story, sqlite_database: Database, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Every GET of both apps, for the study, as everybody who may: none says a word of the version in shadow."""
    story = sqlite_story
    row = add(story, tmp_path)
    story.send(*ct_series(5))
    story.work()
    story.sign()
    story.work()
    with story.rooms.database.read() as session:
        assert MARK in str(shadows(session)[0].body)
        study = session.scalars(select(Study)).one()
        reading = session.scalars(select(ReadingRow)).one()
        assert reading.body is not None
        names = {
            "study_id": study.id, "study": study.StudyInstanceUID, "reading_id": reading.id,
            "finding_id": reading.body["findings"][0]["id"],
        }  # fmt: skip
        report_text = str(story.report().body)
    site = make_site(sqlite_database, story.rooms.settings)
    asked = []
    for app in (site.pages, site.viewer):
        for role in (Role.RADIOLOGIST, Role.RESIDENT, Role.TECHNOLOGIST, Role.ADMINISTRATOR, Role.SERVICE):
            client = site.signed_in(role, app)
            for context in iter_route_contexts(app.routes):
                path = context.path or ""
                if "GET" not in (context.methods or ()) or path.startswith("/api/v1/models"):
                    continue
                address = path
                for name, value in names.items():
                    address = address.replace("{" + name + "}", value)
                answer = client.get(address, follow_redirects=False)
                asked.append((address, answer.status_code))
                for word in (MARK, "zebra", row.version, row.id):
                    assert word.encode() not in answer.content, (role, address)
    assert sum(status == 200 for _, status in asked) > 30
    assert ("/api/v1/studies/" + names["study_id"], 200) in asked
    assert MARK not in report_text
    # Nor is anything of it among the objects, or in the store.
    for uid in story.own_objects():
        assert MARK not in str(story.stored(uid))
    files = [path for path in story.rooms.settings.store_folder.rglob("*") if path.is_file()]
    assert files
    assert [path.name for path in files if MARK.encode() in path.read_bytes()] == []


def test_few_modules_know_the_table_of_shadow_readings() -> None:
    """Whoever reads it shows it: the workflow writes it, the models page sums it up."""
    package_folder = ROOT / "readingroom"
    users = {
        path.relative_to(package_folder).as_posix()
        for path in package_folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and any(alias.name == "ShadowReading" for alias in node.names)
    }
    assert users == {"learning/models/compared.py", "workflow/shadow.py"}


def test_what_a_shadow_does_never_touches_the_study(sqlite_story, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    story = sqlite_story
    row = add(story, tmp_path)
    with story.rooms.database.read() as session:
        statement = life_by_id(session, row.id).row
    # Its network is gone: it fails, and only it.
    shutil.rmtree(story.rooms.settings.models_folder)
    story.send(*ct_series(5))
    story.work()
    page = story.page()
    assert story.states() == {"tiny-brightest": "found"}
    assert page.flags == () or all("tiny" not in flag.code for flag in page.flags)
    with story.rooms.database.read() as session:
        (kept,) = shadows(session)
        assert kept.state == "failed"
        assert "cannot be read" in kept.reason
        assert kept.compared is None
        assert session.scalars(select(Study.state)).one() == "read"
    assert statement.version not in str(page)


def test_a_patient_who_refuses_care_by_ai_is_not_read_in_shadow(sqlite_story, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    story = sqlite_story
    add(story, tmp_path)
    story.send(*ct_series(5))
    with story.rooms.database.write() as session:
        patient = session.scalars(select(Study.patient_pk)).one()
        decide(session, patient, Statement(Kind.REFUSED, (Purpose.CARE,)), actor="rada")
    story.work()
    with story.rooms.database.read() as session:
        assert shadows(session) == []


def test_a_live_version_takes_the_installed_one_s_place_and_gives_it_back(  # type: ignore[no-untyped-def]
    sqlite_story, tiny_reader: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Here as well as in the children: whoever rolls back must see that it is installed.
    monkeypatch.syspath_prepend(str(tiny_reader))
    story = sqlite_story
    row = add(story, tmp_path)
    move(story.rooms, row, "promote")
    story.send(*ct_series(5))
    story.work()
    (reading,) = story.page().readings
    assert (reading.reader, reading.version, reading.state) == ("tiny-brightest", row.version, "found")
    assert [view.finding.code.meaning for view in story.page().findings] == [MARK]
    # Its objects are written as any reader's are.
    assert any(MARK in str(story.stored(uid)) for uid in story.own_objects())
    move(story.rooms, row, "rollback")
    story.send(*ct_series(5, patient_id="ANOTHER"))
    story.work()
    with story.rooms.database.read() as session:
        versions = session.scalars(select(ReadingRow.version).order_by(ReadingRow.created_at)).all()
        assert versions == [row.version, "1.0.0"]
        assert shadows(session) == []


def test_a_live_version_that_was_changed_fails_in_sight(sqlite_story, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    story = sqlite_story
    row = add(story, tmp_path)
    move(story.rooms, row, "promote")
    with story.rooms.database.read() as session:
        found = life_by_id(session, row.id).row
    (sha256,) = Signed.from_text(found.statement).files.values()
    path = path_of(story.rooms.settings, sha256)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes() + b"x")
    story.send(*ct_series(5))
    story.work()
    (reading,) = story.page().readings
    assert (reading.version, reading.state) == (row.version, "failed")
    assert "SHA-256 differs" in reading.reason


def test_no_study_waits_for_a_shadow() -> None:
    assert QUEUES["shadow"] == 1
    assert QUEUES["reading"] == 1
