"""``kill -9`` of every process, again and again, while studies come in, are read, signed and sent on.

The house runs as it does for people (``readingroom serve``), and is watched from outside only: a kill comes when the
index shows that a step is under way, or at a random moment. Afterwards nothing acknowledged is lost, each object is in
the store exactly once, and the destination holds each object under the one UID it has ever had.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from sqlalchemy import func, select
from support import find_tool, free_port

from readingroom.archive.tables import Delivery, Instance, Series, Study
from readingroom.core.database import Database
from readingroom.objects.content import Person
from readingroom.readers.tables import ReadingRow
from readingroom.report import service
from readingroom.report.tables import ReportRow
from readingroom.review.model import VerdictInput
from readingroom.review.report_inputs import report_inputs
from readingroom.review.study_view import study_view
from readingroom.review.verdicts import give

KILLS = 30
STUDIES = 4
PROCESSES = ("receive", "receive-2", "web", "worker", "deliver")


@dataclass
class House:
    """A running Reading Room, seen from outside."""

    home: Path
    port: int
    destination: Path
    database: Database

    def pid(self, name: str) -> int | None:
        try:
            note = json.loads((self.home / "processes" / f"{name}.json").read_text())
            process = psutil.Process(note["pid"])
            return process.pid if abs(process.create_time() - note["created"]) < 2 else None
        except (OSError, ValueError, psutil.Error):
            return None

    def kill(self, name: str) -> bool:
        pid = self.pid(name)
        if pid is None:
            return False
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return True

    def kill_reader(self) -> bool:
        """Kill the child that decodes, reads or encodes just now."""
        worker = self.pid("worker")
        with suppress(psutil.Error):
            for child in psutil.Process(worker).children() if worker else ():
                child.kill()
                return True
        return False

    def count(self, statement: object) -> int:
        with self.database.read() as session:
            return int(session.scalar(statement) or 0)  # type: ignore[call-overload]


@pytest.fixture
def house(tmp_path: Path, tiny_reader: Path) -> Iterator[House]:
    storescp = find_tool("storescp")
    find_tool("storescu")
    home, destination = tmp_path / "home", tmp_path / "destination"
    home.mkdir()
    destination.mkdir()
    port, peer = free_port(), free_port()
    (home / "config.toml").write_text(
        f"dicom_port = {port}\nweb_port = {free_port()}\nviewer_port = {free_port()}\n"
        'dicom_open = true\nquiet_seconds = 0.5\nreaders = ["tiny-brightest"]\n'
        f'[[peers]]\nname = "pacs"\nport = {peer}\naet = "PACS"\n'
    )
    scp = subprocess.Popen([storescp, "-aet", "PACS", "-od", str(destination), "+xa", "-pm", str(peer)])
    environment = {**os.environ, "PYTHONPATH": str(tiny_reader)}
    with (home / "log").open("wb") as log:
        serve = subprocess.Popen(
            [sys.executable, "-m", "readingroom.cli", "serve", "--home", str(home)],
            env=environment, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    database = Database(f"sqlite:///{home / 'index.sqlite'}")
    running = House(home, port, destination, database)
    try:
        wait_until(lambda: b"ready" in (home / "log").read_bytes(), "the house is ready", 90)
        yield running
    finally:
        database.close()
        serve.terminate()
        with suppress(subprocess.TimeoutExpired):
            serve.wait(20)
        serve.kill()
        scp.terminate()
        scp.wait(10)


def wait_until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"did not happen within {seconds:.0f} s: {what}"
        time.sleep(0.1)


def send(house: House, folder: Path) -> None:
    """Send until every image has been acknowledged; storescu ends with 0 only then."""
    end = time.monotonic() + 60
    command = ["storescu", "-aec", "READINGROOM", "+sd", "-ta", "20", "127.0.0.1", str(house.port), str(folder)]
    while subprocess.run(command, capture_output=True, timeout=60).returncode:
        assert time.monotonic() < end, "the images were never accepted"
        time.sleep(0.3)


def sign(house: House, study_id: str) -> bool:
    """Accept what was found and sign, as a radiologist does; False while there is nothing to sign."""
    with house.database.write() as session:
        study = session.get_one(Study, study_id)
        report = service.find(session, study_id)
        if report is not None and report.state != "draft":
            return True
        page = study_view(session, study_id, [])
        if page.state != "read" or not page.findings or page.revision == 0:
            return False
        for view in page.findings:
            verdict = VerdictInput(kind="accept", finding_id=view.finding.id, revision=study.revision)
            give(session, study_id, verdict, "rada")
        inputs = report_inputs(session, study)
        row = service.get_or_draft(session, study_id, inputs)
        flags = study_view(session, study_id, []).flags
        service.sign(
            session, study_id=study_id, etag=row.etag, revision=study.revision, patient_id=study.patient.PatientID,
            accession_number=study.AccessionNumber, acknowledged=[flag.code for flag in flags], actor="rada",
            signer=Person(name="Rada"), inputs=inputs, flags=flags,
        )  # fmt: skip
        return True


def moments(house: House) -> list[tuple[str, Callable[[], bool], Callable[[], bool]]]:
    """What to wait for in the index, and what to kill then: one of each step of the way."""
    reading = select(func.count(ReadingRow.id))
    own = select(func.count(Instance.id)).where(Instance.origin != "received")
    return [
        ("images come in", lambda: house.count(select(func.count(Instance.id))) > 0, lambda: house.kill("receive")),
        ("a study is looked at", lambda: house.count(select(func.count(Study.id)).where(Study.state == "reading")) > 0,
         lambda: house.kill("worker")),
        ("a reader reads", lambda: house.count(reading.where(ReadingRow.state == "reading")) > 0,
         lambda: house.kill("worker")),
        ("a reading is there", lambda: house.count(reading.where(ReadingRow.state == "found")) > 0,
         lambda: house.kill("worker")),
        ("an object is stored", lambda: house.count(own) > 0, lambda: house.kill("worker")),
        ("a report is signed", lambda: house.count(select(func.count(ReportRow.id))) > 0, lambda: house.kill("worker")),
        ("a delivery waits", lambda: house.count(select(func.count(Delivery.id))) > 0, lambda: house.kill("deliver")),
    ]  # fmt: skip


@pytest.mark.tools
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_thirty_kills_lose_and_double_nothing(
    house: House, make_series: Callable[..., list[Dataset]], tmp_path: Path
) -> None:
    chance = random.Random(7)
    sent: dict[str, list[str]] = {}
    kills = 0
    waiting = moments(house)

    def harm() -> None:
        """One kill: at the next moment of the list when it has come, else of anything."""
        nonlocal kills
        if kills >= KILLS:
            return
        if waiting and waiting[0][1]():
            kills += waiting.pop(0)[2]()
        elif chance.random() < 0.5:
            kills += house.kill(chance.choice(PROCESSES))
        elif chance.random() < 0.2:
            kills += house.kill_reader()

    for number in range(STUDIES):
        folder = tmp_path / f"study-{number}"
        folder.mkdir()
        images = make_series(slices=6, patient_id=f"KILL-{number}")
        for n, ds in enumerate(images):
            ds.save_as(folder / f"{n}.dcm", enforce_file_format=True)
        harm()
        send(house, folder)
        sent[str(images[0].StudyInstanceUID)] = [str(ds.SOPInstanceUID) for ds in images]

    with house.database.read() as session:
        studies = list(session.scalars(select(Study.id)))
    assert len(studies) == STUDIES
    end = time.monotonic() + 420
    written = select(func.count(ReportRow.id)).where(ReportRow.state == "written")
    accepted = select(func.count(Delivery.id)).where(Delivery.state == "accepted")
    while kills < KILLS or house.count(written) < STUDIES or house.count(accepted) < 3 * STUDIES:
        assert time.monotonic() < end, _standing(house, kills)
        harm()
        for study_id in studies:
            sign(house, study_id)
        time.sleep(chance.uniform(0.3, 1.5))
        _raise_failed(house)
    _nothing_lost(house, sent)
    _nothing_doubled(house)


def _raise_failed(house: House) -> None:
    """A killed reader child fails its reading, as it must; a person asks for it to be read again."""
    from readingroom.core.outbox import emit

    with house.database.write() as session:
        rows = session.execute(
            select(ReadingRow.id, ReadingRow.study_id, ReadingRow.revision, ReadingRow.finished_at)
            .join(Study, Study.id == ReadingRow.study_id)
            .where(ReadingRow.state == "failed", Study.state == "read")
        ).all()
        for row in rows:
            key = f"reread-{row.id}-{row.finished_at}"
            emit(session, "study.reread", key, {"study_id": row.study_id, "revision": row.revision})


def _standing(house: House, kills: int) -> str:
    with house.database.read() as session:
        readings = session.execute(select(ReadingRow.state, ReadingRow.reason)).all()
        reports = session.scalars(select(ReportRow.state)).all()
        deliveries = session.execute(select(Delivery.state, Delivery.last_error)).all()
    log = (house.home / "log").read_text()[-3000:]
    return f"{kills} kills; readings {readings}; reports {reports}; deliveries {deliveries}\n{log}"


def _nothing_lost(house: House, sent: dict[str, list[str]]) -> None:
    with house.database.read() as session:
        for StudyInstanceUID, uids in sent.items():
            rows = session.execute(
                select(Instance.SOPInstanceUID, Instance.store_key)
                .join(Series, Series.id == Instance.series_pk)
                .join(Study, Study.id == Series.study_id)
                .where(Study.StudyInstanceUID == StudyInstanceUID, Instance.origin == "received")
            ).all()
            assert sorted(row.SOPInstanceUID for row in rows) == sorted(uids)
        keys = session.scalars(select(Instance.store_key)).all()
    stored = {path.name for path in (house.home / "store").rglob("*") if path.is_file()}
    assert {Path(key).name for key in keys} <= stored


def _nothing_doubled(house: House) -> None:
    """Each report has one SEG, SR and PDF in our store, and the destination has those very UIDs and no others."""
    with house.database.read() as session:
        own = session.scalars(select(Instance.SOPInstanceUID).where(Instance.origin == "report")).all()
        named = [
            uid for objects in session.scalars(select(ReportRow.objects)) for role, uid in objects.items()
            if role != "fhir"
        ]  # fmt: skip
        states = session.execute(select(Study.id, ReadingRow.state).join(ReadingRow)).all()
    assert sorted(own) == sorted(named)
    assert len(named) == 3 * STUDIES
    assert len({row.id for row in states if row.state == "found"}) == STUDIES
    files = [path for path in house.destination.iterdir() if path.is_file()]
    received = {str(dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in files}
    assert received == set(named)
