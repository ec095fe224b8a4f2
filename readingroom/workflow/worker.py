"""The worker process: finds studies that are due, relays the outbox to the engine, renders JSON when there is time.

Images are decoded, networks run and objects encoded in killable children, so this process stays small and nothing a
reader does ends it.
"""

import fcntl
import logging
import os
import platform
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from sqlalchemy import select

from readingroom.access import consent
from readingroom.access.audit.chain import check as check_audit
from readingroom.access.audit.seals import seal_head
from readingroom.archive.render_json import render_after
from readingroom.archive.revisions import due_reason, due_studies
from readingroom.core.clock import monotonic, utc_now
from readingroom.core.config import Settings
from readingroom.core.errors import Conflict
from readingroom.core.ids import sha256_hex
from readingroom.core.outbox import relay
from readingroom.core.permissions import Permission, job, permission_of
from readingroom.learning.drift.watch import Source
from readingroom.readers.tables import ReadingRow
from readingroom.report.tables import ReportRow
from readingroom.workflow import leases
from readingroom.workflow.drift import watch_drift
from readingroom.workflow.engine import Engine, Registered, kind_and_place
from readingroom.workflow.installed import Installed
from readingroom.workflow.process import children_folder
from readingroom.workflow.rejected import reject_images
from readingroom.workflow.revise import is_settled, revise, settle_held
from readingroom.workflow.rooms import Rooms
from readingroom.workflow.shadow import SHADOW_TOPIC, shadow_study
from readingroom.workflow.signed import write_addendum, write_report
from readingroom.workflow.study import read_study, reread_study
from readingroom.workflow.withdrawn import REMOVERS, withdraw_consent
from readingroom.worklist.urgent import life

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.4
FAILED_SECONDS = 2.0
HELD_SECONDS = 1.0
URGENT_SECONDS = 1.0
EXPIRY_SECONDS = 60.0
SEAL_SECONDS = 60.0
CHECK_SECONDS = 3600.0
DRIFT_SECONDS = 300.0
FIRST_SWEEP_SECONDS = 600.0
SWEEP_SECONDS = 86_400.0
RENDER_BATCH = 20
RENDER_REST_SECONDS = 1.0
RENDER_ROUND_SECONDS = 600.0
"""How often everything is looked at, not only what is new: corrections, what failed."""

QUEUES = {"reading": 1, "quick": 16, "shadow": 1}
"""Queue -> workflows at a time. Studies are read one by one: two networks on two cores help nobody.
A report whose objects cannot be written waits in its place for an hour at most, and must not hold up the others.
Versions in shadow wait in a queue of their own: no study waits for them."""


def workflows(rooms: Rooms, installed: Installed) -> dict[str, Registered]:
    """Return outbox topic -> workflow. A name, once used, keeps its steps; changed steps get a new name."""
    return {
        "study.revision": Registered("read_study_v1", partial(read_study, rooms), "reading"),
        "study.reread": Registered("reread_study_v1", partial(reread_study, rooms), "reading"),
        SHADOW_TOPIC: Registered("shadow_study_v1", partial(shadow_study, rooms), "shadow"),
        "images.rejected": Registered("reject_images_v1", partial(reject_images, rooms, installed), "quick"),
        "report.signed": Registered("write_report_v1", partial(write_report, rooms), "quick"),
        "report.addendum": Registered("write_addendum_v1", partial(write_addendum, rooms), "quick"),
        consent.WITHDRAWN_TOPIC: Registered("withdraw_consent_v1", partial(withdraw_consent, rooms, REMOVERS), "quick"),
    }


def executor_of(home: Path) -> str:
    """Return the name that the worker of this home on this host works under: the same after a restart, so that it
    takes up its own work, and another than that of a second home, whose work is none of its."""
    return f"{platform.node()[:64]}-{sha256_hex(str(home.resolve()))[:16]}-worker"


