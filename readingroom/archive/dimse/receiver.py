"""The listening side: accept with or without TLS, one thread an association, limits, audit, and an orderly stop.

Several receivers (threads or processes) may share one port: the socket has SO_REUSEPORT and nothing is shared but the
index. Each then has ``max_associations`` of its own.
"""

import logging
import selectors
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final, Protocol, cast

from readingroom.archive.dimse.association import ARTIM_SECONDS, Association, ObjectSink
from readingroom.archive.dimse.transfers import Transfers
from readingroom.archive.dimse.wire import STOP_GRACE_SECONDS, Closed
from readingroom.archive.filing import filing_of_project
from readingroom.core.audit import AuditCode, acting_from, record_alone
from readingroom.core.clock import monotonic
from readingroom.core.config import Settings
from readingroom.core.database import Database
from readingroom.core.errors import OutOfResources
from readingroom.core.tls import names_of, server_context

log = logging.getLogger(__name__)

_BACKLOG: Final = 128
_SPARE: Final = 16
"""Connections beyond the limit that still get a proper rejection; more are closed unheard."""
_ACCEPT_SECONDS: Final = 0.25
_ALERT_SECONDS: Final = 60.0
"""One audit event a minute for the same refused caller: a flood of refusals must not fill the audit table."""
_ALERTS_KEPT: Final = 1000


class ReceiverArchive(ObjectSink, Protocol):
    """The archive with its index database, where the audit is kept."""

    @property
    def database(self) -> Database: ...


def run_receiver(
    settings: Settings,
    archive: ReceiverArchive,
    stop: threading.Event,
    ready: Callable[[int], None] | None = None,
) -> None:
    """Serve C-STORE and C-ECHO on ``dicom_port`` and, over TLS, on ``dicom_tls_port`` until ``stop`` is set.

    ``ready`` is called once with the first port that is listened on. Raises OutOfResources when a port is taken,
    NotFound for a caller whose project there is not, BadInput for a certificate that cannot be used. On stop: accepts
    no more, finishes operations under way (a few seconds at most), aborts the other associations.
    """
    with archive.database.read() as session:
        for caller in settings.calling_aets:
            filing_of_project(session, caller.project)
    _Receiver(settings, archive, stop).run(ready)


def _context(settings: Settings) -> ssl.SSLContext:
    certificate = settings.dicom_tls_certificate
    assert certificate is not None
    return server_context(certificate, settings.dicom_tls_key or certificate, settings.dicom_tls_ca)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server(
            (host, port), family=family, backlog=_BACKLOG, reuse_port=hasattr(socket, "SO_REUSEPORT")
        )
    except OSError as error:
        raise OutOfResources(
            f"Cannot listen for DICOM on {host} port {port}: {error.strerror or error}.",
            "Choose another dicom_port or dicom_tls_port.",
        ) from None
    listener.setblocking(False)
    return listener


class _Receiver:
    def __init__(self, settings: Settings, archive: ReceiverArchive, stop: threading.Event) -> None:
        self._settings = settings
        self._archive = archive
        self._stop = stop
        self._lock = threading.Lock()
        self._running: dict[threading.Thread, socket.socket] = {}
        self._alerts: dict[tuple[str, str], float] = {}

    def run(self, ready: Callable[[int], None] | None) -> None:
        wanted: list[tuple[int, ssl.SSLContext | None]] = []
        if self._settings.dicom_plain:
            wanted.append((self._settings.dicom_port, None))
        if self._settings.dicom_tls_certificate is not None:
            wanted.append((self._settings.dicom_tls_port, _context(self._settings)))
        with ExitStack() as listeners, selectors.DefaultSelector() as selector:
            ports = []
            for port, context in wanted:
                listener = listeners.enter_context(_listen(self._settings.dicom_host, port))
                selector.register(listener, selectors.EVENT_READ, context)
                ports.append(listener.getsockname()[1])
                log.info("listening for DICOM %son port %d", "over TLS " if context else "", ports[-1])
            if ready is not None:
                ready(ports[0])
            while not self._stop.is_set():
                for found, _ in selector.select(_ACCEPT_SECONDS):
                    self._accept(cast(socket.socket, found.fileobj), found.data)
        self._finish()

    def _accept(self, listener: socket.socket, context: ssl.SSLContext | None) -> None:
        try:
            connection, address = listener.accept()
        except BlockingIOError:
            # Another process that listens on the port was quicker.
            return
        except OSError as error:
            # Out of descriptors, or a peer gone before we looked: wait a moment and go on.
            log.warning("accepting a connection failed: %s", error.strerror)
            self._stop.wait(_ACCEPT_SECONDS)
            return
        with self._lock:
            count = len(self._running)
            if count >= self._settings.max_associations + _SPARE:
                connection.close()
                return
            thread = threading.Thread(
                target=self._serve,
                args=(connection, context, str(address[0]), count >= self._settings.max_associations),
                name="association",
                daemon=True,
            )
            self._running[thread] = connection
        try:
            thread.start()
        except RuntimeError:
            log.warning("no thread for a connection")
            self._forget(thread)

    def _serve(self, connection: socket.socket, context: ssl.SSLContext | None, host: str, full: bool) -> None:
        transfers = Transfers(self._archive, self._archive.database)
        try:
            with acting_from(host):
                names: frozenset[str] = frozenset()
                if context is not None:
                    connection = secured = self._secure(connection, context, host)
                    names = names_of(secured.getpeercert() or {})
                association = Association(
                    connection,
                    self._settings,
                    transfers,
                    self._stop,
                    host=host,
                    certificate_names=names,
                    full=full,
                    on_refused=lambda aet, why: self._alert(aet, host, why),
                )
                association.run()
                transfers.finish(association)
        except (Closed, OSError):
            # Gone before it began.
            pass
        finally:
            self._forget(threading.current_thread())

    def _secure(self, connection: socket.socket, context: ssl.SSLContext, host: str) -> ssl.SSLSocket:
        """Return the connection with TLS, once both sides have shown who they are. Raises OSError."""
        # A deadline for the whole of it: a peer that sends a byte now and then gets no further.
        connection.settimeout(min(ARTIM_SECONDS, self._settings.association_idle_seconds))
        secured = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with self._lock:
            self._running[threading.current_thread()] = secured
        try:
            secured.do_handshake()
        except OSError as error:
            reason = str(getattr(error, "reason", "") or type(error).__name__).lower().replace("_", " ")
            log.warning("TLS refused: %s", reason)
            self._alert("unknown", host, f"TLS: {reason}")
            raise
        return secured

    def _forget(self, thread: threading.Thread) -> None:
        with self._lock:
            connection = self._running.pop(thread, None)
        if connection is not None:
            connection.close()

    def _alert(self, aet: str, host: str, why: str) -> None:
        now, key = monotonic(), (aet, host)
        with self._lock:
            if now - self._alerts.get(key, -_ALERT_SECONDS) < _ALERT_SECONDS:
                return
            if len(self._alerts) >= _ALERTS_KEPT:
                self._alerts.clear()
            self._alerts[key] = now
        record_alone(
            self._archive.database,
            AuditCode.SECURITY_ALERT,
            "A-ASSOCIATE",
            aet or "unknown",
            outcome="refused",
            detail={"reason": why},
        )

    def _finish(self) -> None:
        deadline = monotonic() + STOP_GRACE_SECONDS + 2.0
        with self._lock:
            threads = list(self._running)
        for thread in threads:
            thread.join(max(0.0, deadline - monotonic()))
        with self._lock:
            left = list(self._running.values())
        for connection in left:
            connection.close()
