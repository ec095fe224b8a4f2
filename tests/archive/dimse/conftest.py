"""Fixtures of the archive's tests: a running DICOM receiver in front of a stand-in archive that keeps what it gets."""

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom.filereader import read_file_meta_info

from readingroom.archive.dimse.receiver import run_receiver
from readingroom.archive.dimse.requestor import Requestor
from readingroom.archive.header_scan import Buffer
from readingroom.archive.part10 import unwrap
from readingroom.core.config import Settings
from readingroom.core.database import Database


@dataclass(frozen=True)
class StandInReceived:
    outcome: str = "stored"
    study_id: str | None = "1" * 32
    dimse_status: int = 0x0000
    message: str = ""


@dataclass
class StandInArchive:
    """Writes and syncs a file for each object; ``answer`` decides what is said about it."""

    folder: Path
    database: Database
    answer: Callable[[], StandInReceived] = StandInReceived
    got: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put_stream(self, data: Buffer, **about: Any) -> StandInReceived:
        answer = self.answer()
        with self.lock:
            path = self.folder / f"{len(self.got):06}"
            self.got.append({"path": path, **about})
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return answer

    def bytes_of(self, sop_instance_uid: str) -> bytes:
        (found,) = [o for o in self.got if o["sop_instance_uid"] == sop_instance_uid]
        return bytes(found["path"].read_bytes())


@dataclass
class RunningReceiver:
    port: int
    archive: StandInArchive
    settings: Settings
    stop: threading.Event
    thread: threading.Thread

    def requestor(self, *contexts: tuple[str, str]) -> Requestor:
        """An association with our own requestor: CT, explicit little endian, unless told otherwise."""
        return Requestor(
            "127.0.0.1",
            self.port,
            called_aet="READINGROOM",
            calling_aet="TESTER",
            contexts=contexts or [("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1")],
            timeout_seconds=20.0,
        )


def store(requestor: Requestor, path: Path) -> int:
    """Send a Part 10 file. Returns the status."""
    wrapping = unwrap(path.read_bytes())
    meta = read_file_meta_info(path)
    return requestor.store(
        path,
        wrapping.dataset_start,
        sop_class_uid=meta.MediaStorageSOPClassUID,
        transfer_syntax_uid=meta.TransferSyntaxUID,
        sop_instance_uid=meta.MediaStorageSOPInstanceUID,
    )


@pytest.fixture
def send_file() -> Callable[[Requestor, Path], int]:
    """``send_file(requestor, path)`` -> C-STORE status."""
    return store


@pytest.fixture
def start_receiver(
    settings: Settings, sqlite_database: Database, tmp_path: Path
) -> Iterator[Callable[..., RunningReceiver]]:
    """``start_receiver(**settings)`` -> a receiver in a thread on a free port; stopped at the end of the test."""
    running: list[RunningReceiver] = []

    def start(**changes: object) -> RunningReceiver:
        folder = tmp_path / f"received{len(running)}"
        folder.mkdir()
        archive = StandInArchive(folder, sqlite_database)
        own = settings.model_copy(update={"dicom_port": 0, **changes})
        stop, listening, ports = threading.Event(), threading.Event(), []

        def ready(port: int) -> None:
            ports.append(port)
            listening.set()

        thread = threading.Thread(target=run_receiver, args=(own, archive, stop, ready), daemon=True)
        thread.start()
        assert listening.wait(10)
        running.append(RunningReceiver(ports[0], archive, own, stop, thread))
        return running[-1]

    yield start
    for receiver in running:
        receiver.stop.set()
    for receiver in running:
        receiver.thread.join(15)
        assert not receiver.thread.is_alive()
