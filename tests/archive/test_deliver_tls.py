"""Delivery over TLS: to dcmtk's storescp and to an HTTPS server that both ask who we are."""

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from sqlalchemy import select
from support import free_port, wait_listening

from readingroom.archive.deliver import queue_deliveries, run_deliverer
from readingroom.archive.receive import Archive
from readingroom.archive.tables import Delivery
from readingroom.core.certificates import CLIENT, SERVER, Pair, authority, issue
from readingroom.core.config import Peer
from readingroom.core.tls import server_context


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    folder = tmp_path / "ours"
    issue(folder, "pacs", SERVER, ["127.0.0.1"])
    issue(folder, "me", CLIENT, ["me"])
    return folder


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    folder = tmp_path / "theirs"
    issue(folder, "me", CLIENT, ["me"])
    return folder


@pytest.fixture
def pks(
    lone_archive: Archive, part10: Callable[[Dataset], bytes], make_series: Callable[..., list[Dataset]]
) -> list[int]:
    got = [lone_archive.put_file(part10(ds), source="test") for ds in make_series(2)]
    return [one.instance_pk for one in got if one.instance_pk is not None]


def peer(name: str, trusted: Path, shown: Path, **address: object) -> Peer:
    """A destination whose authority is that of ``trusted``, and that sees our certificate from ``shown``."""
    pair = Pair.of(shown, "me")
    values = {"ca": authority(trusted).certificate, "certificate": pair.certificate, "key": pair.key, **address}
    return Peer(name=name, **values)  # type: ignore[arg-type]


def deliver(archive: Archive, pks: list[int], *peers: Peer) -> dict[str, list[Delivery]]:
    """Try until each delivery was accepted or has failed once; return the rows of each peer."""
    with archive.database.write() as session:
        queue_deliveries(session, pks, peers)
    stop = threading.Event()
    settings = archive.settings.model_copy(update={"peers": peers})
    thread = threading.Thread(target=run_deliverer, args=(settings, archive.database, archive.store, stop))
    thread.start()
    end = time.monotonic() + 30
    rows: list[Delivery] = []
    while not rows or not all(row.attempts for row in rows):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)
        with archive.database.read() as session:
            rows = list(session.scalars(select(Delivery)))
    stop.set()
    thread.join(20)
    return {one.name: [row for row in rows if row.peer == one.name] for one in peers}


@pytest.mark.tools
def test_storescp_over_tls(
    lone_archive: Archive, pks: list[int], ours: Path, theirs: Path, tool: Callable[[str], str], tmp_path: Path
) -> None:
    port, folder, pacs = free_port(), tmp_path / "out", Pair.of(ours, "pacs")
    folder.mkdir()
    secured = ["+tls", str(pacs.key), str(pacs.certificate), "+cf", str(authority(ours).certificate)]
    command = [tool("storescp"), *secured, "+B", "-od", str(folder), "+xa", "-aet", "PACS", str(port)]
    process = subprocess.Popen(command)
    wait_listening(process.pid, port)
    at = {"port": port, "aet": "PACS"}
    try:
        rows = deliver(
            lone_archive,
            pks,
            peer("right", ours, ours, tls=True, **at),
            peer("unknown-to-it", ours, theirs, tls=True, **at),
            peer("unknown-to-us", theirs, ours, tls=True, **at),
            peer("plain", ours, ours, **at),
            peer("no-pair", ours, tmp_path, tls=True, **at),
        )
    finally:
        process.terminate()
        process.wait(10)
    assert [row.state for row in rows.pop("right")] == ["accepted", "accepted"]
    assert len(list(folder.iterdir())) == 2
    assert {row.state for found in rows.values() for row in found} == {"waiting"}
    assert "not trusted" in rows["unknown-to-us"][0].last_error
    assert "cannot be used with the key" in rows["no-pair"][0].last_error


@contextmanager
def https(ours: Path, got: list[bytes]) -> Iterator[str]:
    class Stow(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    pacs = Pair.of(ours, "pacs")
    context = server_context(pacs.certificate, pacs.key, authority(ours).certificate)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stow)
    # Not in the accepting thread: a caller that is refused must not end it.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"https://127.0.0.1:{server.server_port}/dicom-web"
    finally:
        server.shutdown()
        server.server_close()


def test_stow_over_https(lone_archive: Archive, pks: list[int], ours: Path, theirs: Path) -> None:
    got: list[bytes] = []
    with https(ours, got) as url:
        rows = deliver(
            lone_archive,
            pks,
            peer("right", ours, ours, kind="stow", url=url),
            peer("unknown-to-it", ours, theirs, kind="stow", url=url),
            peer("unknown-to-us", theirs, ours, kind="stow", url=url),
            Peer(name="trusts-the-machine", kind="stow", url=url.replace("https", "HTTPS")),
        )
    assert [row.state for row in rows.pop("right")] == ["accepted", "accepted"]
    assert len(got) == 2
    assert {row.state for found in rows.values() for row in found} == {"waiting"}
