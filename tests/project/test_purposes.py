"""Rooms that use patients' data for anything but the patients' own care ask the one port (``access.consent``).

Parsed, not run: a room that is added later falls under these rules without a line here. At run time ``for_purpose``
fails where what it declares was never asked.
"""

import ast
from pathlib import Path

import pytest

from readingroom.workflow.withdrawn import REMOVERS

PACKAGE = Path(__file__).parent.parent.parent / "readingroom"
# Rooms that work for the care of the very patient whose data they look at, or that look at no patient. A room is added
# here on purpose, with the reason. ``workflow`` asks for care before a reader reads.
FOR_CARE = {
    "core", "imaging", "findings", "inference", "access", "migrations",  # look at nobody, or keep the rules
    "archive", "intake", "readers", "objects", "report", "review", "worklist", "workflow", "web", "cli",
}  # fmt: skip
PATIENTS_DATA = ("readingroom.archive", "readingroom.readers.tables", "readingroom.report", "readingroom.review")


def names(tree: ast.AST) -> tuple[set[str], set[str]]:
    """Return full names of what a module imports, and the last names of what it calls or decorates with."""
    imported, called = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Call):
            function = node.func
            called.add(function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", ""))
    return imported, called


def takes_data_without_asking(room: str, source: str) -> bool:
    """Whether a module of ``room`` reaches patients' data and neither declares what for nor asks."""
    imported, called = names(ast.parse(source))
    takes = any(name == where or name.startswith(f"{where}.") for name in imported for where in PATIENTS_DATA)
    return room not in FOR_CARE and takes and "for_purpose" not in called


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if len(p.relative_to(PACKAGE).parts) > 1)


def test_no_room_takes_data_without_saying_what_for() -> None:
    silent = [
        str(path.relative_to(PACKAGE))
        for path in modules()
        if takes_data_without_asking(path.relative_to(PACKAGE).parts[0], path.read_text("utf-8"))
    ]
    assert silent == []


def test_every_room_that_makes_something_of_patients_can_take_them_out_again() -> None:
    makers = {
        path.relative_to(PACKAGE).parts[0]
        for path in modules()
        if "readingroom.access.uses.used" in names(ast.parse(path.read_text("utf-8")))[0]
    }
    assert makers == set(REMOVERS)


def test_a_room_of_care_has_no_other_purpose() -> None:
    """One that begins to serve research, training or teaching leaves the list above."""
    for path in modules():
        if path.relative_to(PACKAGE).parts[0] in FOR_CARE:
            _, called = names(ast.parse(path.read_text("utf-8")))
            assert "for_purpose" not in called, path


@pytest.mark.parametrize(
    ("room", "source", "wrong"),
    [
        ("learning", "from readingroom.archive.tables import Study", True),
        ("learning", "import readingroom.archive.store", True),
        ("teaching", "def f():\n    from readingroom import archive\n    from readingroom.archive import wado", True),
        ("learning", "from readingroom.access.consent import for_purpose\nfrom readingroom.archive import wado", True),
        (
            "learning",
            "from readingroom.archive.tables import Study\n@for_purpose(Purpose.TRAINING)\ndef train(): ...",
            False,
        ),
        ("learning", "from readingroom.findings.model import Code", False),
        ("review", "from readingroom.archive.tables import Study", False),
    ],
)
def test_the_check_sees_what_it_must(room: str, source: str, wrong: bool) -> None:
    assert takes_data_without_asking(room, source) is wrong
