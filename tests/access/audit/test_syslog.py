"""The audit sent by syslog over TLS: every event arrives at least once, whatever fails, and only at whom it is for."""

import os
import re
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest
from audit_schema import problems
from support import find_tool, free_port, skip_or_fail

from readingroom.access.audit import syslog
from readingroom.access.audit.message import Subject, Us
from readingroom.access.audit.syslog import cursor_name, run_audit_sender, send_batch
from readingroom.access.audit.tables import AuditCursor
from readingroom.core.audit import AuditCode, AuditEvent, record_alone
from readingroom.core.certificates import AUTHORITY, CLIENT, SERVER, Pair, issue
from readingroom.core.config import AuditSyslog, Settings
from readingroom.core.database import Database
from readingroom.core.errors import BadInput
from readingroom.core.tls import server_context

US = Us("READINGROOM", "node1")
HEAD = re.compile(
    rb"<(8[45])>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) \S+ readingroom \d+ DICOM\+RFC3881 - \xef\xbb\xbf"
)


@dataclass
class Receiver:
    """A syslog receiver on loopback. ``manner``: how it treats the next connections; ``well`` when there is none."""

    folder: Path
    clients: bool = False
    manners: list[str] = field(default_factory=list)
    got: list[bytes] = field(default_factory=list)
    connections: int = 0

    def __post_init__(self) -> None:
        self.pair = issue(self.folder, "receiver", SERVER, ["127.0.0.1"])
        authority = Pair.of(self.folder, AUTHORITY).certificate
        self._context = server_context(self.pair.certificate, self.pair.key, authority if self.clients else None)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def settings(self, **changes: object) -> AuditSyslog:
        ca = Pair.of(self.folder, AUTHORITY).certificate
        return AuditSyslog.model_validate({"host": "127.0.0.1", "port": self.port, "ca": ca, **changes})

    def numbers(self) -> list[int]:
        return [number(message) for message in self.got]

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            manner = self.manners.pop(0) if self.manners else "well"
            try:
                self._take(plain, manner)
            except OSError:
                plain.close()

    def _take(self, plain: socket.socket, manner: str) -> None:
        if manner == "deaf":
            plain.close()
            return
        with self._context.wrap_socket(plain, server_side=True) as secure:
            if manner == "resets":
                # As a process that is killed with bytes unread.
                time.sleep(0.05)
                secure.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            if manner == "hangs up at once":
                return
            if manner == "says goodbye first":
                # Its end of TLS crosses with what we send, which it never reads.
                secure.settimeout(0)
                with suppress(ssl.SSLWantReadError):
                    secure.unwrap()
                time.sleep(0.2)
                return
            data = b""
            while piece := secure.recv(65536):
                data += piece
            self.got += split(data)
            if manner != "no close_notify":
                secure.unwrap()


def split(data: bytes) -> list[bytes]:
    """The messages of a stream counted by octets (RFC 5425)."""
    found = []
    while data:
        length, _, rest = data.partition(b" ")
        assert length.isdigit(), data[:40]
        found.append(rest[: int(length)])
        assert len(found[-1]) == int(length)
        data = rest[int(length) :]
    return found


def number(message: bytes) -> int:
    root = fromstring(message[HEAD.match(message).end() :])  # type: ignore[union-attr]
    (chained,) = [
        one
        for one in root.findall("ParticipantObjectIdentification")
        if one.find("ParticipantObjectIDTypeCode").get("csd-code") == "event"  # type: ignore[union-attr]
    ]
    return int(chained.get("ParticipantObjectID", ""))


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    made = Receiver(tmp_path / "tls")
    yield made
    made.close()


def write(database: Database, count: int, outcome: str = "success") -> None:
    for n in range(count):
        record_alone(
            database, AuditCode.INSTANCES_ACCESSED, "study-opened", f"ünser-{n}", study_id="a" * 32, outcome=outcome
        )


