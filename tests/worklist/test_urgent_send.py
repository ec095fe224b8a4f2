"""Alerts sent by webhook and mail: to a real HTTPS and a real SMTP server on loopback, tried again until taken."""

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import select, update
from support import free_port
from urgent_support import PLANTED, add_study, alerts, finding, read

from readingroom.access.accounts import create_account, find_account
from readingroom.access.projects import create_project
from readingroom.archive.tables import Study, StudyPerson
from readingroom.core.audit import AuditEvent
from readingroom.core.certificates import SERVER, Pair, authority, issue
from readingroom.core.clock import utc_now
from readingroom.core.config import Settings, load_settings
from readingroom.core.database import Database
from readingroom.core.errors import BadInput
from readingroom.core.permissions import ProjectKind, Role
from readingroom.core.tls import server_context
from readingroom.core.urgent_channels import Urgent, UrgentMail, UrgentWebhook
from readingroom.worklist.urgent import life
from readingroom.worklist.urgent.send import NOT_THEIRS, NOT_WANTED, run_urgent_sender, send_due
from readingroom.worklist.urgent.tables import UrgentEvent, UrgentMessage

SECRET = "a-key-that-both-know"
PASSWORD = "correct horse battery"


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    issue(tmp_path / "tls", "server", SERVER, ["127.0.0.1"])
    return Pair.of(tmp_path / "tls", "server")


@pytest.fixture
def ca(tmp_path: Path, pair: Pair) -> Path:
    return authority(tmp_path / "tls").certificate


@contextmanager
def serving(server: Any) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


class Receiver(ThreadingHTTPServer):
    """An HTTPS server that keeps what it is sent, and answers with ``statuses`` in turn, then 204."""

    def __init__(self, pair: Pair, statuses: tuple[int, ...] = ()) -> None:
        super().__init__(("127.0.0.1", 0), _Hook)
        self.socket = server_context(pair.certificate, pair.key).wrap_socket(self.socket, server_side=True)
        self.statuses = list(statuses)
        self.got: list[tuple[dict[str, str], bytes]] = []


