"""Fixtures shared by all tests: databases (SQLite and PostgreSQL), real tools, shared data, small CT folders.

Where a Debian tool is missing the test skips and prints the line that installs it; ``.ci/run`` sets
``READINGROOM_NO_SKIP=1``, which turns every such skip into a failure.
"""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from e2e_house import CHROMIUM_FLAGS
from playwright.sync_api import Browser, expect, sync_playwright
from pydicom.dataset import Dataset
from support import ROOT, ct_series, find_tool, free_port, skip_or_fail

from readingroom.core.config import Settings
from readingroom.core.database import Database, upgrade

pytest_plugins = ["leaks"]


@pytest.fixture(scope="session")
def tool() -> Callable[[str], str]:
    """``tool("storescu")`` -> path, or a skip that says what to install."""
    return find_tool


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout (or ``READINGROOM_SHARED_DATA``)."""
    folder = Path(os.environ.get("READINGROOM_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        skip_or_fail("../shared/data is not there")
    return folder


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server of its own, run as a user who is not root, on a loopback port; stopped at the end."""
    # Debian keeps the server's programs off the PATH.
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        skip_or_fail("PostgreSQL is not installed: apt install postgresql")
    initdb = str(found[-1])
    binaries = found[-1].parent
    folder = Path(tempfile.mkdtemp(prefix="rr-pg-", dir="/tmp"))
    user: int | None = None
    if os.geteuid() == 0:
        # PostgreSQL refuses to run as root.
        user = pwd.getpwnam("nobody").pw_uid
        os.chown(folder, user, -1)
    port = free_port()
    run = lambda *command: subprocess.run(  # noqa: E731
        command, check=True, user=user, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    run(initdb, "-D", str(folder / "data"), "-A", "trust", "-U", "rr", "--no-sync", "-E", "UTF8", "--locale=C")
    options = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder} -c fsync=off -c max_connections=200"
    run(str(binaries / "pg_ctl"), "-D", str(folder / "data"), "-w", "-l", str(folder / "log"), "-o", options, "start")
    yield f"postgresql+psycopg://rr@127.0.0.1:{port}"
    run(str(binaries / "pg_ctl"), "-D", str(folder / "data"), "-m", "immediate", "stop")
    shutil.rmtree(folder, ignore_errors=True)


def _new_postgres_database(server_url: str) -> str:
    import psycopg

    name = f"t{time.monotonic_ns()}"
    with psycopg.connect(server_url.replace("+psycopg", "") + "/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
    return f"{server_url}/{name}"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.tools)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database: each test using it runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'index.sqlite'}"
    return _new_postgres_database(request.getfixturevalue("postgres_url"))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated index, on SQLite and on PostgreSQL."""
    db = Database(database_url)
    upgrade(db.engine)
    yield db
    db.close()


@pytest.fixture
def sqlite_database(tmp_path: Path) -> Iterator[Database]:
    """A migrated index on SQLite only, for what does not depend on the database."""
    db = Database(f"sqlite:///{tmp_path / 'index.sqlite'}")
    upgrade(db.engine)
    yield db
    db.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a home of the test's own, free ports, any calling AE, no quiet time, no limit on requests."""
    home = tmp_path / "home"
    home.mkdir()
    return Settings(
        home=home,
        web_port=free_port(),
        viewer_port=free_port(),
        dicom_port=free_port(),
        dicom_open=True,
        quiet_seconds=0.2,
        requests_per_second=100_000,
    )


@pytest.fixture(scope="session")
def tiny_reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of the tiny readers, installed into a folder of its own: readers come by entry point."""
    target = tmp_path_factory.mktemp("tiny")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
         "--disable-pip-version-check", "--target", str(target), str(Path(__file__).parent / "tiny_reader")],
        check=True,
    )  # fmt: skip
    return target


@pytest.fixture
def make_series() -> Callable[..., list[Dataset]]:
    """``make_series(slices=5, patient_id=..., ...)`` -> list of datasets."""
    return ct_series


@pytest.fixture
def ct_folder(tmp_path: Path) -> Path:
    """A folder with a small CT series of five slices."""
    folder = tmp_path / "ct"
    folder.mkdir()
    for n, ds in enumerate(ct_series()):
        ds.save_as(folder / f"{n:04}.dcm", enforce_file_format=True)
    return folder


@pytest.fixture(scope="session")
def browser(tool: Callable[[str], str]) -> Iterator[Browser]:
    """Chromium, one for all tests of a process: Playwright runs only once in each.

    What a page is expected to show may take long: other tests load the machine.
    """
    expect.set_options(timeout=30_000)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=tool("chromium"), args=CHROMIUM_FLAGS)
        yield chromium
        chromium.close()
