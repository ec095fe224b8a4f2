"""The threat model cannot drift: every entrance has all of STRIDE, every line a test, and every test exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "docs" / "threat-model.md").read_text("utf-8")
SECTIONS = {part.splitlines()[0]: part for part in TEXT.split("\n## ")[1:]}
ENTRANCES = [name for name, part in SECTIONS.items() if "| threat |" in part]


def lines(entrance: str) -> list[list[str]]:
    rows = re.findall(r"^\| ([STRIDE]) \|(.*)\|$", SECTIONS[entrance], re.MULTILINE)
    return [[letter, *(cell.strip() for cell in rest.split(" | "))] for letter, rest in rows]


def test_every_entrance_is_there() -> None:
    words = " ".join(ENTRANCES).lower()
    for entrance in (
        "dicom network",
        "dicomweb",
        "pages",
        "import",
        "fhir",
        "command line",
        "readers",
        "peers",
        "store",
    ):
        assert entrance in words
    assert "browser" in words


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_every_entrance_has_all_of_stride(entrance: str) -> None:
    rows = lines(entrance)
    assert [row[0] for row in rows] == list("STRIDE")
    for row in rows:
        assert len(row) == 4, row
        assert all(row), row
        assert re.search(r"`test_\w+`", row[3]), row


def test_every_test_it_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", TEXT))
    existing = {
        name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    assert named - existing == set()
