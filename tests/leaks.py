"""A watch over the whole test run for patients' identifiers where none may be: a pytest plugin (``conftest.py``).

The patients of the tests have planted names. Looked through for them: what our loggers say, the logs that processes of
ours leave in the tests' folders, the audit tables there, the body of every error and of every metrics page, the
addresses that answers send a browser to, and every address our pages ask for. Query strings of DICOMweb are exempt (the
standard puts names there). Anything found fails the test during which it was seen.
"""

import logging
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus, urlsplit

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page

PLANTED = (
    "Plantagenet", "Quilla", "PLANTED-1", "Secretname", "Secret^Name", "Secret^Person", "SECRET-1", "Zebra",
    "Yamada", "山田", "Coerced^Name", "Changed^Name", "Simulated^Chest", "SIM-000",
)  # fmt: skip
OURS = ("readingroom", "uvicorn", "dbos", "sqlalchemy", "alembic")
EXEMPT = "/dicomweb/"

_seen: list[str] = []


def look(text: str, where: str) -> None:
    """Note every planted identifier in ``text``."""
    _seen.extend(f"{where}: {name!r} in {_around(text, name)!r}" for name in PLANTED if name in text)


def look_at_address(url: str, where: str) -> None:
    """The same for an address, percent-decoded; the query of DICOMweb is left out."""
    parts = urlsplit(url)
    if parts.scheme in ("blob", "data"):
        return
    query = "" if parts.path.startswith(EXEMPT) else unquote_plus(parts.query)
    look(f"{unquote_plus(parts.path)}?{query}#{unquote_plus(parts.fragment)}", where)


def _watch(page: Page) -> None:
    """Look at every address a page asks for, and at what its scripts write to the console."""
    page.on("request", lambda request: look_at_address(request.url, "an address the page asked for"))
    page.on("framenavigated", lambda frame: look_at_address(frame.url, "an address of a page"))
    page.on("console", lambda message: look(message.text, "the console"))


def _around(text: str, name: str) -> str:
    at = text.index(name)
    return text[max(0, at - 60) : at + 60]


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if record.name.split(".")[0] in OURS:
            look(self.format(record), f"log {record.name}")


def _look_at_answer(answer: httpx.Response) -> None:
    path = answer.request.url.path
    look_at_address(answer.headers.get("location", ""), f"the redirect of {path}")
    if (answer.status_code >= 400 or path == "/metrics") and answer.is_stream_consumed:
        look(answer.text, f"the answer {answer.status_code} to {answer.request.method}")


def _wrap(owner: type, name: str, look_at: Callable[[Any], None]) -> None:
    """Let ``look_at`` see what a method returns, whoever calls it: no test has to remember."""
    method = getattr(owner, name)

    def watched(*arguments: Any, **keywords: Any) -> Any:
        result = method(*arguments, **keywords)
        look_at(result)
        return result

    setattr(owner, name, watched)


@pytest.hookimpl(tryfirst=True)
def pytest_configure() -> None:
    logging.getLogger().addHandler(_Handler())
    _wrap(httpx.Client, "send", _look_at_answer)
    _wrap(BrowserContext, "new_page", _watch)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    report = yield
    if call.when == "teardown" and (folder := getattr(item, "funcargs", {}).get("tmp_path")):
        look_through(folder)
    if call.when == "teardown" and _seen:
        report.outcome, report.longrepr = "failed", "a patient's identifier where none may be:\n" + "\n".join(_seen)
        _seen.clear()
    return report


def look_through(folder: Path) -> None:
    """Look through the logs and the audit tables under ``folder`` (done by itself for a test's ``tmp_path``)."""
    for at, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != "store"]
        for name in files:
            path = Path(at, name)
            if name.endswith(".log"):
                look(path.read_text("utf-8", errors="replace"), f"the log {path}")
            elif name == "index.sqlite":
                look(_audit_of(path), f"the audit in {path}")


def _audit_of(path: Path) -> str:
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            rows = connection.execute("SELECT * FROM audit_event").fetchall()
    except sqlite3.DatabaseError:
        # Made wrong on purpose, or gone.
        return ""
    return "\n".join(str(row) for row in rows)
