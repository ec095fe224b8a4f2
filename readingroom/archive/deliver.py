"""Delivery: stored objects sent on to peers by C-STORE or STOW-RS, tried again until each peer has accepted.

What is sent is the stored file's bytes, never encoded again, so that however often a crash makes us repeat, the peer
sees the same object under the same UID. Each peer has a thread of its own: one that is down holds up nobody else.
Objects of a held study wait, what a rejection note hides is not sent at all, and what a reader wrote goes only to peers
that opted in to unverified results.
"""

import logging
import random
import ssl
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from readingroom.archive.dimse.requestor import PeerFailed, Requestor
from readingroom.archive.part10 import unwrap
from readingroom.archive.store import Store
from readingroom.archive.tables import UNDELIVERED, Delivery, Instance, Series, Study
from readingroom.core.audit import AuditCode, record
from readingroom.core.clock import utc_now
from readingroom.core.config import Peer, Settings
from readingroom.core.database import Database
from readingroom.core.errors import BadInput, ReadingRoomError
from readingroom.core.permissions import Permission, job
from readingroom.core.tls import client_context

log = logging.getLogger(__name__)

_POLL_SECONDS: Final = 0.5
_STRAY_SECONDS: Final = 5.0
_BATCH: Final = 50
"""Objects sent over one association; fewer than the 128 contexts it may hold."""
_TIMEOUT_SECONDS: Final = 30.0
_LONGEST_WAIT_SECONDS: Final = 300.0
_META_BYTES: Final = 1 << 20

DUPLICATE_SOP_INSTANCE: Final = 0x0111
"""The peer has the object already: what a repeated delivery is told."""

HELD = "The study is held."
REJECTED = "Cancelled: the object has been rejected."
UNVERIFIED = "The peer is not set to take unverified results (unverified = false)."
_GONE = "No peer of this name is configured any more: add it again, or leave the delivery waiting."


def queue_deliveries(session: Session, instance_pks: Sequence[int], peers: Sequence[Peer]) -> int:
    """Add a delivery of each instance to each peer that may have it, in the running transaction. Returns how many.

    One that is there already, in whatever state, is left alone, so that a repeated step queues nothing twice.
    """
    readers = set(
        session.scalars(select(Instance.id).where(Instance.id.in_(instance_pks), Instance.origin == "reader"))
    )
    rows = [
        {"instance_pk": pk, "peer": peer.name}
        for pk in instance_pks
        for peer in peers
        if peer.unverified or pk not in readers
    ]
    if not rows:
        return 0
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    statement = insert(Delivery).on_conflict_do_nothing(index_elements=["instance_pk", "peer"]).returning(Delivery.id)
    return len(session.scalars(statement, rows).all())


@job(Permission.OBJECT_DELIVER)
def run_deliverer(settings: Settings, database: Database, store: Store, stop: threading.Event) -> None:
    """Send what is due, until ``stop`` is set; an object on its way is finished first."""
    threads = [
        threading.Thread(
            target=_PeerDeliverer(settings, database, store, peer, stop).run, name=f"deliver {peer.name}", daemon=True
        )
        for peer in settings.peers
    ]
    for thread in threads:
        thread.start()
    names = [peer.name for peer in settings.peers]
    while not stop.is_set():
        try:
            _mark_strays(database, names)
        except Exception as error:
            log.error("looking for deliveries without a peer failed: %s", type(error).__name__)
        stop.wait(_STRAY_SECONDS)
    for thread in threads:
        thread.join(_TIMEOUT_SECONDS + 5.0)


def _mark_strays(database: Database, names: Sequence[str]) -> None:
    stray = and_(Delivery.peer.not_in(names), Delivery.state.in_(UNDELIVERED), Delivery.last_error != _GONE)
    with database.read() as session:
        if session.scalar(select(Delivery.id).where(stray).limit(1)) is None:
            return
    with database.write() as session:
        session.execute(update(Delivery).where(stray).values(last_error=_GONE))


@dataclass(frozen=True)
class _Due:
    """One delivery to try now."""

    id: int
    attempts: int
    study_id: str
    store_key: str
    SOPClassUID: str
    SOPInstanceUID: str
    TransferSyntaxUID: str


