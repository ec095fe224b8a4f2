"""How much one may ask for, how slowly, and how much at once; and who is believed about a caller's address."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from web_support import PASSWORD, Site, make_site

from readingroom.core.config import Settings
from readingroom.core.database import Database, upgrade
from readingroom.core.permissions import Permission, Role
from readingroom.web import limits, patience
from readingroom.web.limits import Limits, TooManyRequests
from readingroom.web.server import run_web


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """``clock[0]`` is the time the limits see."""
    now = [1000.0]
    monkeypatch.setattr(limits, "monotonic", lambda: now[0])
    return now


def asked(one: Limits, name: str, permission: Permission = Permission.STUDY_READ, path: str = "/api/v1/x") -> int:
    """How many requests of an account go through before the first that does not."""
    for number in range(100_000):
        try:
            one.take_for_account(name, permission, path)
        except TooManyRequests:
            return number
    raise AssertionError


def test_each_account_and_kind_has_a_bucket_that_fills_again(clock: list[float]) -> None:
    one = Limits(10)
    assert asked(one, "ann") == 100
    assert asked(one, "bob") == 100
    assert asked(one, "ann", Permission.STUDY_QUERY, "/dicomweb/studies") == 20
    assert asked(one, "ann", path="/dicomweb/studies/1/series/2/instances/3/frames/1") == 1000
    with pytest.raises(TooManyRequests) as refused:
        one.take_for_account("ann", Permission.STUDY_READ, "/api/v1/x")
    assert refused.value.retry_after == 1
    clock[0] += 3.0
    assert asked(one, "ann") == 30
    clock[0] += 1000.0
    assert asked(one, "ann") == 100


def test_an_address_has_one_too_and_a_smaller_one_for_signing_in(clock: list[float]) -> None:
    one = Limits(10)

    def from_(address: str, method: str = "GET", path: str = "/api/v1/worklist") -> int:
        for number in range(100_000):
            try:
                one.take_for_address(address, method, path)
            except TooManyRequests:
                return number
        raise AssertionError

    assert from_("10.0.0.1", "POST", "/api/v1/session") == 10
    assert from_("10.0.0.1") > 1900
    assert from_("10.0.0.2") == 2000
    # Whoever has a network of IPv6 has all of its addresses.
    assert from_("2001:db8:1:2::1") == 2000
    assert from_("2001:db8:1:2:ffff::9") == 0
    assert from_("2001:db8:1:3::1") == 2000
    assert from_("::ffff:10.0.0.3") == 2000
    assert from_("::ffff:10.0.0.4") == 2000


def test_many_callers_take_little_memory_and_none_gets_a_new_bucket_early(clock: list[float]) -> None:
    one = Limits(10)
    assert asked(one, "ann") == 100
    for number in range(3 * limits.LARGEST):
        clock[0] += 1e-6
        one.take_for_address(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", "GET", "/")
        if number % 1000 == 0:
            with pytest.raises(TooManyRequests):
                one.take_for_account("ann", Permission.STUDY_READ, "/api/v1/x")
    assert len(one._buckets) <= limits.LARGEST


def test_the_pages_answer_429_and_when_to_come_again(
    sqlite_database: Database, settings: Settings, clock: list[float]
) -> None:
    site = make_site(sqlite_database, settings.model_copy(update={"requests_per_second": 2.0}))
    client = site.signed_in(Role.RADIOLOGIST)
    answers = [client.get("/api/v1/readers") for _ in range(22)]
    assert [answer.status_code for answer in answers] == [200] * 20 + [429] * 2
    refused = answers[-1]
    assert refused.json()["error"] == "too-many-requests"
    assert int(refused.headers["Retry-After"]) >= 1
    # Another account goes on; so do images.
    assert site.signed_in(Role.RESIDENT).get("/api/v1/readers").status_code == 200
    assert client.get("/dicomweb/studies/1.2.3/metadata").status_code == 404
    clock[0] += 0.5
    assert client.get("/api/v1/readers").status_code == 200
    assert client.get("/api/v1/readers").status_code == 429
    # Signing in is limited by address, whoever is tried: two have been.
    answer = site.client().post("/api/v1/session", json={"name": "nobody", "password": PASSWORD})
    assert (answer.status_code, answer.json()["error"]) == (429, "too-many-requests")


def test_uploads_have_a_limit_by_dicomweb_too(site: Site, settings: Settings, sqlite_database: Database) -> None:
    del site
    small = make_site_again(sqlite_database, settings.model_copy(update={"max_upload_bytes": 1000}))
    client = small.signed_in(Role.RADIOLOGIST)
    kind = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=x'}
    assert client.post("/dicomweb/studies", content=b"--x\r\n" + b"0" * 5000, headers=kind).status_code == 413


def make_site_again(database: Database, settings: Settings) -> Site:
    """Apps over accounts that are there already."""
    from readingroom.archive.receive import Archive
    from readingroom.archive.store import open_store
    from readingroom.web.app import create_app

    archive = Archive(settings, database, open_store(settings))
    apps = [create_app(settings, database, archive, viewer=viewer) for viewer in (False, True)]
    return Site(database, settings, *apps)


@contextmanager
def serving(settings: Settings) -> Iterator[int]:
    database = Database(settings.index_url)
    upgrade(database.engine)
    database.close()
    stop, ready = threading.Event(), threading.Event()
    thread = threading.Thread(target=run_web, args=(settings, stop, ready.set))
    thread.start()
    try:
        assert ready.wait(30)
        yield settings.web_port
    finally:
        stop.set()
        thread.join(30)


def closed_after(connection: socket.socket) -> bytes:
    """What comes until the server closes the connection."""
    connection.settimeout(20)
    data = b""
    try:
        while piece := connection.recv(65536):
            data += piece
    except ConnectionError:
        pass
    return data


def test_slow_clients_are_let_go(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "HEAD_SECONDS", 1.0)
    monkeypatch.setattr(patience, "BODY_SECONDS", 1.0)
    with serving(settings) as port:
        here = ("127.0.0.1", port)
        request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
        # Nothing at all; a head without end; a whole request and then half of another.
        for said, answered in ((b"", False), (request, False), (request + b"\r\n" + request, True)):
            with socket.create_connection(here, 10) as connection:
                connection.sendall(said)
                if answered:
                    # Dripping on does not help.
                    for _ in range(3):
                        time.sleep(0.2)
                        connection.sendall(b"X-Slow: 1\r\n")
                assert closed_after(connection).startswith(b"HTTP/1.1 200") == answered
        # A body that does not come.
        head = b"POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        with socket.create_connection(here, 10) as connection:
            connection.sendall(head + b"Content-Length: 100\r\n\r\n{")
            assert b"HTTP/1.1 4" in closed_after(connection)
        # One that takes longer than that but comes is waited for.
        with socket.create_connection(here, 10) as connection:
            body = b'{"name": "ann", "password": "' + b"x" * 8000 + b'"}'
            connection.sendall(head + f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode())
            for at in range(0, len(body), 2000):
                connection.sendall(body[at : at + 2000])
                time.sleep(0.35)
            assert b"422" in closed_after(connection)
        assert httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200


@pytest.mark.parametrize("trusted", [(), ("127.0.0.1",)])
def test_nobody_is_believed_about_addresses_and_schemes_unless_told(
    settings: Settings, trusted: tuple[str, ...]
) -> None:
    with serving(settings.model_copy(update={"trusted_proxies": trusted})) as port:
        claims = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.7"}
        answer = httpx.get(f"http://127.0.0.1:{port}/health", headers=claims)
    assert ("Strict-Transport-Security" in answer.headers) == bool(trusted)
