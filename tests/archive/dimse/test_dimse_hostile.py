"""What a broken or hostile peer may send: the receiver answers with an A-ABORT or closes, and goes on serving."""

import random
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from readingroom.archive.dimse import negotiation, pdu
from readingroom.archive.dimse.association import Association
from readingroom.archive.dimse.commands import encode_store_request
from readingroom.archive.dimse.fsm import TABLE, Action, Event, State
from readingroom.archive.dimse.permissions import DIMSE_PERMISSIONS
from readingroom.core.permissions import Permission

CT = "1.2.840.10008.5.1.4.1.1.2"
LITTLE = "1.2.840.10008.1.2.1"
CONTEXTS = [
    pdu.PresentationContext(1, CT, (LITTLE, "1.2.840.10008.1.2")),
    pdu.PresentationContext(3, negotiation.VERIFICATION, ("1.2.840.10008.1.2",)),
]
REQUEST = pdu.encode_associate_request("READINGROOM", "TESTER", CONTEXTS)
RELEASE = pdu.HEADER.pack(pdu.RELEASE_RQ, 4) + bytes(4)


def command(context_id: int, field: int, sop_class: str, has_data: bool = False) -> bytes:
    """P-DATA-TF with a request's command set."""
    uid = sop_class.encode() + b"\0" * (len(sop_class) % 2)
    elements = [(0x0002, uid), (0x0100, struct.pack("<H", field)), (0x0110, b"\x07\x00")]
    elements += [(0x0800, b"\x01\x00" if has_data else b"\x01\x01")]
    body = b"".join(struct.pack("<HHL", 0, tag, len(value)) + value for tag, value in elements)
    return pdu.encode_command(context_id, struct.pack("<HHLL", 0, 0, 4, len(body)) + body, 0)


def data(context_id: int, content: bytes, last: bool = True) -> bytes:
    item = pdu.PDV_HEADER.pack(len(content) + 2, context_id, 2 if last else 0) + content
    return pdu.HEADER.pack(pdu.P_DATA_TF, len(item)) + item


ECHO = command(3, 0x0030, negotiation.VERIFICATION)
STORE = pdu.encode_command(1, encode_store_request(1, CT, "1.2.3"), 0)


def connect(port: int, seconds: float = 10.0) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), seconds)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def exactly(connection: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count:
        piece = connection.recv(count - len(got))
        if not piece:
            raise EOFError
        got += piece
    return got


def next_pdu(connection: socket.socket) -> tuple[int, bytes]:
    kind, length = pdu.HEADER.unpack(exactly(connection, 6))
    return kind, exactly(connection, length)


def associate(port: int) -> socket.socket:
    connection = connect(port)
    connection.sendall(REQUEST)
    assert next_pdu(connection)[0] == pdu.ASSOCIATE_AC
    return connection


def status_of(connection: socket.socket) -> int:
    kind, body = next_pdu(connection)
    assert kind == pdu.P_DATA_TF
    at = body.index(struct.pack("<HHL", 0, 0x0900, 2)) + 8
    return int.from_bytes(body[at : at + 2], "little")


def still_serves(port: int) -> bool:
    with associate(port) as connection:
        connection.sendall(ECHO)
        served = status_of(connection) == 0
        connection.sendall(RELEASE)
        return served and next_pdu(connection)[0] == pdu.RELEASE_RP


def ends_with_abort(connection: socket.socket) -> bool:
    """Read until the peer closes. Whether an A-ABORT was the last it said."""
    kind = 0
    try:
        while True:
            kind, _ = next_pdu(connection)
    except EOFError:
        return kind == pdu.ABORT


@pytest.mark.parametrize(
    "stream",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        bytes(100),
        b"\xff" * 100,
        pdu.HEADER.pack(0x01, 0xFFFFFFFF) + REQUEST[6:],
        pdu.HEADER.pack(0x01, 20) + bytes(20),
        pdu.HEADER.pack(0x99, 4) + bytes(4),
        REQUEST[:74] + b"\x20\x00\xff\xff" + REQUEST[78:],
        ECHO,
        RELEASE,
    ],
    ids=[
        "http",
        "zeros",
        "ones",
        "huge request",
        "short request",
        "unknown",
        "huge item",
        "early data",
        "early release",
    ],
)
def test_garbage_for_a_request_is_aborted(start_receiver, stream: bytes):
    receiver = start_receiver()
    with connect(receiver.port) as connection:
        connection.sendall(stream)
        assert ends_with_abort(connection)
    assert still_serves(receiver.port)


