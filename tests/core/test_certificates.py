"""Certificates made here: strict checkers take them, their keys are their owner's alone, and their end is told."""

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from support import find_tool

from readingroom.core.certificate_ends import WARN_DAYS, ending, ends_at, ends_soon
from readingroom.core.certificates import CLIENT, DAYS, SERVER, authority, issue
from readingroom.core.clock import utc_now
from readingroom.core.config import Peer, Settings
from readingroom.core.errors import BadInput
from readingroom.core.tls import client_context, server_context


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "tls"


@pytest.mark.parametrize(("kind", "purpose"), [(SERVER, "sslserver"), (CLIENT, "sslclient")])
def test_openssl_takes_them_strictly_and_for_their_purpose_only(folder: Path, kind: str, purpose: str) -> None:
    openssl = find_tool("openssl")
    pair = issue(folder, "one", kind, ["reading.example", "127.0.0.1", "::1"])
    names = {}
    for asked in ("sslserver", "sslclient"):
        command = [openssl, "verify", "-x509_strict", "-purpose", asked, "-CAfile", str(authority(folder).certificate)]
        done = subprocess.run([*command, str(pair.certificate)], capture_output=True, text=True)
        names[asked] = done.returncode
    assert {asked for asked, status in names.items() if status == 0} == {purpose}


def test_keys_are_their_owners_alone(folder: Path) -> None:
    pair = issue(folder, "server", SERVER, ["localhost"])
    assert folder.stat().st_mode & 0o077 == 0
    assert {key.stat().st_mode & 0o777 for key in (pair.key, authority(folder).key)} == {0o600}


def test_made_again_it_is_another_of_the_same_authority(folder: Path) -> None:
    first = issue(folder, "server", SERVER, ["localhost"]).certificate.read_bytes()
    before = authority(folder).certificate.read_bytes()
    pair = issue(folder, "server", SERVER, ["other.example", "10.0.0.7"])
    assert pair.certificate.read_bytes() != first
    assert authority(folder).certificate.read_bytes() == before
    made = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["other.example"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.7"]
    authority(folder).key.unlink()
    with pytest.raises(BadInput, match="authority's key"):
        issue(folder, "server", SERVER, ["localhost"])


@pytest.mark.parametrize("name", ["", "x" * 80, "ä.example"])
def test_a_name_that_cannot_be_one_is_said(folder: Path, name: str) -> None:
    with pytest.raises(BadInput):
        issue(folder, "server", SERVER, [name])


def test_what_ends_soon_is_told(folder: Path, settings: Settings) -> None:
    server, client = issue(folder, "server", SERVER, ["localhost"]), issue(folder, "me", CLIENT, ["me"])
    missing = folder / "gone.pem"
    used = settings.model_copy(
        update={
            "tls_certificate": server.certificate,
            "peers": (Peer(name="pacs", certificate=client.certificate), Peer(name="old", ca=missing)),
        }
    )
    now = utc_now()
    assert [(one.setting, one.ends_at) for one in ending(used, now)] == [("peers.old.ca", None)]
    later = now + timedelta(days=DAYS - WARN_DAYS)
    assert [one.setting for one in ending(used, later)] == ["tls_certificate", "peers.pacs.certificate", "peers.old.ca"]
    assert not ends_soon(authority(folder).certificate, later)
    assert ends_at(server.certificate) - now < timedelta(days=DAYS)


def test_what_is_no_pair_is_said(folder: Path, tmp_path: Path) -> None:
    one, other = issue(folder, "one", SERVER, ["localhost"]), issue(folder, "two", SERVER, ["localhost"])
    with pytest.raises(BadInput, match="cannot be used with the key"):
        server_context(one.certificate, other.key)
    with pytest.raises(BadInput, match="cannot be used with the key"):
        server_context(tmp_path / "no.pem", other.key)
    with pytest.raises(BadInput, match="authorities"):
        client_context(other.key, None, None)
    # A key with a password asks nobody at a terminal for it.
    locked = tmp_path / "locked.key"
    subprocess.run(
        ["openssl", "ec", "-in", str(one.key), "-aes256", "-passout", "pass:secret", "-out", str(locked)],
        check=True, capture_output=True,
    )  # fmt: skip
    with pytest.raises(BadInput, match="cannot be used with the key"):
        server_context(one.certificate, locked)
