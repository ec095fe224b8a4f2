"""What the end-to-end tests share: a running Reading Room as a value, the web process alone, signing in, pictures."""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page
from support import skip_or_fail

from readingroom.core.config import Settings
from readingroom.core.database import Database, upgrade
from readingroom.web.server import run_web
from readingroom.web.static_files import FOLDER

PASSWORD = "correct-horse-battery-9"
CHROMIUM_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-quic",
    "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@dataclass
class House:
    """A running Reading Room and what a test needs of it."""

    home: Path
    web: str
    viewer: str
    dicom_port: int
    destination: Path
    """Folder that the destination's ``storescp`` writes into."""
    process: subprocess.Popen[bytes]
    database: Database

    def log(self) -> str:
        return (self.home / "serve.log").read_text(errors="replace")


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 120) -> None:
    """Poll until true; fail naming what did not happen."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.25)
    pytest.fail(f"did not happen within {seconds:.0f} s: {what}")


@contextmanager
def web_running(settings: Settings) -> Iterator[Database]:
    """The web process over a migrated index; accounts are the caller's to make."""
    if not (FOLDER / "app" / "index.html").exists():
        skip_or_fail("the pages are not built: make setup")
    database = Database(settings.index_url)
    upgrade(database.engine)
    stop, ready = threading.Event(), threading.Event()
    thread = threading.Thread(target=run_web, args=(settings, stop, ready.set))
    thread.start()
    try:
        assert ready.wait(60)
        yield database
    finally:
        stop.set()
        thread.join(30)
        database.close()


def shoot(page: Page, name: str) -> None:
    """Keep a picture where somebody wants to look."""
    if folder := os.environ.get("READINGROOM_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def sign_in(page: Page, name: str = "rada", password: str = PASSWORD) -> None:
    page.get_by_test_id("sign-in-name").fill(name)
    page.get_by_test_id("sign-in-password").fill(password)
    page.get_by_test_id("sign-in-submit").click()


def sign_out(page: Page) -> None:
    page.get_by_test_id("sign-out").click()
    page.get_by_test_id("sign-in-submit").wait_for()
