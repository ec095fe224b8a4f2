"""Several folds' networks at one time, each in a process of its own.

On a CPU two processes of one thread train small networks faster than one of two threads, where half the time goes into
waiting for each other. What a network becomes depends on its fold alone, so the result is the same either way.
"""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor

Fold = Callable[[int], object]
"""Train one fold and leave the result in files."""

_of: Fold | None = None


def each(of: Fold, folds: Sequence[int], processes: int) -> None:
    """Call ``of`` for all ``folds``, ``processes`` of them at one time, and raise what the first of them raised.

    Processes are forked: they share the examples, and nothing need be sent. They end with the one that asked.
    """
    global _of
    _of = of
    try:
        context = multiprocessing.get_context("fork")
        workers = max(1, min(processes, len(folds)))
        with ProcessPoolExecutor(workers, context, _end_with, (os.getpid(),)) as pool:
            for asked in [pool.submit(_one, fold) for fold in folds]:
                asked.result()
    finally:
        _of = None


def _end_with(parent: int) -> None:
    """End this process soon after ``parent`` is gone, whatever it is doing or waiting for: it holds the run's folder.

    Cut off anywhere, it leaves what any kill leaves: the state that was kept last.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _one(fold: int) -> None:
    assert _of is not None, "forked with it"
    _of(fold)
