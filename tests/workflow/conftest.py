"""The house in one process, with the tiny reader installed beside it: what the stories of the workflow run on."""

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hippocampus_support import DRAWN, FOLDER_VARIABLE, make_folder
from pydicom import dcmread
from pydicom.dataset import Dataset
from sqlalchemy import select

from readingroom.archive.receive import Received
from readingroom.archive.tables import Instance, Study
from readingroom.core.config import Peer, Settings
from readingroom.core.database import Database, upgrade
from readingroom.core.outbox import relay
from readingroom.core.permissions import permission_of
from readingroom.objects.content import Person
from readingroom.report import service
from readingroom.report.tables import ReportRow
from readingroom.review.model import Study as StudyPage
from readingroom.review.model import VerdictInput
from readingroom.review.report_inputs import report_inputs
from readingroom.review.study_view import study_view
from readingroom.review.verdicts import give
from readingroom.workflow.installed import Installed
from readingroom.workflow.revise import settle_held
from readingroom.workflow.rooms import Rooms
from readingroom.workflow.worker import make_due_revisions, workflows


@pytest.fixture
def with_tiny(tiny_reader: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes started from here find the tiny reader."""
    paths = [str(tiny_reader), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))


@pytest.fixture
def rooms(settings: Settings, database_url: str, with_tiny: None) -> Iterator[Rooms]:
    """Opened rooms on a migrated index, on SQLite and on PostgreSQL."""
    migrated = Database(database_url)
    upgrade(migrated.engine)
    migrated.close()
    opened = Rooms.open(
        settings.model_copy(
            update={
                "database_url": database_url,
                "peers": (Peer(name="pacs", port=1, aet="PACS"),),
                "quiet_seconds": 0.0,
                "readers": ("tiny-brightest",),
                "reader_environment": ("TINY_READER_MODE", "TINY_READER_SECONDS"),
                "reader_timeout_seconds": 60.0,
            }
        )
    )
    yield opened
    opened.database.close()


@pytest.fixture
def sqlite_rooms(settings: Settings, sqlite_database: Database, tmp_path: Path, with_tiny: None) -> Iterator[Rooms]:
    """Opened rooms on SQLite only."""
    opened = Rooms.open(
        settings.model_copy(
            update={
                "database_url": f"sqlite:///{tmp_path / 'index.sqlite'}",
                "quiet_seconds": 0.0,
                "readers": ("tiny-brightest",),
                "reader_environment": ("TINY_READER_MODE", "TINY_READER_SECONDS"),
            }
        )
    )
    yield opened
    opened.database.close()


class PlainSteps:
    """Runs each step once, at once: the workflow without the engine."""

    def run(self, _name: str, step: Callable[..., Any], *args: Any) -> Any:
        permission_of(step)
        return step(*args)

    def sleep(self, _seconds: float) -> None:
        raise AssertionError("a step failed that must not")


class Story:
    """A study's life: images go in, whatever is due is done, the page is looked at."""

    def __init__(self, rooms: Rooms) -> None:
        self.rooms = rooms
        self.installed = Installed(rooms)
        self.workflows = workflows(rooms, self.installed)

    def send(self, *images: Dataset) -> list[Received]:
        return [self.rooms.archive.put_file(to_bytes(ds), source="test") for ds in images]

    def work(self) -> None:
        """Do all that is due, as the worker does."""
        while make_due_revisions(self.rooms, self.installed) + relay(self.rooms.database, self._run):
            pass
        with self.rooms.database.write() as session:
            settle_held(session)

    def _run(self, topic: str, _key: str, payload: dict[str, Any]) -> None:
        self.workflows[topic].run(PlainSteps(), payload)

    def page(self) -> StudyPage:
        with self.rooms.database.read() as session:
            return study_view(session, session.scalars(select(Study.id)).one(), [])

    def states(self) -> dict[str, str]:
        return {reading.reader: reading.state for reading in self.page().readings}

    def sign(self) -> None:
        """Accept everything and sign, acknowledging every flag."""
        with self.rooms.database.write() as session:
            study = session.scalars(select(Study)).one()
            for view in study_view(session, study.id, []).findings:
                verdict = VerdictInput(kind="accept", finding_id=view.finding.id, revision=study.revision)
                give(session, study.id, verdict, "rada")
            inputs = report_inputs(session, study)
            row = service.get_or_draft(session, study.id, inputs)
            flags = study_view(session, study.id, []).flags
            service.sign(
                session, study_id=study.id, etag=row.etag, revision=study.revision,
                patient_id=study.patient.PatientID, accession_number=study.AccessionNumber,
                acknowledged=[flag.code for flag in flags], actor="rada", signer=Person(name="Rada"),
                inputs=inputs, flags=flags,
            )  # fmt: skip

    def add(self, text: str) -> None:
        """Sign an addendum."""
        with self.rooms.database.write() as session:
            study = session.scalars(select(Study)).one()
            service.add_addendum(session, study.id, text, author="Dr. Rada", actor="rada")

    def report(self) -> ReportRow:
        with self.rooms.database.read() as session:
            return session.scalars(select(ReportRow)).one()

    def stored(self, uid: str) -> Dataset:
        """The object of ours with this SOP Instance UID, as it lies in the store."""
        with self.rooms.database.read() as session:
            key = session.scalars(select(Instance.store_key).where(Instance.SOPInstanceUID == uid)).one()
        return dcmread(io.BytesIO(self.rooms.store.read(key)))

    def own_objects(self) -> dict[str, str]:
        """SOP Instance UID -> digest of every object that we wrote."""
        with self.rooms.database.read() as session:
            rows = session.scalars(select(Instance).where(Instance.origin != "received")).all()
        return {row.SOPInstanceUID: row.dataset_sha256 for row in rows}


def to_bytes(ds: Dataset) -> bytes:
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.fixture
def story(rooms: Rooms) -> Story:
    return Story(rooms)


@pytest.fixture
def open_story() -> Callable[[Rooms], Story]:
    """A story in rooms that a test opened itself."""
    return Story


@pytest.fixture
def nodule_story(settings: Settings, sqlite_database: Database, with_tiny: None) -> Iterator[Story]:
    """A story with the test reader that gives everything a reader can give, and compares with earlier studies."""
    changes = {"database_url": str(sqlite_database.engine.url), "quiet_seconds": 0.0, "readers": ("tiny-nodule",)}
    opened = Rooms.open(settings.model_copy(update=changes))
    yield Story(opened)
    opened.database.close()


@pytest.fixture
def norms_story(settings: Settings, sqlite_database: Database) -> Iterator[Story]:
    """A story with the reader of FreeSurfer's measures alone."""
    changes = {"database_url": str(sqlite_database.engine.url), "quiet_seconds": 0.0, "readers": ("alzheimer",)}
    opened = Rooms.open(settings.model_copy(update=changes))
    yield Story(opened)
    opened.database.close()


@pytest.fixture
def sqlite_story(sqlite_rooms: Rooms) -> Story:
    return Story(sqlite_rooms)


@pytest.fixture
def hippocampus_story(
    settings: Settings, sqlite_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """A story with the reader hippocampus on a network that draws a known body."""
    package = tmp_path / "package" / "drawn-1.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: drawn\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(f"[readingroom.readers]\n{DRAWN} = hippocampus_support:Drawn\n")
    tests = Path(__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", f"{package.parent}:{tests}:{tests.parent}")
    monkeypatch.setenv(FOLDER_VARIABLE, str(make_folder(tmp_path / "reader", name=DRAWN)))
    changes = {
        "database_url": str(sqlite_database.engine.url), "quiet_seconds": 0.0, "readers": (DRAWN,),
        "reader_environment": (FOLDER_VARIABLE,), "reader_timeout_seconds": 240.0,
    }  # fmt: skip
    opened = Rooms.open(settings.model_copy(update=changes))
    yield Story(opened)
    opened.database.close()


@pytest.fixture
def brain_story(settings: Settings, sqlite_database: Database) -> Iterator[Story]:
    """A story with the reader of brain tumours."""
    changes = {"database_url": str(sqlite_database.engine.url), "quiet_seconds": 0.0, "readers": ("glioma",)}
    opened = Rooms.open(settings.model_copy(update=changes | {"reader_timeout_seconds": 300.0}))
    yield Story(opened)
    opened.database.close()
