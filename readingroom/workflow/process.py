"""The parent's side of the killable child: starts it, watches its clock and its memory, and says how it ended.

Whatever the child does (crash, hang, eat memory, print nonsense) comes back as a ``ChildFailed`` with a sentence for
people; it never takes the worker with it.
"""

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from readingroom.core.clock import monotonic
from readingroom.core.config import Settings
from readingroom.core.errors import ReadingRoomError
from readingroom.workflow.child import PROGRESS

ASK_SECONDS = 1.0
"""How often ``watch`` is asked whether the child is still wanted."""
WATCH_SECONDS = 0.1
LONGEST_LINE = 65536
LONGEST_COMPLAINT = 65536
"""What is kept of standard error: its end, as there the reason of a crash stands."""
LARGEST_RESULT = 64 << 20
_PAGE = os.sysconf("SC_PAGE_SIZE")

Watch = Callable[[str, float], bool]
"""``watch(step, fraction)``, called about once a second and on progress: False stops the child."""


class ChildFailed(ReadingRoomError):
    """The child did not finish; the message says why, for people."""

    code = "child-failed"


class ChildStopped(ReadingRoomError):
    """The watch asked for an end: what the child works on is no longer wanted."""

    code = "child-stopped"


def children_folder(settings: Settings) -> Path:
    """Where children work; the worker empties it when it starts."""
    return settings.work_folder / "children"


@contextmanager
def scratch(settings: Settings) -> Iterator[Path]:
    """A folder for one child, emptied whatever happens."""
    parent = children_folder(settings)
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="child-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_child(
    settings: Settings, folder: Path, request: Mapping[str, Any], *, threads: int = 1, watch: Watch | None = None
) -> dict[str, Any]:
    """Run one task in ``folder`` and return its result.

    A child that something else killed (SIGKILL: the machine was short of memory, or a person) gets a second chance.
    Raises ChildFailed (crash, time, memory, unusable result) or ChildStopped (the watch said so).
    """
    status, complaint = _run(settings, folder, request, threads, watch)
    if status == -signal.SIGKILL:
        status, complaint = _run(settings, folder, request, threads, watch)
    return _result(status, complaint, folder)


def _run(
    settings: Settings, folder: Path, request: Mapping[str, Any], threads: int, watch: Watch | None
) -> tuple[int, bytes]:
    """Run the child to its end; return its exit status and the end of what it wrote to standard error."""
    limits = {"parent": os.getpid(), "memory_bytes": settings.reader_memory_bytes}
    process = subprocess.Popen(
        [sys.executable, "-m", "readingroom.workflow.child"],
        cwd=folder,
        env=_environment(settings, folder, threads),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    # Through a pipe: the keys of sealed files may lie in no file. Beside the watch: a child that hangs reads nothing.
    asking = threading.Thread(target=_ask, args=(process, json.dumps({**request, **limits}).encode()), daemon=True)
    asking.start()
    try:
        complaint = _watch(process, settings, watch or (lambda _step, _fraction: True))
    finally:
        # The whole group: a reader may have started processes of its own.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        asking.join()
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()
    return process.returncode, complaint


def _ask(process: subprocess.Popen[bytes], request: bytes) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin as pipe:
        pipe.write(request)


def _environment(settings: Settings, folder: Path, threads: int) -> dict[str, str]:
    """Return the little a child needs: no database address, no secret of the parent's."""
    kept = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "VIRTUAL_ENV", *settings.reader_environment)
    env = {name: os.environ[name] for name in kept if name in os.environ}
    number = str(max(threads, 1))
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "READINGROOM_READER_THREADS"):
        env[name] = number
    return {**env, "HOME": str(folder), "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1", "MALLOC_ARENA_MAX": "2"}


def _watch(process: subprocess.Popen[bytes], settings: Settings, watch: Watch) -> bytes:
    """Listen to the child until it ends; return the end of what it wrote to standard error."""
    assert process.stdout is not None
    assert process.stderr is not None
    os.set_blocking(process.stderr.fileno(), False)
    started = asked = monotonic()
    step, fraction, rest, complaint = "", 0.0, b"", b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        selector.register(process.stderr, selectors.EVENT_READ)
        while process.poll() is None:
            for key, _ in selector.select(WATCH_SECONDS) if selector.get_map() else ():
                data = os.read(key.fd, LONGEST_LINE)
                if not data:
                    selector.unregister(key.fileobj)
                elif key.fileobj is process.stderr:
                    complaint = (complaint + data)[-LONGEST_COMPLAINT:]
                else:
                    *lines, rest = (rest + data)[-LONGEST_LINE:].split(b"\n")
                    for line in lines:
                        step, fraction = _progress(line) or (step, fraction)
            if not selector.get_map():
                with suppress(subprocess.TimeoutExpired):
                    process.wait(WATCH_SECONDS)
            now = monotonic()
            if now - started > settings.reader_timeout_seconds:
                raise ChildFailed(f"Stopped after {settings.reader_timeout_seconds:.0f} s without an end.")
            if _memory(process.pid) > settings.reader_memory_bytes:
                raise ChildFailed(f"Used more than {settings.reader_memory_bytes >> 20} MiB of memory.")
            if now - asked > ASK_SECONDS:
                asked = now
                if not watch(step, fraction):
                    raise ChildStopped("No longer wanted.")
    with suppress(BlockingIOError):
        # All that a pipe can hold; who still writes to it is no longer waited for.
        complaint = (complaint + os.read(process.stderr.fileno(), 1 << 20))[-LONGEST_COMPLAINT:]
    return complaint


def _progress(line: bytes) -> tuple[str, float] | None:
    if not line.startswith(PROGRESS.encode()):
        return None
    try:
        step, fraction = json.loads(line[len(PROGRESS) :])
        return _without_nul(str(step))[:64], min(max(float(fraction), 0.0), 1.0)
    except (ValueError, TypeError):
        return None


def _without_nul(value: Any) -> Any:
    """Return a JSON value whose texts PostgreSQL keeps: headers and readers' words may hold NUL characters."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, list):
        return [_without_nul(one) for one in value]
    if isinstance(value, dict):
        return {_without_nul(name): _without_nul(one) for name, one in value.items()}
    return value


def _memory(pid: int) -> int:
    """Return the resident bytes of a process, 0 when it is gone (or where the system does not say, as macOS)."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0


def _result(status: int, complaint: bytes, folder: Path) -> dict[str, Any]:
    if status < 0:
        raise ChildFailed(f"Crashed ({signal.Signals(-status).name}).")
    path = folder / "result.json"
    if status != 0 or not path.is_file() or path.is_symlink():
        # Only the kind of error: its text may hold what it was about.
        reason = "Ran out of memory." if b"MemoryError" in complaint else f"Ended with status {status} and no result."
        raise ChildFailed(reason)
    if path.stat().st_size > LARGEST_RESULT:
        raise ChildFailed("Gave a result too large to keep.")
    try:
        result = _without_nul(json.loads(path.read_text("utf-8")))
    except (ValueError, RecursionError):
        raise ChildFailed("Gave a result that is not JSON.") from None
    if not isinstance(result, dict):
        raise ChildFailed("Gave a result of the wrong kind.")
    return result
