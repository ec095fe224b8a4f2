"""The killable child: everything that decodes pixels, runs a network or encodes objects happens in here.

``python -m readingroom.workflow.child`` in a scratch folder of its own. The request, on standard input, names files
(with the keys of those that are sealed) and a task; results are files in that folder; progress goes to standard output,
one line a step. The child limits itself before it imports anything heavy: it dies with its parent, is nice, has no
network where the kernel allows that, and cannot map much more memory than it may use. The parent watches the clock and
the memory (``workflow/process.py``).
"""

import ctypes
import json
import os
import resource
import signal
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

PROGRESS = "@progress "
"""Starts a line of standard output that the parent reads; everything else there is the reader's own chatter."""

TASKS = {
    "readers": "readingroom.workflow.child_read",
    "intake": "readingroom.workflow.child_read",
    "read": "readingroom.workflow.child_read",
    "convert": "readingroom.workflow.child_convert",
    "encode": "readingroom.workflow.child_write",
    "report": "readingroom.workflow.child_write",
}
"""Task -> the module whose function of that name does it."""

_PR_SET_PDEATHSIG = 1
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_HEADROOM = 512 << 20
"""Address space a library may reserve above what it may touch; the parent's watch is the exact limit."""


def confine(parent: int, memory_bytes: int) -> None:
    """Limit this process; must run before any thread starts."""
    libc = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "linux":
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(0)  # the parent was gone before the line above
    os.nice(10)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    limit = memory_bytes + memory_bytes // 2 + _HEADROOM
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    # Best effort: a container may forbid namespaces.
    if sys.platform == "linux" and libc.unshare(_CLONE_NEWNET) != 0:
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


def main() -> int:
    """Run the task that the request names."""
    request: dict[str, Any] = json.loads(sys.stdin.buffer.read())
    confine(request["parent"], request["memory_bytes"])
    # Imported only now: the limits hold for everything this brings in, and each task brings in its own.
    module = import_module(TASKS[request["task"]])
    result = getattr(module, request["task"])(request)
    Path("result.part").write_text(json.dumps(result), "utf-8")
    Path("result.part").rename("result.json")
    return 0


def report_progress(step: str, fraction: float) -> None:
    """Tell the parent how far the task is."""
    with suppress(BrokenPipeError):
        sys.stdout.write(f"{PROGRESS}{json.dumps([str(step)[:64], round(min(max(fraction, 0.0), 1.0), 3)])}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