@pytest.mark.parametrize(
    "stream",
    [
        REQUEST,
        pdu.HEADER.pack(pdu.P_DATA_TF, 0xFFFFFFFF) + bytes(50),
        pdu.HEADER.pack(pdu.P_DATA_TF, 12) + pdu.PDV_HEADER.pack(0xFFFFFFFF, 1, 0) + bytes(6),
        pdu.HEADER.pack(pdu.P_DATA_TF, 12) + pdu.PDV_HEADER.pack(1, 1, 0) + bytes(6),
        pdu.HEADER.pack(pdu.P_DATA_TF, 3) + bytes(3),
        pdu.HEADER.pack(pdu.RELEASE_RQ, 0xFFFF) + bytes(50),
        data(1, b"no command before it"),
        data(5, b"no such context"),
        STORE + STORE,
        STORE + data(3, b"another context"),
        command(3, 0x8030, negotiation.VERIFICATION),
        pdu.encode_command(1, b"\x08\x00\x05\x00\x02\x00\x00\x00xx", 0),
        pdu.encode_command(1, b"\x00\x00\x00\x01\xff\xff\xff\xff\x01\x00", 0),
        pdu.HEADER.pack(pdu.P_DATA_TF, 6) + pdu.PDV_HEADER.pack(2, 1, 3),
        pdu.encode_associate_reject(1, 1, 1),
    ],
)
def test_garbage_in_an_association_is_aborted(start_receiver, stream: bytes):
    receiver = start_receiver()
    with associate(receiver.port) as connection:
        connection.sendall(stream)
        assert ends_with_abort(connection)
    assert receiver.archive.got == []
    assert still_serves(receiver.port)


def test_endless_command_is_aborted(start_receiver):
    receiver = start_receiver()
    piece = pdu.HEADER.pack(pdu.P_DATA_TF, 6 + 60_000) + pdu.PDV_HEADER.pack(2 + 60_000, 1, 1) + bytes(60_000)
    with associate(receiver.port) as connection:
        connection.sendall(piece * 2)
        assert ends_with_abort(connection)


@pytest.mark.parametrize("field", [0x0020, 0x0010, 0x0021, 0x0100, 0x0110, 0x0120, 0x0130, 0x0140, 0x0150])
def test_other_verbs_are_refused_with_a_status(start_receiver, field: int):
    receiver = start_receiver()
    with associate(receiver.port) as connection:
        connection.sendall(command(1, field, CT, has_data=True) + data(1, b"identifier"))
        assert status_of(connection) == 0x0211
        connection.sendall(ECHO)
        assert status_of(connection) == 0
    assert receiver.archive.got == []


def test_requests_in_the_wrong_context_are_refused(start_receiver):
    receiver = start_receiver()
    with associate(receiver.port) as connection:
        connection.sendall(command(1, 0x0030, CT))
        assert status_of(connection) == 0x0122
        connection.sendall(command(3, 0x0001, negotiation.VERIFICATION, has_data=True) + data(3, b"x"))
        assert status_of(connection) == 0x0122
        connection.sendall(command(1, 0x0001, "1.2.840.10008.5.1.4.1.1.4", has_data=True) + data(1, b"x"))
        assert status_of(connection) == 0x0122
        connection.sendall(command(1, 0x0001, CT))
        assert status_of(connection) == 0x0212
    assert receiver.archive.got == []


