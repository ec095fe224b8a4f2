"""Imports go one way: a room imports from rooms on floors below its own, and from ``core``. Nothing else.

The floors are those of ``docs/``'s picture of the house. Parsed, not imported: a guarded import counts as well.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent.parent / "readingroom"
FLOORS = {
    "core": 0, "imaging": 0,
    "findings": 1, "inference": 1, "access": 1, "evaluation": 1,
    "archive": 2, "readers": 2, "objects": 2,
    "intake": 3, "report": 3, "learning": 3,
    "worklist": 4,
    "workflow": 5, "review": 5,
    "web": 6, "cli": 7, "migrations": 7,
}  # fmt: skip
WORKFLOW_ENGINE = "dbos"


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if "node_modules" not in p.parts)


def imported(tree: ast.AST, package: tuple[str, ...]) -> Iterator[str]:
    """Yield full names of what a module imports, relative imports resolved."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            base = ".".join(part for part in (start, node.module or "") if part)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def room_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


def wrong(path: Path, source: str) -> list[str]:
    room = room_of(path)
    package = ("readingroom", *path.relative_to(PACKAGE).parts[:-1])
    found = set()
    for name in imported(ast.parse(source), package):
        parts = name.split(".")
        if parts[0] != "readingroom" or len(parts) < 2 or parts[1] not in FLOORS:
            continue
        other = parts[1]
        if other not in (room, "core") and FLOORS[other] >= FLOORS[room]:
            found.add(f"{room} (floor {FLOORS[room]}) imports {name} (floor {FLOORS[other]})")
    return sorted(found)


def test_every_room_has_a_floor() -> None:
    rooms = {p.name for p in PACKAGE.iterdir() if (p / "__init__.py").exists()}
    assert rooms == set(FLOORS)


@pytest.mark.parametrize("path", [p for p in modules() if room_of(p)], ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    assert wrong(path, path.read_text("utf-8")) == []


def test_the_picture_of_the_house_says_the_same() -> None:
    page = (PACKAGE.parent / "docs" / "house.md").read_text("utf-8")
    order = []
    for line in page.split("## Floors")[1].split("##")[0].splitlines():
        if line.startswith("|") and not line.startswith(("|---", "| floor")):
            rooms = line.split("|")[2]
            order.append({name for name in FLOORS if f"`{name}/`" in rooms})
    drawn = [sorted(rooms) for rooms in reversed(order)]
    top = max(FLOORS.values()) - 1
    held = [sorted(n for n, f in FLOORS.items() if min(f, top) == floor) for floor in range(top + 1)]
    assert drawn == held


def test_the_check_sees_what_it_must() -> None:
    path = PACKAGE / "findings" / "made_up.py"
    for line in (
        "import readingroom.web.app",
        "from readingroom.archive import store",
        "from readingroom import inference",
        "def f():\n    from readingroom.readers.contract import Card",
        "from ..archive.store import Store",
        "from .. import review",
    ):
        assert wrong(path, line), line
    for line in ("from readingroom.core import ids", "from readingroom.findings.model import Code", "import numpy"):
        assert wrong(path, line) == [], line


def test_core_stands_on_nothing() -> None:
    for path in (PACKAGE / "core").glob("*.py"):
        names = imported(ast.parse(path.read_text("utf-8")), ("readingroom", "core"))
        rooms = {n.split(".")[1] for n in names if n.startswith("readingroom.")}
        # The schema is brought up to date from the migrations' folder, which is found by path.
        assert rooms <= {"core", "__version__"}, path


def test_one_module_knows_the_workflow_engine() -> None:
    users = set()
    for path in modules():
        names = imported(ast.parse(path.read_text("utf-8")), ("readingroom", *path.relative_to(PACKAGE).parts[:-1]))
        if any(name.split(".")[0] == WORKFLOW_ENGINE for name in names):
            users.add(path.relative_to(PACKAGE).as_posix())
    assert users <= {"workflow/engine.py"}


def test_files_stay_small() -> None:
    # The first schema is written by a generator.
    written = (p for p in modules() if room_of(p) != "migrations")
    long = {str(p.relative_to(PACKAGE)): n for p in written if (n := len(p.read_text("utf-8").splitlines())) > 500}
    assert long == {}


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(p.relative_to(PACKAGE))
        for p in modules()
        if not ast.get_docstring(ast.parse(p.read_text("utf-8"))) and p.read_text("utf-8").strip()
    ]
    assert silent == []
