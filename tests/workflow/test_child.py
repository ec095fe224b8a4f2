"""The killable child: whatever a reader does, it fails alone and says why."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

import pytest

from readingroom.core.config import Settings
from readingroom.readers.tables import ReadingRow
from readingroom.workflow import process
from readingroom.workflow.process import ChildFailed, ChildStopped, run_child, scratch

TINY = "tiny-brightest"


@pytest.mark.parametrize(
    ("mode", "settings_change", "said"),
    [
        ("crash", {}, "RuntimeError"),
        ("exit", {}, "status 17"),
        ("hang", {"reader_timeout_seconds": 12.0}, "12 s"),
        ("memory", {"reader_memory_bytes": 1 << 30}, "memory"),
    ],
)
def test_a_reader_that_misbehaves_fails_alone(
    sqlite_story: Any,
    make_series: Any,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    settings_change: dict[str, Any],
    said: str,
) -> None:
    story = sqlite_story
    story.send(*make_series(slices=3))
    rooms = story.rooms
    object.__setattr__(rooms, "settings", rooms.settings.model_copy(update=settings_change))
    monkeypatch.setenv("TINY_READER_MODE", mode)
    story.work()
    page = story.page()
    (reading,) = page.readings
    assert reading.state == "failed"
    assert said in reading.reason
    assert "Doe" not in reading.reason
    assert page.state == "read", "the study goes on"
    assert "reader-failed" in [flag.code for flag in page.flags]
    assert not list(process.children_folder(rooms.settings).iterdir()), "nothing is left in the scratch folder"
    # It can be read again once the reader has been mended.
    monkeypatch.setenv("TINY_READER_MODE", "")
    story._run("study.reread", "", {"study_id": page.study_id, "revision": 1})
    assert story.states()[TINY] == "found"


def test_a_reader_that_cannot_be_imported_fails_alone(
    sqlite_story: Any, make_series: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINY_READER_MODE", "import")
    sqlite_story.send(*make_series(slices=3))
    sqlite_story.work()
    (reading,) = sqlite_story.page().readings
    assert (reading.state, "ImportError" in reading.reason) == ("failed", True)


def test_the_watch_stops_a_child_at_once(settings: Settings, with_tiny: None, monkeypatch: pytest.MonkeyPatch) -> None:
    # A fast machine's child has ended before it would be asked.
    monkeypatch.setattr(process, "ASK_SECONDS", 0.0)
    started = time.monotonic()
    with scratch(settings) as folder, pytest.raises(ChildStopped):
        run_child(settings, folder, {"task": "readers", "readers": []}, watch=lambda _s, _f: False)
    assert time.monotonic() - started < 10


def test_what_a_child_sees_of_the_environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READINGROOM_DATABASE_URL", "postgresql://secret")
    monkeypatch.setenv("SOME_TOKEN", "secret")
    monkeypatch.setenv("WANTED", "yes")
    chosen = settings.model_copy(update={"reader_environment": ("WANTED",)})
    seen = process._environment(chosen, settings.home, 3)
    assert "secret" not in " ".join(seen.values())
    assert (seen["WANTED"], seen["OMP_NUM_THREADS"]) == ("yes", "3")


CALL = """
import os, socket, sys
from readingroom.workflow.child import confine
if sys.argv[2] == "confined":
    confine(os.getppid(), 1 << 30)
try:
    socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5)
except OSError:
    sys.exit("nobody there")
"""


def test_a_child_reaches_nobody_over_the_network() -> None:
    """Not even this very machine. Where the kernel forbids namespaces there is nothing to show."""
    if subprocess.run(["unshare", "--user", "--net", "true"], capture_output=True).returncode != 0:
        pytest.skip("the kernel allows no network namespace here")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        call = lambda how: subprocess.run(  # noqa: E731
            [sys.executable, "-c", CALL, str(listener.getsockname()[1]), how], capture_output=True, text=True
        )
        assert call("free").returncode == 0
        assert "nobody there" in call("confined").stderr


CHATTER = "import sys; [sys.stderr.write('x' * 1024 + chr(10)) for _ in range(20000)]; raise MemoryError"
LEFT_BEHIND = "import subprocess, sys; subprocess.Popen(['sleep', '60']); sys.exit('gone')"


@pytest.mark.parametrize(
    ("program", "end"), [(CHATTER, b"MemoryError\n"), (LEFT_BEHIND, b"gone\n")], ids=["much", "held"]
)
def test_of_standard_error_the_end_is_kept(settings: Settings, program: str, end: bytes) -> None:
    """However much there is, and whoever still holds it open."""
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        complaint = process._watch(child, settings, lambda _step, _fraction: True)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
    assert complaint.endswith(end)
    assert len(complaint) <= process.LONGEST_COMPLAINT
    assert child.returncode == 1
    with pytest.raises(ChildFailed, match="memory" if program == CHATTER else "status 1"):
        process._result(child.returncode, complaint, settings.home)


def test_a_nul_character_in_a_result_is_left_out(settings: Settings) -> None:
    """Headers and readers' words hold them, and PostgreSQL keeps no such text."""
    said = {"reason\0": ["a\0b", {"c": 1.5}], "literally": "\\u0000"}
    with scratch(settings) as folder:
        (folder / "result.json").write_text(json.dumps(said))
        assert process._result(0, b"", folder) == {"reason": ["ab", {"c": 1.5}], "literally": "\\u0000"}
    assert process._progress(b'@progress ["lo\\u0000ok", 0.5]') == ("look", 0.5)


@pytest.mark.parametrize("text", ["[]", "{", "no json", "null", 100_000 * "["], ids=range(5))
def test_an_unusable_result_is_refused(settings: Settings, text: str) -> None:
    with scratch(settings) as folder:
        (folder / "result.json").write_text(text)
        with pytest.raises(ChildFailed):
            process._result(0, b"", folder)
        (folder / "result.json").unlink()
        os.symlink("/etc/passwd", folder / "result.json")
        with pytest.raises(ChildFailed):
            process._result(0, b"", folder)


def test_a_study_that_changes_while_it_is_read(
    sqlite_story: Any, make_series: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child is stopped, its reading superseded, and the new revision read."""
    import threading

    monkeypatch.setenv("TINY_READER_SECONDS", "60")
    story = sqlite_story
    images = make_series(slices=4)
    story.send(*images[:3])
    worker = threading.Thread(target=story.work)
    worker.start()
    end = time.monotonic() + 60
    while story.page().revision == 0 or story.states().get(TINY) != "reading":
        assert time.monotonic() < end
        time.sleep(0.2)
    monkeypatch.setenv("TINY_READER_SECONDS", "0")
    story.send(images[3])
    while worker.is_alive() and story.page().revision == 1:
        process_due(story)
        assert time.monotonic() < end
        time.sleep(0.2)
    worker.join(60)
    story.work()
    assert story.states()[TINY] == "found"
    with story.rooms.database.read() as session:
        states = {row.revision: row.state for row in session.query(ReadingRow)}
    assert states == {1: "superseded", 2: "found"}


def process_due(story: Any) -> None:
    from readingroom.workflow.worker import make_due_revisions

    make_due_revisions(story.rooms, story.installed)
