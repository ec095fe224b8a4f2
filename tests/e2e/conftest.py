"""A whole Reading Room (``readingroom serve``) with a real destination and a real browser."""

import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import leaks
import pytest
from e2e_house import PASSWORD, House, wait_until
from playwright.sync_api import Browser, Page
from support import free_port

from readingroom.core.database import Database


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return response.status == 200
    except OSError:
        return False


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory, tool: Callable[[str], str]) -> Iterator[House]:
    """``readingroom serve`` in a home of its own, with accounts, and a ``storescp`` as peer that is up."""
    home = tmp_path_factory.mktemp("house")
    destination = tmp_path_factory.mktemp("destination")
    web, viewer, dicom, peer = (free_port() for _ in range(4))
    (home / "config.toml").write_text(
        f"web_port = {web}\nviewer_port = {viewer}\ndicom_port = {dicom}\ndicom_open = true\nquiet_seconds = 1.0\n"
        f'[[peers]]\nname = "pacs"\nkind = "dimse"\nhost = "127.0.0.1"\nport = {peer}\naet = "PACS"\n'
    )
    program = [sys.executable, "-m", "readingroom.cli"]
    for name, role in (("rada", "radiologist"), ("admin", "administrator")):
        subprocess.run(
            [*program, "account", "add", name, "--role", role, "--home", str(home)],
            env={**os.environ, "READINGROOM_PASSWORD": PASSWORD}, check=True,
        )  # fmt: skip
    scp = subprocess.Popen([tool("storescp"), "-aet", "PACS", "-od", str(destination), "+xa", str(peer)])
    with (home / "serve.log").open("wb") as log:
        process = subprocess.Popen([*program, "serve", "--home", str(home)], stdout=log, stderr=subprocess.STDOUT)
    database = Database(f"sqlite:///{home / 'index.sqlite'}")
    running = House(
        home, f"http://127.0.0.1:{web}", f"http://127.0.0.1:{viewer}", dicom, destination, process, database
    )
    try:
        wait_until(lambda: _answers(f"{running.web}/health"), "the web process answers", 60)
        yield running
    finally:
        database.close()
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
        scp.terminate()
        scp.wait(10)
        leaks.look_through(home)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that fails the test on any uncaught script error or outside request."""
    context = browser.new_context(viewport={"width": 1600, "height": 1000}, color_scheme="dark")
    tab = context.new_page()
    errors: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    outside: list[str] = []
    tab.on(
        "request",
        lambda request: (
            None if request.url.startswith(("http://127.0.0.1", "blob:", "data:")) else outside.append(request.url)
        ),
    )
    yield tab
    if (folder := os.environ.get("READINGROOM_SCREENSHOTS")) and not tab.is_closed():
        Path(folder).mkdir(parents=True, exist_ok=True)
        tab.screenshot(path=str(Path(folder) / "last.png"))
    context.close()
    assert errors == []
    assert outside == []


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    """A page whose console and scripts must stay silent, whatever the policy and wherever it goes on loopback."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="dark")
    page = context.new_page()
    page.set_default_timeout(30_000)
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda m: troubles.append(m.text) if re.search("Content.Security|Refused to", m.text) else None)
    yield page
    context.close()
    assert troubles == []