class _Hook(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append(({key.lower(): value for key, value in self.headers.items()}, body))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 204)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class Post(ThreadingTCPServer):
    """A small SMTP server (RFC 5321): STARTTLS or TLS from the start, AUTH PLAIN, keeps the mails it takes."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, pair: Pair, *, implicit: bool = False, refusals: int = 0) -> None:
        self.context = server_context(pair.certificate, pair.key)
        super().__init__(("127.0.0.1", 0), _Talk)
        if implicit:
            self.socket = self.context.wrap_socket(self.socket, server_side=True)
        self.implicit, self.refusals = implicit, refusals
        self.mails: list[tuple[str, bytes]] = []
        self.signed_in: list[str] = []


class _Talk(StreamRequestHandler):
    server: Post

    def handle(self) -> None:
        secure, to = self.server.implicit, ""
        self.say("220 test")
        while line := self.rfile.readline().decode().strip():
            verb = line.split()[0].upper()
            if verb == "EHLO":
                offers = ["AUTH PLAIN"] if secure else ["STARTTLS"]
                self.say("250-test\r\n" + "".join(f"250-{offer}\r\n" for offer in offers) + "250 HELP")
            elif verb == "STARTTLS":
                self.say("220 go on")
                self.connection: Any = self.server.context.wrap_socket(self.connection, server_side=True)
                self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
                secure = True
            elif verb == "AUTH":
                self.server.signed_in.append(line.split()[-1])
                self.say("235 welcome")
            elif verb == "RCPT":
                to = line.partition("<")[2].rstrip(">")
                self.say("250 ok")
            elif verb == "DATA" and self.server.refusals:
                self.server.refusals -= 1
                self.say("451 not now, said the server of Plantagenet")
            elif verb == "DATA":
                self.say("354 go on")
                lines = []
                while (part := self.rfile.readline()) != b".\r\n":
                    lines.append(part)
                self.server.mails.append((to, b"".join(lines)))
                self.say("250 taken")
            else:
                self.say("250 ok" if verb != "QUIT" else "221 bye")
                if verb == "QUIT":
                    return

    def say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


def webhook(port: int, ca: Path, tmp_path: Path, **more: Any) -> UrgentWebhook:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    return UrgentWebhook(
        kind="webhook", name="pager", url=f"https://127.0.0.1:{port}/hook?room=1", ca=ca,
        secret_file=tmp_path / "secret", **more,
    )  # fmt: skip


def mail(port: int, ca: Path, **more: Any) -> UrgentMail:
    return UrgentMail(
        kind="mail", name="post", host="127.0.0.1", port=port, ca=ca, sender="room@hospital.example",
        people=more.pop("people", {"rada": "rada@hospital.example"}), **more,
    )  # fmt: skip


def with_channels(settings: Settings, *channels: UrgentWebhook | UrgentMail) -> Settings:
    changes = {"urgent": Urgent(channels=channels), "web_address": "https://reading.example"}
    return settings.model_copy(update=changes)


def try_all(settings: Settings, database: Database) -> None:
    """Send what is due on each channel, and count what has failed as due again."""
    for channel in settings.urgent.channels:
        while send_due(settings, database, channel):
            pass
    with database.write() as session:
        session.execute(update(UrgentMessage).values(next_try_at=utc_now()))


def messages(database: Database) -> list[UrgentMessage]:
    with database.read() as session:
        return list(session.scalars(select(UrgentMessage).order_by(UrgentMessage.channel, UrgentMessage.recipient)))


def people(database: Database, *names: str) -> None:
    with database.write() as session:
        for name in names:
            create_account(session, name, PASSWORD, Role.RADIOLOGIST)


def test_webhook_is_signed_and_tried_again(
    database: Database, settings: Settings, pair: Pair, ca: Path, tmp_path: Path
) -> None:
    study = add_study(database)
    with serving(receiver := Receiver(pair, statuses=(503,))) as port:
        settings = with_channels(settings, webhook(port, ca, tmp_path))
        read(database, study, [finding()], settings=settings.urgent)
        try_all(settings, database)
        (row,) = messages(database)
        assert (row.state, row.attempts, row.last_error) == ("waiting", 1, "The server answered 503.")
        try_all(settings, database)
        try_all(settings, database)
    (row,) = messages(database)
    assert (row.state, row.attempts, row.last_error) == ("sent", 2, "")
    assert len(receiver.got) == 2
    headers, body = receiver.got[-1]
    said = json.loads(body)
    (alert,) = alerts(database, study)
    assert said == {
        "kind": "urgent-finding", "message": row.id, "alert": alert.id, "finding": "Intracranial hemorrhage",
        "reader": "tiny", "raised_at": alert.raised_at.isoformat(), "step": 0, "simulated": False,
        "study": f"https://reading.example/study/{study}", "notice": "Research use only. Not cleared for clinical use.",
    }  # fmt: skip
    at = headers["x-reading-room-signature"].partition(",")[0].removeprefix("t=")
    digest = hmac.new(SECRET.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    assert headers["x-reading-room-signature"] == f"t={at},v1={digest}"
    assert abs(int(at) - time.time()) < 600
    assert headers["x-reading-room-message"] == receiver.got[0][0]["x-reading-room-message"] == row.id
    assert PLANTED.lower() not in body.decode().lower()
    with database.read() as session:
        (event,) = session.scalars(select(UrgentEvent).where(UrgentEvent.kind == "sent"))
        (audited,) = session.scalars(select(AuditEvent).where(AuditEvent.action == "urgent-sent"))
    assert (event.actor, event.detail) == ("pager", "pager")
    assert (audited.actor, audited.study_id, audited.host) == ("pager", study, "127.0.0.1")


def test_a_server_that_is_not_there_or_not_the_right_one(
    sqlite_database: Database, settings: Settings, pair: Pair, ca: Path, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    study = add_study(sqlite_database)
    gone = webhook(free_port(), ca, tmp_path)
    read(sqlite_database, study, [finding()], settings=Urgent(channels=(gone,)))
    try_all(with_channels(settings, gone), sqlite_database)
    (row,) = messages(sqlite_database)
    assert row.last_error == "The server cannot be reached (ConnectError)."
    stranger = tmp_path / "stranger"
    with serving(receiver := Receiver(pair)) as port:
        try_all(with_channels(settings, webhook(port, authority(stranger).certificate, tmp_path)), sqlite_database)
        try_all(with_channels(settings, webhook(port, tmp_path / "none.pem", tmp_path)), sqlite_database)
    (row,) = messages(sqlite_database)
    assert (row.state, row.attempts, receiver.got) == ("waiting", 3, [])
    assert PLANTED not in caplog.text


@pytest.mark.parametrize("implicit", [False, True])
def test_mail_by_tls(
    sqlite_database: Database, settings: Settings, pair: Pair, ca: Path, implicit: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("READINGROOM_URGENT_POST", "mail-password")
    people(sqlite_database, "rada")
    study = add_study(sqlite_database)
    with serving(post := Post(pair, implicit=implicit, refusals=1)) as port:
        channel = mail(port, ca, tls="tls" if implicit else "starttls", user="room")
        settings = with_channels(settings, channel).model_copy(update={"site_timezone": "Europe/Berlin"})
        read(sqlite_database, study, [finding()], settings=settings.urgent)
        try_all(settings, sqlite_database)
        (row,) = messages(sqlite_database)
        assert (row.attempts, row.last_error) == (1, "The mail server did not take it (SMTPDataError).")
        try_all(settings, sqlite_database)
    ((to, data),) = post.mails
    assert len(post.signed_in) == 2
    said = message_from_bytes(data, policy=policy.default)
    assert (to, said["To"], said["From"]) == ("rada@hospital.example",) * 2 + ("room@hospital.example",)
    assert said["Subject"] == "Urgent finding: Intracranial hemorrhage"
    text = said.get_body().get_content()  # type: ignore[union-attr]
    assert f"Study: https://reading.example/study/{study}" in text
    assert "(Europe/Berlin)" in text
    assert "Research use only" in text
    assert PLANTED.lower() not in data.decode().lower()
    assert messages(sqlite_database)[0].state == "sent"


def test_mail_is_not_sent_in_the_clear(
    sqlite_database: Database, settings: Settings, pair: Pair, tmp_path: Path
) -> None:
    people(sqlite_database, "rada")
    with serving(post := Post(pair)) as port:
        channel = mail(port, authority(tmp_path / "stranger").certificate)
        read(sqlite_database, add_study(sqlite_database), [finding()], settings=Urgent(channels=(channel,)))
        try_all(with_channels(settings, channel), sqlite_database)
    assert post.mails == []
    assert messages(sqlite_database)[0].last_error == "The mail server did not take it (SSLCertVerificationError)."


def test_only_who_may_see_the_study_is_told(
    sqlite_database: Database, settings: Settings, pair: Pair, ca: Path, tmp_path: Path
) -> None:
    people(sqlite_database, "rada", "roda", "gone")
    with sqlite_database.write() as session:
        trial = create_project(session, "trial", ProjectKind.RESEARCH, actor="test").id
        create_account(session, "admin", PASSWORD, Role.ADMINISTRATOR)
        create_account(session, "tess", PASSWORD, Role.TECHNOLOGIST)
    everybody = {name: f"{name}@hospital.example" for name in ("rada", "roda", "admin", "tess", "nobody")}
    plain, closed = add_study(sqlite_database), add_study(sqlite_database)
    elsewhere = add_study(sqlite_database, project=trial)
    with sqlite_database.write() as session:
        session.get_one(Study, closed).restricted = True
        session.add(StudyPerson(study_id=closed, account_id=find_account(session, "rada").id))
    with serving(post := Post(pair)) as mails, serving(receiver := Receiver(pair)) as hooks:
        channels = (mail(mails, ca, people=everybody), webhook(hooks, ca, tmp_path))
        settings = with_channels(settings, *channels)
        for study in (plain, closed, elsewhere):
            read(sqlite_database, study, [finding()], settings=settings.urgent)
        try_all(settings, sqlite_database)
    told = {(to.partition("@")[0], study) for to, data in post.mails
            for study in (plain, closed, elsewhere) if study in data.decode().replace("=\r\n", "")}  # fmt: skip
    assert told == {("rada", plain), ("roda", plain), ("rada", closed)}
    assert [json.loads(body)["study"].rpartition("/")[2] for _, body in receiver.got] == [plain]
    refused = [row for row in messages(sqlite_database) if row.state == "cancelled"]
    assert {row.last_error for row in refused} == {NOT_THEIRS}
    assert len(refused) == 3 * (len(everybody) + 1) - 4


def test_nobody_is_told_of_what_is_seen_to(
    sqlite_database: Database, settings: Settings, pair: Pair, ca: Path, tmp_path: Path
) -> None:
    with serving(receiver := Receiver(pair)) as port:
        now, later = webhook(port, ca, tmp_path), webhook(port, ca, tmp_path, step=1).model_copy(update={"name": "two"})
        settings = with_channels(settings, now, later)
        seen, waiting = add_study(sqlite_database), add_study(sqlite_database)
        for study in (seen, waiting):
            read(sqlite_database, study, [finding()], settings=settings.urgent)
        (alert,) = alerts(sqlite_database, seen)
        with sqlite_database.write() as session:
            life.acknowledge(session, seen, alert.id, "rada")
        try_all(settings, sqlite_database)
        assert [json.loads(body)["step"] for _, body in receiver.got] == [0]
        assert {row.last_error for row in messages(sqlite_database) if row.state == "cancelled"} == {NOT_WANTED}
        with sqlite_database.write() as session:
            (alert,) = life.open_alerts(session, waiting)
            assert alert.escalate_at is not None
            life.escalate(session, settings.urgent, alert.escalate_at)
        try_all(settings, sqlite_database)
    assert [json.loads(body)["step"] for _, body in receiver.got] == [0, 1]


def test_the_process_sends(sqlite_database: Database, settings: Settings, pair: Pair, ca: Path, tmp_path: Path) -> None:
    """The threads of the deliver process, each channel by itself: one that is down holds up no other."""
    with serving(receiver := Receiver(pair)) as port:
        down = mail(free_port(), ca)
        settings = with_channels(settings, down, webhook(port, ca, tmp_path))
        people(sqlite_database, "rada")
        stop = threading.Event()
        thread = threading.Thread(target=run_urgent_sender, args=(settings, sqlite_database, stop))
        thread.start()
        read(sqlite_database, add_study(sqlite_database), [finding()], settings=settings.urgent)
        until(lambda: len(receiver.got) == 1 and messages(sqlite_database)[1].attempts > 0)
        stop.set()
        thread.join(30)
    assert not thread.is_alive()
    by_name = {row.channel: row for row in messages(sqlite_database)}
    assert (by_name["pager"].state, by_name["post"].state) == ("sent", "waiting")


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


# Settings


def test_settings_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[urgent]\nescalate_minutes = 5\n[[urgent.channels]]\nkind = "webhook"\nname = "pager"\n'
        'url = "https://pager.example/in"\n[[urgent.channels]]\nkind = "mail"\nname = "post"\nstep = 2\n'
        'host = "mail.example"\nsender = "a@b.example"\npeople = {rada = "rada@b.example"}\n'
    )
    urgent = load_settings(tmp_path).urgent
    assert (urgent.escalate_minutes, urgent.last_step) == (5, 2)
    assert [type(one).__name__ for one in urgent.channels] == ["UrgentWebhook", "UrgentMail"]
    assert Urgent().last_step == 1


@pytest.mark.parametrize("url", ["http://pager.example/", "ftp://x/", "https://", "pager.example"])
def test_a_webhook_is_https(url: str) -> None:
    with pytest.raises(ValidationError, match="https"):
        UrgentWebhook(kind="webhook", name="pager", url=url)
    UrgentWebhook(kind="webhook", name="pager", url="http://127.0.0.1:9/")


def test_names_of_channels_differ() -> None:
    one = {"kind": "webhook", "name": "pager", "url": "https://pager.example/"}
    with pytest.raises(ValidationError, match="same name"):
        Urgent.model_validate({"channels": [one, one]})


def test_a_secret_comes_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    channel = UrgentWebhook(kind="webhook", name="my-pager", url="https://pager.example/")
    with pytest.raises(BadInput, match="no secret"):
        channel.secret()
    monkeypatch.setenv("READINGROOM_URGENT_MY_PAGER", "from outside")
    assert channel.secret() == "from outside"
    with pytest.raises(BadInput, match="cannot be read"):
        channel.model_copy(update={"secret_file": tmp_path / "none"}).secret()
