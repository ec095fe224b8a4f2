"""``readingroom serve`` and ``demo`` as they run for people: what starts, what it costs, what comes back, what ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from pydicom.dataset import Dataset
from sqlalchemy import func, select
from support import free_port

from readingroom.access.audit.chain import verify_here
from readingroom.archive.tables import Instance
from readingroom.core.audit import AuditEvent
from readingroom.core.config import load_settings
from readingroom.core.database import Database

IDLE_BYTES = 500 << 20


@contextmanager
def running(home: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    log = home.parent / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "readingroom.cli", *arguments, "--home", str(home)],
            stdout=out, stderr=subprocess.STDOUT, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
    try:
        yield process, log
    finally:
        process.terminate()
        try:
            process.wait(30)
        finally:
            process.kill()


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"did not happen within {seconds:.0f} s: {what}"
        time.sleep(0.1)


def notes(home: Path) -> dict[str, dict[str, object]]:
    return {path.stem: json.loads(path.read_text()) for path in (home / "processes").glob("*.json")}


def test_serve_starts_costs_restarts_and_ends(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    web = free_port()
    (home / "config.toml").write_text(f"web_port = {web}\nviewer_port = {free_port()}\ndicom_port = {free_port()}\n")
    with running(home, "serve") as (supervisor, log):
        wait_until(lambda: b"readingroom ready" in log.read_bytes(), "ready")
        with urllib.request.urlopen(f"http://127.0.0.1:{web}/health", timeout=10) as answer:
            assert answer.status == 200
        # An empty home has no account: the link that is printed makes the first one.
        wait_until(lambda: b"/set-up#" in log.read_bytes(), "the link")
        (token,) = re.findall(rf"  http://127.0.0.1:{web}/set-up#(\S+)\n", log.read_text())
        body = json.dumps({"token": token, "name": "root", "password": "tinfoil kettle ostrich"}).encode()
        asked = urllib.request.Request(
            f"http://127.0.0.1:{web}/api/v1/set-up", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(asked, timeout=30) as answer:
            assert json.load(answer)["account"]["role"] == "administrator"
        family = [psutil.Process(supervisor.pid), *psutil.Process(supervisor.pid).children(recursive=True)]
        assert sum(process.memory_info().rss for process in family) <= IDLE_BYTES
        # A second one in the same home is refused in a sentence.
        second = subprocess.run(
            [sys.executable, "-m", "readingroom.cli", "serve", "--home", str(home)], capture_output=True, text=True
        )
        assert (second.returncode, "Another readingroom runs" in second.stderr) == (2, True)
        # Each process is started again alone.
        before = notes(home)
        assert set(before) >= {"receive", "web", "worker", "deliver"}
        for name in ("web", "worker"):
            os.kill(int(str(before[name]["pid"])), signal.SIGKILL)
        wait_until(
            lambda: all(
                notes(home)[name]["ready"] and notes(home)[name]["pid"] != before[name]["pid"]
                for name in ("web", "worker")
            ),
            "both are back",
        )
        assert notes(home)["deliver"]["pid"] == before["deliver"]["pid"]
        family = psutil.Process(supervisor.pid).children(recursive=True)
        supervisor.terminate()
        assert supervisor.wait(30) == 0
        _gone, left = psutil.wait_procs(family, timeout=10)
        assert left == []
        assert not notes(home), "nobody says that he runs"
    # Everything that started and stopped is audited, and sealed to the last event.
    settings = load_settings(home)
    database = Database(settings.index_url)
    found = verify_here(settings, database)
    assert (found.problem, found.sealed) == ("", found.events)
    with database.read() as session:
        activity = select(AuditEvent.action, AuditEvent.actor).where(AuditEvent.code == "110100")
        told = Counter((action, actor.split("@")[0]) for action, actor in session.execute(activity))
    for name in ("web", "worker"):
        assert (told["process-started", name], told["process-stopped", name]) == (2, 1), "the first ones were killed"
    for name in ("receive", "deliver"):
        assert (told["process-started", name], told["process-stopped", name]) == (1, 1)
    database.close()


def test_children_die_with_a_killed_supervisor(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "config.toml").write_text(
        f"web_port = {free_port()}\nviewer_port = {free_port()}\ndicom_port = {free_port()}\n"
    )
    with running(home, "serve") as (supervisor, log):
        wait_until(lambda: b"readingroom ready" in log.read_bytes(), "ready")
        family = psutil.Process(supervisor.pid).children(recursive=True)
        supervisor.kill()
        _gone, left = psutil.wait_procs(family, timeout=20)
        assert left == []


def test_demo_takes_a_folder_once_and_says_what_to_do(
    tmp_path: Path, make_series: Callable[..., list[Dataset]]
) -> None:
    home, study = tmp_path / "demo", tmp_path / "study"
    study.mkdir()
    for n, ds in enumerate(make_series(slices=4)):
        ds.save_as(study / f"{n}.dcm", enforce_file_format=True)
    (study / "README.txt").write_text("not DICOM")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        passwords = []
        for said in ("Sent 4 images by C-STORE, 0 refused", "The study is on the worklist"):
            with running(home, "demo", "--study", str(study), "--port", str(port)) as (_process, log):
                wait_until(lambda said=said: said in log.read_text(), said)  # type: ignore[misc]
                text = log.read_text()
            assert f"Port {port} is taken: the pages port is" in text
            assert "/set-up#" not in text
            for words in ("radiologist", "storescu -aec READINGROOM", "OHIF", "Research use only"):
                assert words in text
            passwords.append(re.findall(r"radiologist   password (\S+)", text)[0])
    assert passwords[0] != passwords[1], "they are kept nowhere"
    assert not any(passwords[0].encode() in path.read_bytes() for path in home.rglob("*") if path.is_file())
    database = Database(f"sqlite:///{home / 'index.sqlite'}")
    with database.read() as session:
        received = select(func.count(Instance.id)).where(Instance.origin == "received")
        assert session.scalar(received) == 4
    database.close()


def test_demo_without_its_folder_is_a_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "readingroom.cli", "demo", "--study", str(tmp_path / "no"), "--home", str(tmp_path)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr.split("\n")[0]) == (2, "readingroom: The study's folder is not there.")
