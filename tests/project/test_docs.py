"""Docs that cannot drift: commands and targets the README names, a page for each room, the API's table, licences."""

import re
from pathlib import Path

import pytest
from fastapi.routing import iter_route_contexts
from web_support import make_site

from readingroom.cli.main import COMMANDS
from readingroom.core.config import Settings
from readingroom.core.database import Database
from readingroom.web.permissions import declared

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "readingroom"
ROOMS = sorted(p.name for p in PACKAGE.iterdir() if (p / "__init__.py").exists() and p.name != "migrations")


def test_readme_names_commands_that_exist() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    commands = set(re.findall(r"(?:^|`|/bin/)readingroom ([a-z]+)", text, re.MULTILINE))
    assert commands
    assert commands <= set(COMMANDS), commands - set(COMMANDS)
    targets = set(re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE))
    made = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert {"demo", "test"} <= targets
    assert targets <= made, targets - made


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_has_a_page(room: str) -> None:
    page = ROOT / "docs" / "rooms" / f"{room}.md"
    assert page.exists(), f"docs/rooms/{room}.md is missing"
    assert len(page.read_text("utf-8").split()) > 60


def test_links_lead_somewhere() -> None:
    broken = []
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8")):
            if "://" not in link and not link.startswith("mailto:") and not (page.parent / link).exists():
                broken.append(f"{page.relative_to(ROOT)} -> {link}")
    assert broken == []


def test_api_table_is_what_the_server_does(sqlite_database: Database, settings: Settings) -> None:
    """Methods, paths and permissions of docs/api.md are exactly those of the app."""
    written = {}
    for line in (ROOT / "docs" / "api.md").read_text("utf-8").replace("\\|", " or ").splitlines():
        if match := re.match(r"\| `(GET|POST|PUT|DELETE) (/[^`? ]*)[^|]*\| ([a-z:]+) \|", line):
            written[match[1], "/api/v1" + match[2]] = match[3]
    site = make_site(sqlite_database, settings)
    real = {}
    for context in iter_route_contexts(site.pages.routes):
        for method in context.methods or ():
            if (context.path or "").startswith("/api/v1"):
                (permission,) = declared(context)
                real[method, context.path] = permission.value
    assert written == real


def test_licence_beside_each_weights() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text("utf-8")
    folders = [p for p in (PACKAGE / "readers").glob("*/weights") if any(p.iterdir())]
    assert folders
    for folder in folders:
        assert (folder / "LICENSE").exists(), folder


def test_no_machine_paths_or_secrets_in_the_repository() -> None:
    """Paths of the machines this was written on."""
    words = ["/work" + "/main", "/work" + "/shared", "/root" + "/", "/opt" + "/wheels", "BEGIN" + " PRIVATE KEY"]
    found = []
    for top in ("readingroom", "scripts", "tests", "docs", "benchmarks", "Makefile", "README.md", ".ci"):
        start = ROOT / top
        for path in [start] if start.is_file() else start.rglob("*"):
            skip = {"node_modules", "static", "__pycache__", "output", "work"} & set(path.parts[len(ROOT.parts) :])
            if (
                path.is_file()
                and not skip
                and path.suffix in (".py", ".md", ".sh", ".ts", ".tsx", ".json", ".toml", "")
            ):
                text = path.read_text("utf-8", errors="replace")
                found += [f"{path.relative_to(ROOT)}: {word}" for word in words if word in text]
    assert found == []


def test_conformance_statement_names_tests_that_exist() -> None:
    claimed = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "conformance.md").read_text("utf-8")))
    assert claimed
    existing = {
        name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    assert claimed <= existing, claimed - existing
