"""DICOM over TLS (BCP 195) with dcmtk's tools: let in with a certificate of our authority, refused without."""

import socket
import ssl
import subprocess
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydicom.filereader import dcmread
from sqlalchemy import select
from support import free_port

from readingroom.archive.dimse.requestor import PeerFailed, Requestor
from readingroom.core.audit import AuditEvent
from readingroom.core.certificates import CLIENT, SERVER, Pair, authority, issue
from readingroom.core.config import Caller, Settings, load_settings
from readingroom.core.errors import BadInput
from readingroom.core.tls import client_context

Start = Callable[..., Any]
CT = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1")


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority, a server's certificate and two clients'."""
    folder = tmp_path_factory.mktemp("ours")
    issue(folder, "server", SERVER, ["localhost", "127.0.0.1"])
    issue(folder, "elsewhere", SERVER, ["elsewhere.example"])
    for name in ("ct1", "ct2"):
        issue(folder, name, CLIENT, [f"{name}.example"])
    return folder


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another authority, and a client of its own that calls itself ct1 too."""
    folder = tmp_path_factory.mktemp("theirs")
    issue(folder, "ct1", CLIENT, ["ct1.example"])
    return folder


@pytest.fixture
def start(start_receiver: Start, ours: Path) -> Start:
    """``start(**settings)`` -> a receiver that listens with TLS, and its TLS port as ``tls_port``."""

    def begin(name: str = "server", **changes: object) -> Any:
        server = Pair.of(ours, name)
        port = free_port()
        receiver = start_receiver(
            dicom_tls_port=port,
            dicom_tls_certificate=server.certificate,
            dicom_tls_key=server.key,
            dicom_tls_ca=authority(ours).certificate,
            **changes,
        )
        receiver.tls_port = port
        return receiver

    return begin


def shown(folder: Path, name: str) -> list[str]:
    """dcmtk's options for a certificate and the authority that must have signed the server's."""
    pair = Pair.of(folder, name)
    return ["+tls", str(pair.key), str(pair.certificate), "+cf", str(authority(folder).certificate)]


def call(program: str, port: int, *options: str, aet: str = "TESTER") -> subprocess.CompletedProcess[str]:
    files = [option for option in options if option.endswith(".dcm")]
    others = [option for option in options if option not in files]
    command = [program, "-v", *others, "-aet", aet, "-aec", "READINGROOM", "127.0.0.1", str(port), *files]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def refusals(receiver: Any) -> list[str]:
    """Why callers were refused; the receiver writes it down after the caller has gone."""
    end = time.monotonic() + 20
    events: Sequence[AuditEvent] = []
    while not events and time.monotonic() < end:
        time.sleep(0.05)
        with receiver.archive.database.read() as session:
            events = session.scalars(select(AuditEvent).where(AuditEvent.action == "A-ASSOCIATE")).all()
    assert all(event.outcome == "refused" for event in events)
    return [event.detail["reason"] for event in events]


@pytest.mark.tools
def test_with_a_certificate_of_our_authority(
    start: Start, ours: Path, tool: Callable[[str], str], ct_folder: Path
) -> None:
    receiver = start()
    assert call(tool("echoscu"), receiver.tls_port, *shown(ours, "ct1")).returncode == 0
    files = [str(path) for path in sorted(ct_folder.iterdir())]
    assert call(tool("storescu"), receiver.tls_port, *shown(ours, "ct1"), *files).returncode == 0
    for path in ct_folder.iterdir():
        data = path.read_bytes()
        kept = receiver.archive.bytes_of(dcmread(path, stop_before_pixels=True).SOPInstanceUID)
        assert kept == data[144 + int.from_bytes(data[140:144], "little") :]
    # The other port goes on without TLS.
    assert call(tool("echoscu"), receiver.port).returncode == 0


@pytest.mark.tools
@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("no certificate", "peer did not return a certificate"),
        ("another authority's", "certificate verify failed"),
        ("no TLS", "wrong version number"),
        ("suites without forward secrecy", "no shared cipher"),
    ],
)
def test_refused(
    start: Start, ours: Path, theirs: Path, tool: Callable[[str], str], ct_folder: Path, how: str, reason: str
) -> None:
    receiver = start()
    options = {
        "no certificate": ["+tla", "-ic"],
        "another authority's": [*shown(theirs, "ct1"), "-ic"],
        "no TLS": [],
        "suites without forward secrecy": [*shown(ours, "ct1"), "+pa"],
    }[how]
    files = [str(path) for path in ct_folder.iterdir()]
    assert call(tool("storescu"), receiver.tls_port, *options, *files).returncode != 0
    assert receiver.archive.got == []
    (said,) = refusals(receiver)
    assert reason in said
    assert call(tool("echoscu"), receiver.tls_port, *shown(ours, "ct1")).returncode == 0


@pytest.mark.tools
def test_a_client_that_does_not_trust_us_goes_away(
    start: Start, ours: Path, theirs: Path, tool: Callable[[str], str]
) -> None:
    receiver = start()
    pair = Pair.of(ours, "ct1")
    trusting_others = ["+tls", str(pair.key), str(pair.certificate), "+cf", str(authority(theirs).certificate)]
    assert call(tool("echoscu"), receiver.tls_port, *trusting_others).returncode != 0


