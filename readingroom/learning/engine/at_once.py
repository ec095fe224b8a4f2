"""Several folds' networks at one time, each in a process of its own.

On a CPU two processes of one thread train small networks faster than one of two threads, where half the time goes into
waiting for each other. What a network becomes depends on its fold alone, so the result is the same either way.
"""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor

from readingroom.core.errors import ReadingRoomError

Fold = Callable[[int, Callable[[], None]], object]
"""``of(fold, still)``: train one fold and leave the result in files; ``still()`` is called every few steps."""

_of: Fold | None = None


class Abandoned(ReadingRoomError):
    """The process that asked for this fold is gone; what was trained so far is kept."""

    code = "abandoned"


def each(of: Fold, folds: Sequence[int], processes: int) -> None:
    """Call ``of`` for all ``folds``, ``processes`` of them at one time, and raise what the first of them raised.

    Processes are forked: they share the examples, and nothing need be sent. They end with the one that asked.
    """
    global _of
    _of = of
    try:
        context = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(max(1, min(processes, len(folds))), context) as pool:
            for asked in [pool.submit(_one, fold, os.getpid()) for fold in folds]:
                asked.result()
    finally:
        _of = None


def _one(fold: int, parent: int) -> None:
    def still() -> None:
        if os.getppid() != parent:
            raise Abandoned("The training was ended.")

    assert _of is not None, "forked with it"
    _of(fold, still)
