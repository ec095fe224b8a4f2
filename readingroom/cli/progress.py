"""Progress of a long command on standard error: one line that rewrites itself on a terminal, else few plain lines."""

import sys

from readingroom.core.clock import monotonic


class ProgressLine:
    """Call with ``(step, fraction)``; call ``end`` once.

    A new step always shows. Within one a terminal's line is redrawn, and a log gets a line every 20 s.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._terminal = sys.stderr.isatty()
        self._shown_at = -60.0
        self._step = ""

    def __call__(self, step: str, fraction: float) -> None:
        now = monotonic()
        wait = 0.2 if self._terminal else 20.0
        if step == self._step and now - self._shown_at < wait:
            return
        self._shown_at, self._step = now, step
        text = f"{self._title}: {step} {min(1.0, max(0.0, fraction)):.0%}"
        print(f"\r\x1b[K{text}" if self._terminal else text, end="" if self._terminal else "\n", file=sys.stderr)
        sys.stderr.flush()

    def end(self) -> None:
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
