"""An archive of a test's own, and DICOMweb over it on a loopback port."""

import threading
import time
from collections.abc import Callable, Iterator
from io import BytesIO

import pytest
import uvicorn
from dicomweb_client import DICOMwebClient
from fastapi import FastAPI
from pydicom.dataset import Dataset

from readingroom.access.actor import SYSTEM
from readingroom.archive.receive import Archive
from readingroom.archive.store import LocalStore
from readingroom.core.config import Settings
from readingroom.core.database import Database
from readingroom.core.permissions import Permission


def file_bytes(ds: Dataset) -> bytes:
    """The data set as a Part 10 file."""
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.fixture
def part10() -> Callable[[Dataset], bytes]:
    return file_bytes


@pytest.fixture
def archive(settings: Settings, database: Database) -> Archive:
    """An archive on SQLite and on PostgreSQL."""
    return Archive(settings, database, LocalStore(settings.store_folder))


@pytest.fixture
def lone_archive(settings: Settings, sqlite_database: Database) -> Archive:
    """An archive on SQLite only."""
    return Archive(settings, sqlite_database, LocalStore(settings.store_folder))


@pytest.fixture
def base_url(lone_archive: Archive) -> Iterator[str]:
    """DICOMweb of ``lone_archive`` served by uvicorn; whoever asks sees everything."""
    from readingroom.web import errors
    from readingroom.web.dicomweb_routes import router
    from readingroom.web.permissions import requires

    app = FastAPI()
    app.state.database = lone_archive.database
    errors.install(app)
    app.include_router(router(lone_archive), prefix="/dicomweb")
    for permission in Permission:
        app.dependency_overrides[requires(permission)] = lambda: SYSTEM
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/dicomweb"
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def client(base_url: str) -> DICOMwebClient:
    return DICOMwebClient(base_url)
