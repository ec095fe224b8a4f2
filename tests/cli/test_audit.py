"""``readingroom audit``: what it finds, what it exports, and that it says so itself."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from readingroom.access.audit.seals import seal_head
from readingroom.cli.main import main
from readingroom.core.audit import AuditCode, chained_hash, record_alone
from readingroom.core.clock import utc_now
from readingroom.core.config import load_settings
from readingroom.core.database import Database, upgrade


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder with six events, of which five are sealed."""
    home = tmp_path / "home"
    home.mkdir()
    settings = load_settings(home)
    database = Database(settings.index_url)
    upgrade(database.engine)
    for n in range(5):
        record_alone(database, AuditCode.QUERY, "worklist-search", "alice", detail={"n": n})
    assert seal_head(settings, database) is not None
    record_alone(database, AuditCode.QUERY, "worklist-search", "alice")
    database.close()
    return home


def alter(home: Path, statement: str) -> None:
    database = Database(load_settings(home).index_url)
    with database.engine.begin() as connection:
        for verb in ("update", "delete"):
            connection.execute(text(f"DROP TRIGGER audit_event_no_{verb}"))
        connection.execute(text(statement))
    database.close()


def test_an_audit_as_it_was_written(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "verify", "--home", str(home)]) == 0
    assert capsys.readouterr().out == "The audit is intact up to event 6; sealed up to event 5.\n"
    assert main(["audit", "verify", "--json", "--home", str(home)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["intact"], found["events"], found["sealed"], found["first_wrong"]) == (True, 7, 5, None)
    assert main(["audit", "export", "--after", "6", "--home", str(home)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["id"], line["action"], line["code"]) for line in lines] == [
        (7, "audit-verified", "110101"),
        (8, "audit-verified", "110101"),
        (9, "audit-exported", "110101"),
    ]


@pytest.mark.parametrize(
    ("statement", "first"),
    [
        ("UPDATE audit_event SET actor = 'bob' WHERE id = 3", 3),
        ("DELETE FROM audit_event WHERE id = 2", 2),
        ("DELETE FROM audit_event WHERE id > 3", 4),
    ],
)
def test_the_first_wrong_event_is_named(
    home: Path, statement: str, first: int, capsys: pytest.CaptureFixture[str]
) -> None:
    alter(home, statement)
    assert main(["audit", "verify", "--json", "--home", str(home)]) == 1
    assert json.loads(capsys.readouterr().out)["first_wrong"] == first
    # What is written since does not hide it.
    assert main(["audit", "verify", "--home", str(home)]) == 1
    out = capsys.readouterr().out
    assert "NOT INTACT" in out
    assert "First wrong event: " in out


def test_an_export_can_be_checked_elsewhere(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "readingroom.cli", "audit", "export", "--home", str(home)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    previous = "0" * 64
    for line in done.stdout.splitlines():
        row = json.loads(line)
        row["at"] = type(utc_now()).fromisoformat(row["at"])
        assert chained_hash(previous, row) == row["hash"]
        previous = row["hash"]


def test_without_an_index_it_is_a_sentence_and_makes_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "verify", "--home", str(tmp_path / "no")]) == 2
    assert capsys.readouterr().err.startswith("readingroom: There is no index in this home folder.")
    assert not (tmp_path / "no").exists()
