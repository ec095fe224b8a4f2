"""Sealing a store that is plain, and rotating the keys of a sealed one, beside the processes that use it.

Both walk the files and change one at a time, each whole or not at all; killed anywhere, the next run goes on. An object
that does not open is counted and left as it is, and then no key is destroyed.
"""

import fcntl
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from readingroom.access.projects import DEFAULT_PROJECT
from readingroom.archive.keyring import KeyRing
from readingroom.archive.store import LocalStore
from readingroom.core.errors import BadInput, Conflict, ReadingRoomError

log = logging.getLogger(__name__)

Report = Callable[[int], None]
"""``report(done)``: how many objects have been looked at."""


@dataclass(frozen=True)
class Rotated:
    """``wrapped``: objects that are under a new key now; ``broken``: that do not open, left as they are; ``destroyed``:
    keys that open nothing any more and are gone."""

    wrapped: int
    broken: int
    destroyed: int


def seal_store(
    store: LocalStore, named: Collection[str], project_of: Mapping[str, int], report: Report = lambda _done: None
) -> int:
    """Seal every plain object among the keys ``named``. Returns how many.

    What no row names is left to the sweep: it may be on its way in, by a process that started before the setting.
    """
    sealed = 0
    with _alone(_ring(store)):
        store.clear_parts()
        for done, key in enumerate(store.plain_keys(), 1):
            if key in named:
                sealed += store.seal_plain(key, project_of.get(key, DEFAULT_PROJECT))
            report(done)
    return sealed


def rotate(
    store: LocalStore,
    project_of: Mapping[str, int],
    projects: Collection[int] = (),
    report: Report = lambda _done: None,
) -> Rotated:
    """Give ``projects`` (all that have a key, where empty) a new key, wrap every object's data key with it, and destroy
    the old one. Pixels are not written again.

    Where the last rotation of a project did not end, that one is ended and the project gets no further key.
    ``project_of``: store key -> project; an object whose study has moved follows it.
    """
    ring = _ring(store)
    with _alone(ring):
        ring.seal_anew()
        wrapped = dict.fromkeys(ring.projects(), 0)
        if ring.superseded():
            _round(store, project_of, wrapped, report)
        for project in projects or list(wrapped):
            if not wrapped.get(project):
                ring.renew(project)
        # Until a round finds nothing to do: only then is no object left under an old key.
        done = -1
        while done < sum(wrapped.values()):
            done = sum(wrapped.values())
            broken = _round(store, project_of, wrapped, report)
        old = [] if broken else ring.superseded()
        for key in old:
            ring.destroy(key)
    return Rotated(done, broken, len(old))


def _round(store: LocalStore, project_of: Mapping[str, int], wrapped: dict[int, int], report: Report) -> int:
    """Bring every object under its project's key, counting in ``wrapped``. Returns how many do not open."""
    broken = 0
    for done, key in enumerate(store.sealed_keys(), 1):
        project = project_of.get(key, DEFAULT_PROJECT)
        try:
            if store.wrap_anew(key, project):
                wrapped[project] = wrapped.get(project, 0) + 1
        except ReadingRoomError as error:
            broken += 1
            log.error("a stored object does not open: %s", error.code)
        report(done)
    return broken


def _ring(store: LocalStore) -> KeyRing:
    if store.ring is None:
        raise BadInput("The store is not sealed.", "Set store_encryption = true, start everything again, then this.")
    return store.ring


@contextmanager
def _alone(ring: KeyRing) -> Iterator[None]:
    with (ring.folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Conflict("Another command seals or rotates this store.", "Wait for its end.") from None
        yield
