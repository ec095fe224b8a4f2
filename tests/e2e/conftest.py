"""A whole Reading Room (``readingroom serve``) with a real destination and a real browser."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from e2e_house import House, serving
from playwright.sync_api import Browser, Page


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory, tool: Callable[[str], str]) -> Iterator[House]:
    """``readingroom serve`` in a home of its own, with accounts, and a ``storescp`` as peer that is up."""
    home, destination = tmp_path_factory.mktemp("house"), tmp_path_factory.mktemp("destination")
    with serving(home, destination, tool("storescp")) as running:
        yield running


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