def run_worker(
    settings: Settings, stop: threading.Event, judged: Source, ready: Callable[[], None] | None = None
) -> None:
    """Work until ``stop`` is set. ``ready`` is called once work is taken. Raises Conflict for a second worker.

    ``judged``: what signed reports tell about readers; ``review`` knows that, so whoever starts the worker gives it.
    """
    executor_id = executor_of(settings.home)
    with _only_one(settings.home / "worker.lock"):
        # Nobody else works here now: what lies there is a killed child's.
        shutil.rmtree(children_folder(settings), ignore_errors=True)
        rooms = Rooms.open(settings)
        installed = Installed(rooms)
        engine = Engine(settings.workflow_url, executor_id, workflows(rooms, installed), queues=QUEUES)
        engine.launch()
        for background, *rest in ((_render,), (_sweep,), (_keep_audit,), (_watch_drift, judged), (_beat, engine)):
            arguments = (rooms, stop, *rest)
            permission_of(background)
            threading.Thread(target=background, args=arguments, name=background.__name__, daemon=True).start()
        if ready is not None:
            ready()
        try:
            _work(rooms, engine, installed, stop)
        finally:
            with rooms.database.write() as session:
                leases.leave(session, executor_id)
            engine.close()
            rooms.database.close()


def _work(rooms: Rooms, engine: Engine, installed: Installed, stop: threading.Event) -> None:
    chores = (
        _Every(0.0, partial(make_due_revisions, rooms, installed)),
        _Every(0.0, partial(relay, rooms.database, engine.start)),
        _Every(HELD_SECONDS, partial(_settle_held, rooms)),
        _Every(URGENT_SECONDS, partial(escalate_urgent, rooms)),
        _Every(EXPIRY_SECONDS, partial(_expire_consent, rooms)),
    )
    while not stop.is_set():
        busy, failed = 0, False
        # One that fails holds up no other: a study nobody foresaw must not keep rejections from being relayed.
        for do in chores:
            try:
                busy += do()
            except Exception as error:
                # A full disk or a database that is away: the kind is logged, the work waits.
                log.error("worker: %s; trying again", kind_and_place(error))
                failed = True
        stop.wait(FAILED_SECONDS if failed else 0.0 if busy else LOOK_SECONDS)


@job(Permission.WORKFLOW_RUN)
def make_due_revisions(rooms: Rooms, installed: Installed) -> int:
    """Make a revision of each study that is due. Returns how many. Raises, at the end, what one of them raised."""
    with rooms.database.read() as session:
        due = due_studies(session, utc_now(), rooms.settings.quiet_seconds)
    made = 0
    failed: Exception | None = None
    for study_id in due:
        readers = installed()
        try:
            with rooms.database.write() as session:
                made += revise(session, study_id, due_reason(session, study_id), readers) is not None
        except Exception as error:
            failed = error
    if failed is not None:
        raise failed
    return made


class _Every:
    """Does a background job at most once in ``seconds``. Raises LookupError for one that declares no permission."""

    def __init__(self, seconds: float, do: Callable[[], int | None]) -> None:
        permission_of(do)
        self._seconds, self._do = seconds, do
        self._next = monotonic()

    def __call__(self) -> int:
        """Return how much it did."""
        if monotonic() < self._next:
            return 0
        self._next = monotonic() + self._seconds
        return self._do() or 0


@job(Permission.WORKFLOW_RUN)
def _settle_held(rooms: Rooms) -> None:
    with rooms.database.read() as session:
        settled = is_settled(session)
    if not settled:
        with rooms.database.write() as session:
            settle_held(session)


@job(Permission.WORKFLOW_RUN)
def escalate_urgent(rooms: Rooms) -> None:
    """Take urgent alerts further that nobody has acknowledged in time."""
    now = utc_now()
    with rooms.database.read() as session:
        due = life.is_due(session, now)
    if due:
        with rooms.database.write() as session:
            life.escalate(session, rooms.settings.urgent, now)