@pytest.mark.parametrize(
    ("version", "goes"),
    [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)],
)
def test_versions(start: Start, ours: Path, version: ssl.TLSVersion, goes: bool) -> None:
    receiver = start()
    pair = Pair.of(ours, "ct1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority(ours).certificate)
    context.load_cert_chain(pair.certificate, pair.key)
    # OpenSSL speaks 1.1 only where it is told that security does not matter.
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = version
    with socket.create_connection(("127.0.0.1", receiver.tls_port), 10) as connection:
        if not goes:
            with pytest.raises(ssl.SSLError, match="protocol version"):
                context.wrap_socket(connection, server_hostname="localhost")
            return
        with context.wrap_socket(connection, server_hostname="localhost") as secured:
            assert secured.version() == {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[version.name]
            suite, _, bits = secured.cipher() or ("", "", 0)
            assert "GCM" in suite
            assert bits >= 128


def test_only_the_suites_of_the_profile(ours: Path) -> None:
    pair = Pair.of(ours, "ct1")
    for context in (client_context(None, None, None), client_context(None, pair.certificate, pair.key)):
        old = {suite["name"] for suite in context.get_ciphers() if suite["protocol"] != "TLSv1.3"}
        assert old == {
            f"ECDHE-{sign}-{suite}" for sign in ("RSA", "ECDSA") for suite in ("AES128-GCM-SHA256", "AES256-GCM-SHA384")
        }


@pytest.mark.tools
def test_a_title_can_be_bound_to_a_certificate(start: Start, ours: Path, tool: Callable[[str], str]) -> None:
    receiver = start(dicom_open=False, calling_aets=(Caller(aet="CT1", certificate="ct1.example"), Caller(aet="CT2")))
    echo = tool("echoscu")
    assert call(echo, receiver.tls_port, *shown(ours, "ct1"), aet="CT1").returncode == 0
    assert call(echo, receiver.tls_port, *shown(ours, "ct2"), aet="CT1").returncode != 0
    assert call(echo, receiver.port, aet="CT1").returncode != 0
    assert call(echo, receiver.tls_port, *shown(ours, "ct1"), aet="CT2").returncode == 0
    assert set(refusals(receiver)) == {"calling AE title not recognised with this certificate"}


def test_large_objects_and_our_own_requestor(start: Start, ours: Path, make_series: Any, tmp_path: Path) -> None:
    receiver = start(dicom_plain=False)
    assert receiver.port == receiver.tls_port
    (ds,) = make_series(1, rows=2000, columns=1500)
    path = tmp_path / "large.dcm"
    ds.save_as(path, enforce_file_format=True)
    pair = Pair.of(ours, "ct1")
    context = client_context(authority(ours).certificate, pair.certificate, pair.key)
    titles: Any = {"called_aet": "READINGROOM", "calling_aet": "TESTER", "contexts": [CT], "timeout_seconds": 20.0}
    data = path.read_bytes()
    start_of_data = 144 + int.from_bytes(data[140:144], "little")
    with Requestor("127.0.0.1", receiver.port, tls=context, **titles) as requestor:
        for _ in range(2):
            status = requestor.store(
                path, start_of_data, sop_class_uid=CT[0], transfer_syntax_uid=CT[1], sop_instance_uid=ds.SOPInstanceUID
            )
            assert status == 0
    assert [kept["path"].read_bytes() == data[start_of_data:] for kept in receiver.archive.got] == [True, True]
    # Without our certificate, and of a server under another name.
    with pytest.raises(PeerFailed):
        Requestor("127.0.0.1", receiver.port, tls=client_context(authority(ours).certificate, None, None), **titles)
    with pytest.raises(PeerFailed, match="not trusted: IP address mismatch"):
        Requestor("127.0.0.1", start("elsewhere").tls_port, tls=context, **titles)


def test_a_handshake_that_hangs_ends_and_holds_up_nobody(start: Start, ours: Path) -> None:
    receiver = start(association_idle_seconds=0.6)
    pair = Pair.of(ours, "ct1")
    context = client_context(authority(ours).certificate, pair.certificate, pair.key)
    with (
        socket.create_connection(("127.0.0.1", receiver.tls_port), 10) as silent,
        socket.create_connection(("127.0.0.1", receiver.tls_port), 10) as begun,
    ):
        begun.sendall(b"\x16\x03\x01\x02\x00\x01")
        with Requestor(
            "127.0.0.1", receiver.tls_port, called_aet="READINGROOM", calling_aet="TESTER", contexts=[CT],
            timeout_seconds=10.0, tls=context,
        ):  # fmt: skip
            pass
        assert silent.recv(100) == b""
        begun.recv(100)


def test_settings_that_leave_the_door_open_are_refused(ours: Path, tmp_path: Path) -> None:
    server = Pair.of(ours, "server")
    with pytest.raises(BadInput, match="dicom_tls_ca"):
        load_settings(tmp_path, dicom_tls_certificate=server.certificate, dicom_tls_key=server.key)
    with pytest.raises(BadInput, match="dicom_plain"):
        load_settings(tmp_path, dicom_plain=False)
    assert isinstance(
        load_settings(tmp_path, dicom_tls_certificate=server.certificate, dicom_tls_anonymous=True), Settings
    )
