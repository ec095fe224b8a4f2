"""Delivery to real destinations: dcmtk's storescp that is down first, a STOW-RS server, and our own receiver."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.filereader import dcmread
from sqlalchemy import select, update
from support import free_port, rejection_note

from readingroom.archive.deliver import (
    HELD,
    REJECTED,
    UNVERIFIED,
    _PeerDeliverer,
    is_accepted,
    queue_deliveries,
    run_deliverer,
    wait_seconds,
)
from readingroom.archive.dimse.receiver import run_receiver
from readingroom.archive.receive import Archive
from readingroom.archive.store import LocalStore
from readingroom.archive.tables import Delivery, Instance, Study
from readingroom.core.audit import AuditCode, AuditEvent
from readingroom.core.config import Peer, Settings
from readingroom.core.database import Database, upgrade


@pytest.fixture
def pks(lone_archive: Archive, part10: Callable[[Dataset], bytes], make_series) -> list[int]:
    """Three stored CT images."""
    return put(lone_archive, part10, make_series(3))


def put(
    archive: Archive, part10: Callable[[Dataset], bytes], series: list[Dataset], outcome: str = "stored"
) -> list[int]:
    got = [archive.put_file(part10(ds), source="test") for ds in series]
    assert all(one.outcome == outcome for one in got)
    return [one.instance_pk for one in got if one.instance_pk is not None]


@contextmanager
def delivering(archive: Archive, *peers: Peer) -> Iterator[None]:
    stop = threading.Event()
    settings = archive.settings.model_copy(update={"peers": peers})
    thread = threading.Thread(target=run_deliverer, args=(settings, archive.database, archive.store, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()


def queue(archive: Archive, pks: list[int], *peers: Peer) -> int:
    with archive.database.write() as session:
        return queue_deliveries(session, pks, peers)


def deliveries(archive: Archive, peer: str = "pacs") -> list[Delivery]:
    with archive.database.read() as session:
        return list(session.scalars(select(Delivery).where(Delivery.peer == peer).order_by(Delivery.id)))


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def all_accepted(archive: Archive, peer: str = "pacs") -> bool:
    rows = deliveries(archive, peer)
    return bool(rows) and all(row.state == "accepted" for row in rows)


def stored_bytes(archive: Archive) -> dict[str, bytes]:
    """SOP Instance UID -> data set, without its file meta information."""
    with archive.database.read() as session:
        rows = session.execute(select(Instance.SOPInstanceUID, Instance.store_key)).all()
    return {uid: data_set(archive.store.read(key)) for uid, key in rows}


def data_set(data: bytes) -> bytes:
    return data[144 + int.from_bytes(data[140:144], "little") :]


@contextmanager
def storescp(program: str, port: int, folder: Path) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    # +B: the data set is written exactly as received.
    process = subprocess.Popen([program, "+B", "-od", str(folder), "+xa", "-aet", "PACS", str(port)])
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def test_queueing_twice_adds_once(archive: Archive, part10, make_series):
    peers = Peer(name="pacs"), Peer(name="other")
    pks = put(archive, part10, make_series(2))
    assert queue(archive, pks, *peers) == 4
    assert queue(archive, pks, *peers) == 0
    assert queue(archive, [], *peers) == 0
    assert [row.state for row in deliveries(archive)] == ["waiting", "waiting"]


@pytest.mark.tools
def test_storescp_that_comes_later_gets_the_same_bytes(lone_archive: Archive, pks, tool, tmp_path: Path):
    port = free_port()
    pacs = Peer(name="pacs", port=port, aet="PACS")
    queue(lone_archive, pks, pacs)
    with delivering(lone_archive, pacs):
        wait_for(lambda: all(row.attempts >= 1 for row in deliveries(lone_archive)))
        assert all("refused" in row.last_error for row in deliveries(lone_archive))
        with storescp(tool("storescp"), port, tmp_path / "out"):
            wait_for(lambda: all_accepted(lone_archive))
            # A new row is seen within the poll, without waiting for another's turn.
            received = {data_set(path.read_bytes()) for path in (tmp_path / "out").iterdir()}
            assert received == set(stored_bytes(lone_archive).values())
            # As after a crash between sending and marking: the same UIDs and bytes once more.
            for path in (tmp_path / "out").iterdir():
                path.unlink()
            with lone_archive.database.write() as session:
                session.execute(update(Delivery).values(state="waiting"))
            wait_for(lambda: all_accepted(lone_archive))
            again = {path.name: data_set(path.read_bytes()) for path in (tmp_path / "out").iterdir()}
            assert set(again.values()) == received
            uids = {dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in (tmp_path / "out").iterdir()}
            assert uids == set(stored_bytes(lone_archive))
    assert all(row.last_error == "" and row.accepted_at for row in deliveries(lone_archive))
    with lone_archive.database.read() as session:
        events = session.scalars(select(AuditEvent).where(AuditEvent.action == "deliver")).all()
        begun = session.scalars(select(AuditEvent).where(AuditEvent.action == "deliver-begun")).all()
    told = [sum(event.detail["instances"] for event in events if event.outcome == o) for o in ("success", "failure")]
    # The first attempt is told, those after it until one succeeds are not.
    assert (told, sum(event.detail["instances"] for event in begun)) == ([6, 3], 3)
    assert {(event.code, event.actor) for event in events} == {(AuditCode.INSTANCES_TRANSFERRED, "pacs")}
    assert {event.code for event in begun} == {AuditCode.BEGIN_TRANSFERRING}


class _Stow(BaseHTTPRequestHandler):
    """Keeps what it gets; ``answers`` are (status, body) given in turn, then success."""

    protocol_version = "HTTP/1.1"
    answers: list[tuple[int, dict]] = []
    got: list[tuple[str, str, bytes]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).got.append((self.path, self.headers["Content-Type"], body))
        status, answer = self.answers.pop(0) if self.answers else (200, {})
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/dicom+json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def stow() -> Iterator[tuple[str, type[_Stow]]]:
    handler = type("Handler", (_Stow,), {"answers": [], "got": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/dicom-web", handler
    server.shutdown()
    server.server_close()


def failed_with(reason: int) -> dict:
    return {"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [reason]}}]}}


def test_stow_destination(lone_archive: Archive, pks, stow):
    url, handler = stow
    # Not able now; refused for want of room; has it already.
    handler.answers[:] = [(503, {}), (409, failed_with(0xA700)), (409, failed_with(0x0111))]
    pacs = Peer(name="pacs", kind="stow", url=url)
    queue(lone_archive, pks, pacs)
    with delivering(lone_archive, pacs):
        wait_for(lambda: all_accepted(lone_archive))
    # The first answer put all three back.
    assert sorted(row.attempts for row in deliveries(lone_archive)) == [2, 2, 3]
    sent = set()
    for path, content_type, body in handler.got:
        assert path == "/dicom-web/studies"
        boundary = content_type.split("boundary=")[1].encode()
        head, _, rest = body.partition(b"\r\n\r\n")
        assert head.startswith(b"--" + boundary + b"\r\nContent-Type: application/dicom")
        assert rest.endswith(b"\r\n--" + boundary + b"--\r\n")
        sent.add(data_set(rest[: -len(boundary) - 8]))
    assert sent == set(stored_bytes(lone_archive).values())


def test_our_own_receiver_as_destination(lone_archive: Archive, pks, tmp_path: Path):
    other_home = tmp_path / "other"
    other_home.mkdir()
    other_settings = Settings(home=other_home, dicom_port=0, calling_aets=("READINGROOM",), aet="OTHER")
    database = Database(other_settings.index_url)
    upgrade(database.engine)
    other = Archive(other_settings, database, LocalStore(other_settings.store_folder))
    stop, ports, ready = threading.Event(), [], threading.Event()
    thread = threading.Thread(
        target=run_receiver, args=(other_settings, other, stop, lambda port: (ports.append(port), ready.set()))
    )
    thread.start()
    assert ready.wait(10)
    pacs = Peer(name="pacs", port=ports[0], aet="OTHER")
    queue(lone_archive, pks, pacs)
    with delivering(lone_archive, pacs):
        wait_for(lambda: all_accepted(lone_archive))
    stop.set()
    thread.join(15)
    assert stored_bytes(other) == stored_bytes(lone_archive)
    database.close()


def test_held_study_waits_until_it_is_released(lone_archive: Archive, pks, stow):
    url, handler = stow
    pacs = Peer(name="pacs", kind="stow", url=url)
    with lone_archive.database.write() as session:
        session.execute(update(Study).values(held="two patients"))
    queue(lone_archive, pks, pacs)
    with delivering(lone_archive, pacs):
        wait_for(lambda: all(row.state == "held" for row in deliveries(lone_archive)))
        time.sleep(0.7)
        assert handler.got == []
        assert {row.last_error for row in deliveries(lone_archive)} == {HELD}
        with lone_archive.database.write() as session:
            session.execute(update(Study).values(held=""))
        wait_for(lambda: all_accepted(lone_archive), seconds=5)


def test_reader_objects_go_only_where_unverified_ones_are_taken(lone_archive: Archive, pks, stow):
    url, handler = stow
    strict = Peer(name="pacs", kind="stow", url=url)
    opted_in = Peer(name="open", kind="stow", url=url, unverified=True)
    with lone_archive.database.write() as session:
        session.execute(update(Instance).where(Instance.id == pks[0]).values(origin="reader"))
        session.execute(update(Instance).where(Instance.id == pks[1]).values(origin="report"))
    assert queue(lone_archive, pks, strict, opted_in) == 5
    # A row from before the peer was made strict does not leave either.
    with lone_archive.database.write() as session:
        session.add(Delivery(instance_pk=pks[0], peer="pacs"))
    with delivering(lone_archive, strict, opted_in):
        wait_for(lambda: all_accepted(lone_archive, "open"))
        wait_for(lambda: sorted(row.state for row in deliveries(lone_archive)) == ["accepted", "accepted", "held"])
    (held,) = [row for row in deliveries(lone_archive) if row.state == "held"]
    assert (held.instance_pk, held.last_error) == (pks[0], UNVERIFIED)
    assert len(handler.got) == 5


def test_a_peer_that_is_gone_leaves_its_rows_waiting(lone_archive: Archive, pks, stow):
    url, _ = stow
    queue(lone_archive, pks, Peer(name="pacs"))
    with delivering(lone_archive, Peer(name="another", kind="stow", url=url)):
        wait_for(lambda: all("configured" in row.last_error for row in deliveries(lone_archive)))
    assert {row.state for row in deliveries(lone_archive)} == {"waiting"}


def test_one_peer_down_holds_up_no_other(lone_archive: Archive, pks, stow):
    url, _ = stow
    silent = free_port()
    import socket

    with socket.create_server(("127.0.0.1", silent)):
        # Connects and never answers.
        down, up = Peer(name="down", port=silent), Peer(name="pacs", kind="stow", url=url)
        queue(lone_archive, pks, down, up)
        stop = threading.Event()
        settings = lone_archive.settings.model_copy(update={"peers": (down, up)})
        arguments = (settings, lone_archive.database, lone_archive.store, stop)
        thread = threading.Thread(target=run_deliverer, args=arguments, daemon=True)
        thread.start()
        wait_for(lambda: all_accepted(lone_archive), seconds=5)
    stop.set()
    thread.join(20)
    assert {row.state for row in deliveries(lone_archive, "down")} == {"waiting"}


@pytest.mark.tools
def test_refused_context_and_wrong_title_say_so(lone_archive: Archive, pks, tool, tmp_path: Path):
    receiver_home = tmp_path / "strict"
    receiver_home.mkdir()
    settings = Settings(home=receiver_home, dicom_port=0, calling_aets=("NOBODY",))
    stop, ports, ready = threading.Event(), [], threading.Event()
    thread = threading.Thread(
        target=run_receiver, args=(settings, lone_archive, stop, lambda port: (ports.append(port), ready.set()))
    )
    thread.start()
    assert ready.wait(10)
    pacs = Peer(name="pacs", port=ports[0], aet="READINGROOM")
    queue(lone_archive, pks, pacs)
    with delivering(lone_archive, pacs):
        wait_for(lambda: all("AE titles" in row.last_error for row in deliveries(lone_archive)))
    stop.set()
    thread.join(15)


def test_what_counts_as_accepted():
    assert all(map(is_accepted, [0x0000, 0xB000, 0xB006, 0xB007, 0x0107, 0x0116, 0x0111]))
    assert not any(map(is_accepted, [0xA700, 0xA900, 0xC000, 0x0110, 0x0122, 0x0124, 0x0211]))


def test_waits_double_to_five_minutes_with_jitter():
    assert all(0.5 <= wait_seconds(1) <= 1.0 for _ in range(50))
    assert all(8.0 <= wait_seconds(5) <= 16.0 for _ in range(50))
    assert all(150.0 <= wait_seconds(n) <= 300.0 for n in (10, 100, 100_000))
    assert len({wait_seconds(3) for _ in range(10)}) > 1


def test_what_is_rejected_is_no_longer_sent(archive: Archive, part10, make_series, stow):
    """Until the note is corrected: then it is due again."""
    url, handler = stow
    pacs = Peer(name="pacs", kind="stow", url=url)
    (image,) = make_series(1)
    own = make_series(2, study_uid=image.StudyInstanceUID)
    put(archive, part10, [image])
    pks = [archive.put_own(ds, origin="report").instance_pk for ds in own]
    queue(archive, pks, pacs)
    peer = _PeerDeliverer(archive.settings, archive.database, archive.store, pacs, threading.Event())
    due = peer._due()
    assert len(due) == 2
    note = rejection_note(own[:1], like=image)
    put(archive, part10, [note], outcome="rejected-note")
    # One that was on its way already stops too.
    assert [one.SOPInstanceUID for one in peer._due()] == [own[1].SOPInstanceUID]
    peer._send(due)
    assert len(handler.got) == 1
    peer._hold_and_release()
    cancelled, accepted = deliveries(archive)
    assert (cancelled.state, cancelled.last_error) == ("cancelled", REJECTED)
    assert accepted.state == "accepted"
    other = rejection_note(own[:1], "113000", like=image)
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = note.SOPInstanceUID
    other.SeriesInstanceUID = note.SeriesInstanceUID
    put(archive, part10, [other], outcome="corrected")
    peer._hold_and_release()
    assert [row.state for row in deliveries(archive)] == ["waiting", "accepted"]
    peer._send(peer._due())
    assert all_accepted(archive)


def test_what_is_rejected_in_a_held_study_is_cancelled_too(lone_archive: Archive, pks):
    pacs = Peer(name="pacs")
    queue(lone_archive, pks, pacs)
    peer = _PeerDeliverer(lone_archive.settings, lone_archive.database, lone_archive.store, pacs, threading.Event())
    with lone_archive.database.write() as session:
        session.execute(update(Study).values(held="two patients"))
    peer._hold_and_release()
    with lone_archive.database.write() as session:
        session.execute(update(Instance).where(Instance.id == pks[0]).values(hidden="113001"))
        session.execute(update(Study).values(held=""))
    peer._hold_and_release()
    assert [row.state for row in deliveries(lone_archive)] == ["cancelled", "waiting", "waiting"]


def test_a_study_held_while_a_batch_is_due_sends_nothing_more(lone_archive: Archive, pks, stow):
    url, handler = stow
    pacs = Peer(name="pacs", kind="stow", url=url)
    queue(lone_archive, pks, pacs)
    peer = _PeerDeliverer(lone_archive.settings, lone_archive.database, lone_archive.store, pacs, threading.Event())
    due = peer._due()
    assert len(due) == len(pks)
    with lone_archive.database.write() as session:
        session.execute(update(Study).values(held="two patients"))
    assert peer._due() == []
    peer._send(due)
    assert handler.got == []
    assert {row.state for row in deliveries(lone_archive)} == {"waiting"}
