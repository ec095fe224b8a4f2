"""Durable workflows: the one module that knows DBOS.

A workflow is a function of ids that calls named steps. The outcome of each step is written down before the next one
starts, so a workflow that is killed goes on from there, in this process or another. A step runs at least once: it must
do no harm when it runs again. Inputs and outcomes are small JSON values made of ids and digests; no patient data ever
reaches the workflow database.

Workflow names carry a version (``read_study_v1``) and the application version is pinned: after an upgrade, work begun
by older code goes on under the name it began with. To change a workflow's steps, register a new name beside the old
function and send new work there.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID
from sqlalchemy import Engine as SqlEngine
from sqlalchemy import create_engine, event

from readingroom.core.permissions import permission_of

log = logging.getLogger(__name__)

APPLICATION_VERSION = "1"
"""Pinned: work begun by an earlier version of the code is recovered by a later one."""
APPLICATION_NAME = "readingroom"
POLL_SECONDS = 0.5

Payload = Mapping[str, Any]
T = TypeVar("T")


class Steps(Protocol):
    """What a workflow is given to run its steps with."""

    def run(self, name: str, step: Callable[..., T], *args: Any) -> T:
        """Run ``step(*args)`` once more or return what it gave before. Tries again, later and later, on an error.

        Raises LookupError for a step that declares no permission (``core.permissions.job``).
        """
        ...

    def sleep(self, seconds: float) -> None:
        """Wait, across restarts too: the moment to go on is written down."""
        ...


Workflow = Callable[[Steps, Payload], None]


@dataclass(frozen=True)
class Registered:
    """A workflow, the name it is known under for ever, and the queue it waits in."""

    name: str
    run: Workflow
    queue: str


def kind_and_place(error: BaseException) -> str:
    """Return the kind of an error and where it was raised, without its text: that may name a patient."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f" at {Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}" if place is not None else ""
    return f"{type(error).__name__}{where}"


class _DurableSteps:
    def run(self, name: str, step: Callable[..., T], *args: Any) -> T:
        permission_of(step)
        options: Any = {
            "name": name,
            "retries_allowed": True,
            "interval_seconds": 0.5,
            "backoff_rate": 2.0,
            "max_attempts": 8,
        }

        def attempt() -> T:
            try:
                return step(*args)
            except Exception as error:
                # The engine keeps only that it gave up; where and what kind is all a log may hold.
                log.warning("step %s: %s", name, kind_and_place(error))
                raise

        return DBOS.run_step(options, attempt)

    def sleep(self, seconds: float) -> None:
        DBOS.sleep(seconds)


class Engine:
    """The workflows of one process. ``executor_id`` is stable: a restarted process takes up its own work."""

    def __init__(
        self,
        url: str,
        executor_id: str,
        workflows: Mapping[str, Registered],
        *,
        queues: Mapping[str, int],
    ) -> None:
        """``workflows``: outbox topic -> workflow. ``queues``: name -> how many at a time in this process."""
        self.executor_id = executor_id
        self._queues = queues
        self._sql = make_workflow_engine(url)
        config: DBOSConfig = {
            "name": APPLICATION_NAME,
            "system_database_url": _with_driver(url),
            "system_database_engine": self._sql,
            "application_version": APPLICATION_VERSION,
            "executor_id": executor_id,
            # The default serialiser is pickle.
            "serializer": DBOSPortableJSONSerializer(),
            "enable_otlp": False,
            "use_listen_notify": False,
            "log_level": "ERROR",
        }
        DBOS(config=config)
        self._workflows = {topic: (registered, _durable(registered)) for topic, registered in workflows.items()}

    def launch(self) -> None:
        """Start: recovers this executor's unfinished work and opens the queues."""
        DBOS.launch()
        for name, concurrency in self._queues.items():
            DBOS.register_queue(
                name,
                worker_concurrency=concurrency,
                polling_interval_sec=POLL_SECONDS,
                on_conflict="always_update",
            )

    def start(self, topic: str, key: str, payload: Payload) -> None:
        """Queue the topic's workflow; a ``key`` that was ever started is not started again."""
        found = self._workflows.get(topic)
        if found is None:
            log.error("no workflow for topic %s; the row is dropped", topic)
            return
        registered, function = found
        with SetWorkflowID(key):
            DBOS.enqueue_workflow(registered.queue, function, dict(payload))

    def recover(self, executor_id: str) -> int:
        """Take over the unfinished workflows of an executor that is dead. Returns how many."""
        pending = DBOS.list_workflows(status="PENDING", executor_id=executor_id, load_input=False, load_output=False)
        queue_of = {registered.name: registered.queue for registered, _ in self._workflows.values()}
        taken = 0
        for status in pending:
            if status.name in queue_of:
                DBOS.resume_workflow(status.workflow_id, queue_name=queue_of[status.name])
                taken += 1
        return taken

    def close(self, wait_seconds: int = 0) -> None:
        """Stop. Work in progress goes on when the executor starts again."""
        DBOS.destroy(workflow_completion_timeout_sec=wait_seconds, destroy_registry=True)
        self._sql.dispose()


def _durable(registered: Registered) -> Callable[[dict[str, Any]], None]:
    permission_of(registered.run)
    steps = _DurableSteps()

    def body(payload: dict[str, Any]) -> None:
        registered.run(steps, payload)

    return DBOS.workflow(name=registered.name, max_recovery_attempts=None)(body)


def make_workflow_engine(url: str) -> SqlEngine:
    """Return an engine for the workflow database: WAL, BEGIN IMMEDIATE and a patient busy timeout on SQLite."""
    engine = create_engine(_with_driver(url), pool_pre_ping=not url.startswith("sqlite"))
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _tune_sqlite)
    return engine


def _with_driver(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


def _tune_sqlite(connection: Any, _record: Any) -> None:
    # DBOS writes its own BEGIN IMMEDIATE in migrations, so the driver's implicit begin stays, made IMMEDIATE.
    connection.isolation_level = "IMMEDIATE"
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout=30000")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()