def test_several_values_and_messages_in_one_write(start_receiver):
    receiver = start_receiver()
    content = bytes(range(256)) * 40
    # Command and data set in one PDU, data set in many small ones, an operation invoked before the last is answered.
    joined = STORE[6:] + data(1, content)[6:]
    pieces = b"".join(data(1, content[at : at + 1000], last=at + 1000 >= len(content)) for at in range(0, 10240, 1000))
    with associate(receiver.port) as connection:
        connection.sendall(pdu.HEADER.pack(pdu.P_DATA_TF, len(joined)) + joined + STORE + pieces + ECHO)
        assert [status_of(connection) for _ in range(3)] == [0, 0, 0]
        connection.sendall(RELEASE)
        assert next_pdu(connection)[0] == pdu.RELEASE_RP
    assert [o["path"].read_bytes() for o in receiver.archive.got] == [content, content]


@pytest.mark.parametrize(
    "said", [b"", REQUEST[:50], REQUEST, REQUEST + STORE, REQUEST + STORE + data(1, bytes(5000))[:4000]]
)
def test_hanging_association_is_dropped(start_receiver, said: bytes):
    receiver = start_receiver(association_idle_seconds=0.5)
    with connect(receiver.port) as connection:
        connection.sendall(said)
        start = time.monotonic()
        ends_with_abort(connection)
        assert 0.3 < time.monotonic() - start < 4.0
    assert receiver.archive.got == []
    assert still_serves(receiver.port)


def test_dripping_request_is_dropped(start_receiver):
    receiver = start_receiver(association_idle_seconds=0.5)
    with connect(receiver.port) as connection:
        start = time.monotonic()
        with pytest.raises(OSError):
            for byte in REQUEST:
                connection.sendall(bytes([byte]))
                time.sleep(0.05)
        assert time.monotonic() - start < 5.0


def test_announced_length_takes_no_memory(start_receiver):
    receiver = start_receiver()
    before = psutil.Process().memory_info().rss
    connections = [associate(receiver.port) for _ in range(30)]
    for connection in connections:
        head = pdu.HEADER.pack(pdu.P_DATA_TF, 1 << 20) + pdu.PDV_HEADER.pack((1 << 20) - 4, 1, 0)
        connection.sendall(STORE + head + bytes(1000))
    time.sleep(0.5)
    assert psutil.Process().memory_info().rss - before < 80 << 20
    for connection in connections:
        connection.close()


def test_mutated_streams(start_receiver, caplog: pytest.LogCaptureFixture):
    """1,000 seeded mutations of a whole conversation: no crash, no hang, no thread left behind, no growth."""
    receiver = start_receiver(association_idle_seconds=2.0, max_associations=200)
    whole = REQUEST + ECHO + STORE + data(1, bytes(3000), last=False) + data(1, bytes(500)) + ECHO + RELEASE
    chance = random.Random(20261123)
    still_serves(receiver.port)
    before = psutil.Process().memory_info().rss
    for _ in range(1000):
        stream = bytearray(whole)
        for _ in range(chance.choice([1, 1, 2, 4, 16])):
            at = chance.randrange(len(stream) if chance.random() < 0.3 else len(REQUEST) + 300)
            kind = chance.randrange(4)
            if kind == 0:
                stream[at] = chance.randrange(256)
            elif kind == 1:
                del stream[at : at + chance.randrange(1, 12)]
            elif kind == 2:
                stream[at:at] = chance.randbytes(chance.randrange(1, 12))
            else:
                stream[at : at + 4] = chance.choice([b"\xff\xff\xff\xff", bytes(4), b"\x00\x00\x00\x01"])
        with connect(receiver.port) as connection:
            try:
                connection.sendall(stream)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
            except ConnectionError:
                pass
    assert still_serves(receiver.port)
    assert "association failed" not in caplog.text
    assert "storing an object failed" not in caplog.text
    end = time.monotonic() + 10
    while any(thread.name == "association" for thread in threading.enumerate()):
        assert time.monotonic() < end, "an association was left behind"
        time.sleep(0.1)
    assert psutil.Process().memory_info().rss - before < 64 << 20