@job(Permission.CONSENT_APPLY)
def _expire_consent(rooms: Rooms) -> None:
    with rooms.database.write() as session:
        consent.expire(session)


@job(Permission.WORKFLOW_RUN)
def _beat(rooms: Rooms, stop: threading.Event, engine: Engine) -> None:
    """Say that this worker lives, whatever its main thread waits for, and take over from those that do not."""
    while True:
        try:
            _heartbeat(rooms, engine)
        except Exception as error:
            log.error("heartbeat: %s; trying again", kind_and_place(error))
        if stop.wait(leases.HEARTBEAT_SECONDS):
            return


def _heartbeat(rooms: Rooms, engine: Engine) -> None:
    with rooms.database.write() as session:
        leases.beat(session, engine.executor_id)
        gone = leases.expired(session, engine.executor_id)
    for executor_id in gone:
        taken = engine.recover(executor_id)
        log.info("took over %d workflows of a worker that is gone", taken)
        with rooms.database.write() as session:
            leases.forget(session, executor_id)


@job(Permission.STORE_SWEEP)
def _sweep(rooms: Rooms, stop: threading.Event) -> None:
    """Once a day delete stored bytes that nothing names: what a kill between store and index leaves."""
    _step_back()
    wait = FIRST_SWEEP_SECONDS
    while not stop.wait(wait):
        wait = SWEEP_SECONDS
        try:
            with rooms.database.read() as session:
                arrays = session.scalars(select(ReadingRow.arrays)).all()
                objects = session.scalars(select(ReportRow.objects)).all()
            # A report's objects are UIDs but for FHIR, which is a key; a UID among the keys does no harm.
            rooms.archive.sweep_orphans(elsewhere={key for named in (*arrays, *objects) for key in named.values()})
        except Exception as error:
            log.error("sweeping: %s; trying again tomorrow", kind_and_place(error))


@job(Permission.STUDY_READ)
def _render(rooms: Rooms, stop: threading.Event) -> None:
    _step_back()
    after, round_ends = 0, monotonic() + RENDER_ROUND_SECONDS
    while not stop.is_set():
        done = 0
        if monotonic() > round_ends:
            after, round_ends = 0, monotonic() + RENDER_ROUND_SECONDS
        try:
            done, after = render_after(rooms.archive, after, RENDER_BATCH)
        except Exception as error:
            log.error("rendering: %s; trying again", kind_and_place(error))
        stop.wait(0.01 if done else RENDER_REST_SECONDS)


@job(Permission.AUDIT_KEEP)
def _keep_audit(rooms: Rooms, stop: threading.Event) -> None:
    """Seal the audit's newest event each minute, and look at the whole of it now and then."""
    _step_back()
    check = _Every(CHECK_SECONDS, partial(_check_audit, rooms))
    while True:
        try:
            seal_head(rooms.settings, rooms.database)
            check()
        except Exception as error:
            log.error("keeping the audit: %s; trying again", kind_and_place(error))
        if stop.wait(SEAL_SECONDS):
            return


@job(Permission.AUDIT_KEEP)
def _check_audit(rooms: Rooms) -> None:
    found = check_audit(rooms.settings, rooms.database)
    if not found.intact:
        log.error("the audit is not as it was written; readingroom audit verify says more")


@job(Permission.DRIFT_WATCH)
def _watch_drift(rooms: Rooms, stop: threading.Event, judged: Source) -> None:
    _step_back()
    while not stop.wait(DRIFT_SECONDS):
        try:
            watch_drift(rooms.database, judged, stop)
        except Exception as error:
            log.error("watching for drift: %s; trying again", kind_and_place(error))


def _step_back() -> None:
    """Lower this thread's priority; on Linux it is the thread's, not the process's."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 15)


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Hold the lock file; two workers under one executor id would run each workflow twice."""
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Conflict("A worker already runs in this home folder.", "Stop it first.") from None
        yield