class _PeerDeliverer:
    """The deliveries to one peer."""

    def __init__(self, settings: Settings, database: Database, store: Store, peer: Peer, stop: threading.Event) -> None:
        self._settings, self._database, self._store, self._peer, self._stop = settings, database, store, peer, stop
        self._refused: Counter[str] = Counter()
        """Studies whose objects failed at their first attempt in the present batch."""

    def run(self) -> None:
        while not self._stop.is_set():
            try:
                self._hold_and_release()
                due = self._due()
                if due:
                    self._send(due)
                    continue
            except Exception as error:
                # An error's text may quote parameters of a query: only its kind is logged.
                log.error("delivering to %s failed: %s", self._peer.name, type(error).__name__)
                self._stop.wait(_STRAY_SECONDS)
            self._stop.wait(_POLL_SECONDS)

    def _mine(self, states: Sequence[str], *conditions: ColumnElement[bool]) -> list[int]:
        with self._database.read() as session:
            statement = (
                select(Delivery.id)
                .join(Instance, Instance.id == Delivery.instance_pk)
                .join(Series, Series.id == Instance.series_pk)
                .join(Study, Study.id == Series.study_id)
                .where(Delivery.peer == self._peer.name, Delivery.state.in_(states), *conditions)
            )
            return list(session.scalars(statement))

    def _hold_and_release(self) -> None:
        """Follow the studies: what became held stops, what was released is due at once, what was rejected is over."""
        self._set_state(self._mine(UNDELIVERED, Instance.hidden != ""), "cancelled", REJECTED)
        # Only a corrected rejection note can take it back.
        self._set_state(self._mine(["cancelled"], Instance.hidden == ""), "waiting", "")
        may_not = [Study.held != ""]
        if not self._peer.unverified:
            may_not.append(Instance.origin == "reader")
        self._set_state(self._mine(["waiting"], Study.held != ""), "held", HELD)
        if not self._peer.unverified:
            self._set_state(self._mine(["waiting"], Instance.origin == "reader"), "held", UNVERIFIED)
        self._set_state(self._mine(["held"], ~or_(*may_not)), "waiting", "")

    def _set_state(self, ids: list[int], state: str, why: str) -> None:
        if ids:
            with self._database.write() as session:
                session.execute(
                    update(Delivery)
                    .where(Delivery.id.in_(ids))
                    .values(state=state, last_error=why, next_try_at=utc_now())
                )

    def _due(self) -> list[_Due]:
        with self._database.read() as session:
            rows = session.execute(
                select(
                    Delivery.id,
                    Delivery.attempts,
                    Series.study_id,
                    Instance.store_key,
                    Instance.SOPClassUID,
                    Instance.SOPInstanceUID,
                    Instance.TransferSyntaxUID,
                )
                .join(Instance, Instance.id == Delivery.instance_pk)
                .join(Series, Series.id == Instance.series_pk)
                .join(Study, Study.id == Series.study_id)
                .where(
                    Delivery.peer == self._peer.name,
                    Delivery.state == "waiting",
                    Delivery.next_try_at <= utc_now(),
                    Study.held == "",
                    Instance.hidden == "",
                    *(() if self._peer.unverified else (Instance.origin != "reader",)),
                )
                .order_by(Delivery.next_try_at, Delivery.id)
                .limit(_BATCH)
            )
            return [_Due(*row) for row in rows]

    def _is_stopped(self, one: _Due) -> bool:
        """Asked before each object: a study may become held, an object rejected, while a batch is on its way."""
        with self._database.read() as session:
            held, hidden = session.execute(
                select(Study.held, Instance.hidden)
                .join(Series, Series.study_id == Study.id)
                .join(Instance, Instance.series_pk == Series.id)
                .where(Instance.SOPInstanceUID == one.SOPInstanceUID)
            ).one()
            return bool(held or hidden)

    def _send(self, due: list[_Due]) -> None:
        accepted: Counter[str] = Counter()
        self._refused.clear()
        new = Counter(one.study_id for one in due if one.attempts == 0)
        self._audit(AuditCode.BEGIN_TRANSFERRING, "deliver-begun", new)
        try:
            if self._peer.kind == "stow":
                self._send_by_stow(due, accepted)
            else:
                self._send_by_dimse(due, accepted)
        except BadInput as error:
            # Certificates that are not there or no pair.
            for one in due:
                self._failed(one, error.message)
        finally:
            self._audit(AuditCode.INSTANCES_TRANSFERRED, "deliver", accepted)
            self._audit(AuditCode.INSTANCES_TRANSFERRED, "deliver", self._refused, outcome="failure")

    def _audit(self, code: AuditCode, action: str, by_study: Mapping[str, int], outcome: str = "success") -> None:
        """Record how many objects of each study."""
        if not by_study:
            return
        host = self._peer.host if self._peer.kind == "dimse" else urlsplit(self._peer.url).hostname or ""
        with self._database.write() as session:
            for study_id, count in by_study.items():
                detail = {"instances": count}
                record(
                    session,
                    code,
                    action,
                    self._peer.name,
                    study_id=study_id,
                    outcome=outcome,
                    host=host,
                    detail=detail,
                )

    def _tls(self) -> ssl.SSLContext:
        """How to speak TLS with the peer; read each time, so that a renewed certificate counts at once."""
        return client_context(self._peer.ca, self._peer.certificate, self._peer.key)

    def _send_by_dimse(self, due: list[_Due], accepted: Counter[str]) -> None:
        contexts = dict.fromkeys((one.SOPClassUID, one.TransferSyntaxUID) for one in due)
        try:
            requestor = Requestor(
                self._peer.host,
                self._peer.port,
                called_aet=self._peer.aet,
                calling_aet=self._settings.aet,
                contexts=list(contexts),
                timeout_seconds=_TIMEOUT_SECONDS,
                tls=self._tls() if self._peer.tls else None,
            )
        except PeerFailed as error:
            for one in due:
                self._failed(one, str(error))
            return
        sending = due[0]
        try:
            with requestor:
                for sending in due:
                    if self._stop.is_set():
                        return
                    if self._is_stopped(sending):
                        continue
                    if not requestor.accepts(sending.SOPClassUID, sending.TransferSyntaxUID):
                        self._failed(sending, "The peer does not accept this SOP class in this transfer syntax.")
                        continue
                    self._judge(sending, self._store_by_dimse(requestor, sending), accepted)
        except PeerFailed as error:
            # What follows in the batch is still due; the one that broke it waits its time.
            self._failed(sending, str(error))

    def _store_by_dimse(self, requestor: Requestor, one: _Due) -> int | ReadingRoomError:
        try:
            wrapping = unwrap(self._store.read(one.store_key, 0, _META_BYTES))
            return requestor.store(
                self._store.source(one.store_key),
                wrapping.dataset_start,
                sop_class_uid=one.SOPClassUID,
                transfer_syntax_uid=one.TransferSyntaxUID,
                sop_instance_uid=one.SOPInstanceUID,
            )
        except ReadingRoomError as error:
            return error

    def _send_by_stow(self, due: list[_Due], accepted: Counter[str]) -> None:
        # Imported here: a house without such a peer needs no HTTP client.
        from readingroom.archive.stow_client import StowClient

        with StowClient(self._peer.url, _TIMEOUT_SECONDS, self._tls()) as client:
            for one in due:
                if self._stop.is_set():
                    return
                if self._is_stopped(one):
                    continue
                try:
                    self._judge(one, client.store(self._store.source(one.store_key), one.TransferSyntaxUID), accepted)
                except (ReadingRoomError, OSError) as error:
                    self._failed(one, str(error) if isinstance(error, ReadingRoomError) else type(error).__name__)
                except PeerFailed as error:
                    for waiting in due[due.index(one) :]:
                        self._failed(waiting, f"The peer cannot be reached or is not able now: {error}.")
                    return

    def _judge(self, one: _Due, answer: int | ReadingRoomError, accepted: Counter[str]) -> None:
        """Mark a delivery by what the peer said: a C-STORE status or a STOW failure reason; 0 is success."""
        if isinstance(answer, ReadingRoomError):
            self._failed(one, answer.message)
        elif is_accepted(answer):
            with self._database.write() as session:
                session.execute(
                    update(Delivery)
                    .where(Delivery.id == one.id)
                    .values(state="accepted", accepted_at=utc_now(), attempts=one.attempts + 1, last_error="")
                )
            accepted[one.study_id] += 1
        else:
            self._failed(one, f"The peer answered status {answer:04X}H.")

    def _failed(self, one: _Due, why: str) -> None:
        attempts = one.attempts + 1
        next_try_at = utc_now() + timedelta(seconds=wait_seconds(attempts))
        log.warning("delivery %d to %s, attempt %d: %s", one.id, self._peer.name, attempts, why)
        if one.attempts == 0:
            # The attempts after the first are no news to the audit: the delivery itself counts them.
            self._refused[one.study_id] += 1
        with self._database.write() as session:
            session.execute(
                update(Delivery)
                .where(Delivery.id == one.id)
                .values(attempts=attempts, next_try_at=next_try_at, last_error=why)
            )


def is_accepted(status: int) -> bool:
    """Whether a C-STORE status or STOW failure reason means that the peer has the object (PS3.7 annex C)."""
    return status in (0x0000, 0x0001, 0x0107, 0x0116, DUPLICATE_SOP_INSTANCE) or 0xB000 <= status <= 0xBFFF


def wait_seconds(attempts: int) -> float:
    """How long to wait after that many failed attempts: doubling from a second to five minutes, with jitter."""
    longest = min(_LONGEST_WAIT_SECONDS, 2.0 ** min(attempts, 20) / 2.0)
    return longest * random.uniform(0.5, 1.0)
