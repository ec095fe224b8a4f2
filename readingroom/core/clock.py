"""Time: UTC for what is stored, monotonic for durations. Tests replace nothing here; they pass times in."""

import time
from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return now, in UTC, with its zone."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Return seconds on a clock that never goes back; only differences mean anything."""
    return time.monotonic()
