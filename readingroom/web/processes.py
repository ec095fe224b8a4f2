"""Which processes of ours run on this machine: each leaves ``processes/NAME.json`` in the home folder."""

import json
import time
from pathlib import Path
from typing import Any

import psutil

from readingroom.core.config import Settings


def processes(settings: Settings) -> list[dict[str, Any]]:
    """Return name, whether it runs, since when (seconds) and memory (bytes) of each process that announced itself."""
    folder = settings.home / "processes"
    return [_look(path) for path in sorted(folder.glob("*.json"))] if folder.is_dir() else []


def _look(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"name": path.stem, "running": False, "seconds": None, "memory_bytes": None, "pid": None}
    try:
        note = json.loads(path.read_text("utf-8"))
        process = psutil.Process(int(note["pid"]))
        with process.oneshot():
            # A number can have been given to another program since.
            same = abs(process.create_time() - float(note["created"])) < 2
            if same and process.status() != psutil.STATUS_ZOMBIE:
                found |= {"running": True, "pid": process.pid, "memory_bytes": process.memory_info().rss}
                found["seconds"] = round(time.time() - process.create_time())
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        pass
    return found