def test_state_table_answers_every_event_in_every_state():
    arrivals = [Event.ASSOCIATE_AC_ARRIVED, Event.ASSOCIATE_RJ_ARRIVED, Event.ASSOCIATE_RQ_ARRIVED, Event.DATA_ARRIVED]
    arrivals += [Event.RELEASE_RQ_ARRIVED, Event.RELEASE_RP_ARRIVED, Event.ABORT_ARRIVED, Event.CLOSED]
    arrivals += [Event.INVALID_PDU]
    for state in (State.AWAITING_REQUEST, State.DECIDING, State.ESTABLISHED, State.RELEASING):
        for event in arrivals:
            assert (event, state) in TABLE
    # Rows of PS3.8 table 9-10.
    assert TABLE[Event.RELEASE_RQ_ARRIVED, State.ESTABLISHED] == (Action.ANSWER_RELEASE, State.RELEASING)
    assert TABLE[Event.ASSOCIATE_RQ_ARRIVED, State.ESTABLISHED] == (Action.ABORT_AS_PROVIDER, State.AWAITING_CLOSE)
    assert TABLE[Event.DATA_ARRIVED, State.AWAITING_REQUEST] == (Action.ABORT, State.AWAITING_CLOSE)
    assert TABLE[Event.ABORT_ARRIVED, State.ESTABLISHED] == (Action.ABORTED, State.IDLE)


def test_every_verb_declares_its_permission():
    assert DIMSE_PERMISSIONS == {"C-ECHO": Permission.ECHO, "C-STORE": Permission.STUDY_STORE}


def test_role_selection_is_answered_and_extras_are_tolerated(start_receiver):
    """Asynchronous window, role selection, extended negotiation, user identity in one request."""

    def item(kind: int, body: bytes) -> bytes:
        return struct.pack(">BxH", kind, len(body)) + body

    uid = CT.encode()
    extras = item(0x53, struct.pack(">HH", 8, 8))
    extras += item(0x54, struct.pack(">H", len(uid)) + uid + b"\x01\x01")
    extras += item(0x56, struct.pack(">H", len(uid)) + uid + bytes(6))
    extras += item(0x58, b"\x01\x01\x00\x04user\x00\x00")
    receiver = start_receiver()
    user_at = REQUEST.index(b"\x50\x00", 74)
    user = REQUEST[user_at + 4 :] + extras
    body = REQUEST[6:user_at] + item(0x50, user)
    with connect(receiver.port) as connection:
        connection.sendall(pdu.HEADER.pack(pdu.ASSOCIATE_RQ, len(body)) + body)
        kind, answer = next_pdu(connection)
        assert kind == pdu.ASSOCIATE_AC
        assert struct.pack(">BxHH", 0x54, len(uid) + 4, len(uid)) + uid + b"\x01\x00" in answer
        accepted, max_pdu = pdu.parse_associate_accept(answer)
        assert accepted == {1: LITTLE, 3: "1.2.840.10008.1.2"}
        assert max_pdu >= 1 << 20
        connection.sendall(ECHO)
        assert status_of(connection) == 0


def test_sockets_are_tuned(start_receiver, monkeypatch: pytest.MonkeyPatch, ct_folder: Path, send_file: Callable):
    """TCP_NODELAY once, TCP_QUICKACK again and again, and each answer in one write."""
    set_options, writes = [], []

    class Spy:
        def __init__(self, inner: socket.socket) -> None:
            self.inner = inner

        def setsockopt(self, *option) -> None:
            set_options.append(option[1])
            self.inner.setsockopt(*option)

        def send(self, view) -> int:
            writes.append(bytes(view))
            return self.inner.send(view)

        def __getattr__(self, name):
            return getattr(self.inner, name)

    def spied(connection: socket.socket, *rest, **more) -> Association:
        return Association(Spy(connection), *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("readingroom.archive.dimse.receiver.Association", spied)
    receiver = start_receiver()
    with receiver.requestor() as requestor:
        assert send_file(requestor, ct_folder / "0000.dcm") == 0
    assert set_options.count(socket.TCP_NODELAY) == 1
    assert [w[0] for w in writes] == [pdu.ASSOCIATE_AC, pdu.P_DATA_TF, pdu.RELEASE_RP]
    if hasattr(socket, "TCP_QUICKACK"):
        assert set_options.count(socket.TCP_QUICKACK) >= 3
