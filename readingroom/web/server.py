"""The web process: both listeners on one event loop, until told to stop."""

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from readingroom.archive.receive import Archive
from readingroom.archive.store import open_store
from readingroom.core.certificate_ends import ending
from readingroom.core.clock import monotonic
from readingroom.core.config import Settings
from readingroom.core.database import Database
from readingroom.core.tls import server_context
from readingroom.web.app import create_app
from readingroom.web.patience import PatientProtocol

log = logging.getLogger(__name__)
GRACE_SECONDS = 5
CERTIFICATES_SECONDS = 86_400.0
"""How often the log says which certificates end soon."""


class _Server(uvicorn.Server):
    """uvicorn that leaves signals to the process that runs it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def run_web(settings: Settings, stop: threading.Event, ready: Callable[[], None] = lambda: None) -> None:
    """Serve our pages and the viewer until ``stop`` is set; then finish what runs, for a few seconds at most.

    ``ready`` is called once both ports are listened on. Raises OSError where one is taken.
    """
    database = Database(settings.index_url)
    archive = Archive(settings, database, open_store(settings))
    try:
        asyncio.run(_serve(settings, database, archive, stop, ready))
    finally:
        database.close()


async def _serve(
    settings: Settings, database: Database, archive: Archive, stop: threading.Event, ready: Callable[[], None]
) -> None:
    servers, running = [], []
    for viewer, port in ((False, settings.web_port), (True, settings.viewer_port)):
        server = _Server(_configuration(settings, database, archive, viewer=viewer))
        listener = _listen(settings.web_host, port)
        servers.append(server)
        running.append(asyncio.create_task(server.serve(sockets=[listener])))
    log.info("web listens on ports %d (pages) and %d (viewer)", settings.web_port, settings.viewer_port)
    while not all(server.started for server in servers) and not any(task.done() for task in running):
        await asyncio.sleep(0.02)
    ready()
    look_at = monotonic()
    while not stop.is_set() and not any(task.done() for task in running):
        if monotonic() >= look_at:
            look_at += CERTIFICATES_SECONDS
            for one in ending(settings):
                log.warning("%s", one.words)
        await asyncio.sleep(0.2)
    for server in servers:
        server.should_exit = True
    await asyncio.gather(*running)


def _listen(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


def _configuration(settings: Settings, database: Database, archive: Archive, *, viewer: bool) -> uvicorn.Config:
    app = create_app(settings, database, archive, viewer=viewer)
    return uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,  # security.py logs templates; uvicorn would log paths and queries
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=30,
        h11_max_incomplete_event_size=64 << 10,
        http=PatientProtocol,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        ssl_context_factory=(lambda *_: _tls(settings)) if settings.tls_certificate else None,
    )


def _tls(settings: Settings) -> ssl.SSLContext:
    assert settings.tls_certificate is not None
    return server_context(settings.tls_certificate, settings.tls_key or settings.tls_certificate)