def send(database: Database, to: AuditSyslog) -> int:
    return send_batch(to, database, lambda _, events: {e.id: Subject("1.2.3", "MRN-7") for e in events}, US)


def test_every_event_arrives_once_in_order_and_is_a_message(database: Database, receiver: Receiver) -> None:
    write(database, 3)
    write(database, 1, outcome="refused")
    assert (send(database, receiver.settings()), send(database, receiver.settings())) == (4, 0)
    assert receiver.numbers() == [1, 2, 3, 4]
    for message in receiver.got:
        head = HEAD.match(message)
        assert head is not None
        assert problems(fromstring(message[head.end() :])) == []
    assert [HEAD.match(m)[1] for m in receiver.got] == [b"85", b"85", b"85", b"84"]  # type: ignore[index]
    assert "ünser-0".encode() in receiver.got[0]
    write(database, 2)
    assert send(database, receiver.settings()) == 2
    assert receiver.numbers() == [1, 2, 3, 4, 5, 6]


def test_batches_follow_each_other(
    sqlite_database: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syslog, "BATCH", 3)
    write(sqlite_database, 7)
    assert [send(sqlite_database, receiver.settings()) for _ in range(4)] == [3, 3, 1, 0]
    assert receiver.numbers() == list(range(1, 8))


@pytest.mark.parametrize("manner", ["deaf", "resets", "hangs up at once", "says goodbye first"])
@pytest.mark.parametrize("count", [5, 400])
def test_what_was_not_read_is_sent_again(
    sqlite_database: Database, receiver: Receiver, manner: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few events fit what the system buffers: nothing but the answer tells that they were not read."""
    monkeypatch.setattr(syslog, "_RESET_MS", 2000)
    write(sqlite_database, count)
    receiver.manners.append(manner)
    with pytest.raises(OSError):
        send(sqlite_database, receiver.settings())
    with sqlite_database.read() as session:
        assert session.get(AuditCursor, cursor_name(receiver.settings())) is None, "the cursor stays"
    assert send(sqlite_database, receiver.settings()) == count
    assert receiver.numbers() == list(range(1, count + 1))


def test_a_receiver_that_only_hangs_up_has_read_everything(sqlite_database: Database, receiver: Receiver) -> None:
    write(sqlite_database, 2)
    receiver.manners.append("no close_notify")
    assert send(sqlite_database, receiver.settings()) == 2
    assert receiver.numbers() == [1, 2]


def test_only_the_receiver_that_is_meant(sqlite_database: Database, receiver: Receiver, tmp_path: Path) -> None:
    write(sqlite_database, 1)
    stranger = issue(tmp_path / "other", "x", SERVER, ["127.0.0.1"])
    for wrong in ({"ca": Pair.of(tmp_path / "other", AUTHORITY).certificate}, {"host": "localhost"}):
        with pytest.raises(ssl.SSLCertVerificationError):
            send(sqlite_database, receiver.settings(**wrong))
    with pytest.raises(BadInput):
        send(sqlite_database, receiver.settings(ca=stranger.key))
    assert receiver.got == []


def test_a_receiver_may_want_to_know_who_sends(sqlite_database: Database, tmp_path: Path) -> None:
    receiver = Receiver(tmp_path / "tls", clients=True)
    write(sqlite_database, 1)
    with pytest.raises(OSError):
        send(sqlite_database, receiver.settings())
    assert receiver.got == []
    own = issue(tmp_path / "tls", "node", CLIENT, ["node1"])
    assert send(sqlite_database, receiver.settings(certificate=own.certificate, key=own.key)) == 1
    receiver.close()
    assert receiver.numbers() == [1]


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def test_the_sender_goes_on_after_failures_and_restarts(
    sqlite_database: Database, settings: Settings, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syslog, "FAILED_SECONDS", 0.05)
    monkeypatch.setattr(syslog, "LOOK_SECONDS", 0.05)
    to = settings.model_copy(update={"audit_syslog": receiver.settings()})
    receiver.manners += ["deaf", "resets", "deaf"]
    write(sqlite_database, 5)
    for expected in (5, 10):
        stop = threading.Event()
        sender = threading.Thread(target=run_audit_sender, args=(to, sqlite_database, lambda *_: {}, stop), daemon=True)
        sender.start()
        wait_for(lambda: set(range(1, expected + 1)) <= set(receiver.numbers()))  # noqa: B023
        stop.set()
        sender.join(10)
        assert not sender.is_alive()
        with sqlite_database.read() as session:
            cursor = session.get_one(AuditCursor, cursor_name(receiver.settings()))
            assert (cursor.event, cursor.last_error) == (expected, "")
        write(sqlite_database, 5)
    # Nothing is missing and nothing came before what it follows.
    seen = receiver.numbers()
    assert [n for at, n in enumerate(seen) if n not in seen[:at]] == list(range(1, 11))


def test_a_failure_is_shown_and_logged_once(
    sqlite_database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(syslog, "FAILED_SECONDS", 0.01)
    to = settings.model_copy(update={"audit_syslog": AuditSyslog(host="127.0.0.1", port=free_port())})
    write(sqlite_database, 1)
    stop = threading.Event()
    sender = threading.Thread(target=run_audit_sender, args=(to, sqlite_database, lambda *_: {}, stop), daemon=True)
    sender.start()

    def shown() -> str:
        with sqlite_database.read() as session:
            row = session.get(AuditCursor, cursor_name(to.audit_syslog)) if to.audit_syslog else None
            return row.last_error if row else ""

    wait_for(lambda: shown() == "ConnectionRefusedError")
    time.sleep(0.1)
    stop.set()
    sender.join(10)
    assert len([r for r in caplog.records if "cannot be sent" in r.message]) == 1
    with sqlite_database.read() as session:
        assert session.query(AuditEvent).count() == 1, "failing to send writes no events"


@pytest.mark.tools
@pytest.mark.parametrize("driver", ["ossl", "gtls"])
def test_rsyslog_takes_it(
    sqlite_database: Database, tmp_path: Path, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Debian keeps it where only root looks.
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:/usr/sbin")
    program = find_tool("rsyslogd")
    if not list(Path("/usr/lib").glob(f"**/rsyslog/lmnsd_{driver}.so")):
        skip_or_fail("rsyslog has no TLS: apt install rsyslog-openssl rsyslog-gnutls")
    folder, port = tmp_path / "tls", free_port()
    pair = issue(folder, "receiver", SERVER, ["127.0.0.1"])
    authority = Pair.of(folder, AUTHORITY).certificate
    out, config = tmp_path / "out.log", tmp_path / "rsyslog.conf"
    config.write_text(
        f'global(workDirectory="{tmp_path}" maxMessageSize="64k" defaultNetstreamDriver="{driver}"\n'
        f' defaultNetstreamDriverCAFile="{authority}" defaultNetstreamDriverCertFile="{pair.certificate}"\n'
        f' defaultNetstreamDriverKeyFile="{pair.key}")\n'
        f'module(load="imtcp" StreamDriver.Name="{driver}" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")\n'
        f'input(type="imtcp" port="{port}" address="127.0.0.1")\n'
        'template(name="raw" type="string" string="%rawmsg%\\n")\n'
        f'*.* action(type="omfile" file="{out}" template="raw")\n'
    )
    running = subprocess.Popen(
        [program, "-n", "-f", str(config), "-i", str(tmp_path / "pid")], stderr=subprocess.DEVNULL
    )
    try:
        to = AuditSyslog(host="127.0.0.1", port=port, ca=authority)
        write(sqlite_database, 300)

        def sent() -> bool:
            try:
                return send(sqlite_database, to) == 300
            except OSError:
                return False

        wait_for(sent, 60)
        wait_for(lambda: out.exists() and out.read_bytes().count(b"<AuditMessage") == 300, 60)
        assert [number(line) for line in out.read_bytes().splitlines()] == list(range(1, 301))
    finally:
        running.terminate()
        running.wait(20)
