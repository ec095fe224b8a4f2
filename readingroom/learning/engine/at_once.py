"""Several folds' networks at one time, each in a process of its own.

On a CPU two processes of one thread train small networks faster than one of two threads, where half the time goes into
waiting for each other. What a network becomes depends on its fold alone, so the result is the same either way.
Processes are begun anew, not forked: a fork of a process that has threads may stand still for ever.
"""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection

from readingroom.core.errors import ReadingRoomError

Fold = Callable[[int, Callable[[], None]], None]
"""``of(fold, still)``: train one fold and leave the result in files; ``still()`` is called at every step. It travels
to another process, so it can be pickled."""


class NoWord(ReadingRoomError):
    """A process ended and did not say why: killed, or out of memory."""

    code = "no-word"


def each(of: Fold, folds: Sequence[int], processes: int) -> None:
    """Call ``of`` for all ``folds``, ``processes`` of them at one time; once all have ended, raise what one raised.

    The processes end with the one that asked, whatever ends that.
    """
    with ThreadPoolExecutor(max(1, min(processes, len(folds)))) as pool:
        ended = list(pool.map(lambda fold: _apart(of, fold), folds))
    error = next((one for one in ended if one is not None), None)
    if error is not None:
        raise error


def _apart(of: Fold, fold: int) -> BaseException | None:
    """Run one fold in a process and return what it raised."""
    context = multiprocessing.get_context("spawn")
    hear, say = context.Pipe(duplex=False)
    process = context.Process(target=_one, args=(of, fold, os.getpid(), say))
    process.start()
    say.close()
    try:
        error: BaseException | None = hear.recv()
    except EOFError:
        error = NoWord(f"The training of fold {fold + 1} ended without a word.", "Go on with --resume.")
    process.join()
    return error


def _one(of: Fold, fold: int, parent: int, say: Connection) -> None:
    def still() -> None:
        if os.getppid() != parent:
            os._exit(1)  # nobody is left to tell; what was kept stays

    try:
        of(fold, still)
    except Exception as error:
        say.send(error)
    else:
        say.send(None)
