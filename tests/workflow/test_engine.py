"""The engine: once by key, on from the last step after a kill, and work begun by older code is finished by newer."""

import os
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PROGRAM = """
import os, sys, threading, time
from pathlib import Path
from readingroom.core.permissions import Permission, job
from readingroom.workflow.engine import Engine, Registered

work = job(Permission.WORKFLOW_RUN)

url, executor, notes, plan = sys.argv[1:]
said = Path(notes)
finished = threading.Event()

def say(text):
    with said.open("a") as file:
        file.write(text + "\\n")

@work
def first(n):
    say(f"first {n}")
    return n + 1

@work
def second(n):
    say(f"second {n}")
    if plan == "die":
        os.kill(os.getpid(), 9)
    return {"n": n * 2}

@work
def count(steps, payload):
    a = steps.run("first", first, payload["n"])
    b = steps.run("second", second, a)
    say(f"done {b['n']}")
    finished.set()

engine = Engine(url, executor, {"topic": Registered("count_v1", count, "reading")}, queues={"reading": 1})
engine.launch()
if plan.startswith("take "):
    say(f"took {engine.recover(plan[5:])}")
else:
    engine.start("topic", "key-1", {"n": 1})
    engine.start("topic", "key-1", {"n": 1})
    engine.start("unknown", "key-2", {})
finished.wait(3 if plan == "again" else 20)
time.sleep(0.5)
engine.close()
os._exit(0)
"""


def run(url: str, executor: str, notes: Path, plan: str, *, code: str = PROGRAM) -> int:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    command = [sys.executable, "-c", textwrap.dedent(code), url, executor, str(notes), plan]
    return subprocess.run(command, env=environment, timeout=90).returncode


@pytest.fixture
def url(database_url: str, tmp_path: Path) -> str:
    """A workflow database beside the index: its own file, or the same server."""
    return database_url.replace("index.sqlite", "workflow.sqlite")


def test_once_by_key(url: str, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    assert run(url, "a", notes, "live") == 0
    assert run(url, "a", notes, "again") == 0, "the same key again, from another process"
    assert notes.read_text().split("\n") == ["first 1", "second 2", "done 4", ""]


def test_goes_on_from_the_last_step_after_a_kill(url: str, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    assert run(url, "a", notes, "die") == -9
    assert run(url, "a", notes, "live") == 0
    assert notes.read_text().split() == ["first", "1", "second", "2", "second", "2", "done", "4"]


def test_another_worker_takes_over_from_one_that_is_gone(url: str, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    assert run(url, "gone", notes, "die") == -9
    assert run(url, "b", notes, "take gone") == 0
    assert notes.read_text().split() == ["first", "1", "second", "2", "took", "1", "second", "2", "done", "4"]


def test_newer_code_finishes_what_older_code_began(url: str, tmp_path: Path) -> None:
    """Other code under the same name, and other workflows beside it: the application version is pinned."""
    notes = tmp_path / "notes"
    assert run(url, "a", notes, "die") == -9
    newer = PROGRAM.replace('    say(f"done', '    # a line more than before\n    say(f"done').replace(
        '{"topic": Registered("count_v1", count, "reading")}',
        '{"topic": Registered("count_v2", work(lambda s, p: None), "reading"), '
        '"old": Registered("count_v1", count, "reading")}',
    )
    assert newer != PROGRAM
    assert run(url, "a", notes, "take nobody", code=newer) == 0
    assert notes.read_text().split() == ["first", "1", "second", "2", "took", "0", "second", "2", "done", "4"]


def test_no_pickle_and_wal(tmp_path: Path) -> None:
    path = tmp_path / "workflow.sqlite"
    assert run(f"sqlite:///{path}", "a", tmp_path / "notes", "live") == 0
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    rows = connection.execute("SELECT inputs, serialization, application_version FROM workflow_status").fetchall()
    assert {row[1:] for row in rows} == {("portable_json", "1")}
    columns = [row[1] for row in connection.execute("PRAGMA table_info(operation_outputs)")]
    outputs = connection.execute(f"SELECT {', '.join(columns)} FROM operation_outputs").fetchall()
    assert outputs
    assert "gASV" not in repr(outputs), "base64 of a pickle"
    connection.close()
