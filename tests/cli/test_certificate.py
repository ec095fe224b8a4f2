"""``readingroom certificate make`` and ``serve --tls``: what is printed, pasted into config.toml, works."""

import os
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from support import free_port

from readingroom.cli.certificate import own_names, use_own_certificate
from readingroom.cli.main import main
from readingroom.core import certificate_ends, certificates
from readingroom.core.config import load_settings

PROGRAM = [sys.executable, "-m", "readingroom.cli"]


def make(home: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """Run the command; return the lines that it says belong into config.toml."""
    assert main(["certificate", "make", "--home", str(home), *options]) == 0
    said = capsys.readouterr().out
    return said[said.index("tls_certificate") :]


@contextmanager
def serving(home: Path, *options: str) -> Iterator[None]:
    log = home.parent / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*PROGRAM, "serve", *options, "--home", str(home)], stdout=out, stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
    try:
        end = time.monotonic() + 90
        while b"readingroom ready" not in log.read_bytes():
            assert time.monotonic() < end, log.read_text()
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(30)


def ports() -> tuple[int, str]:
    web = free_port()
    lines = f"web_port = {web}\nviewer_port = {free_port()}\ndicom_port = {free_port()}\n"
    return web, lines


def test_names_that_cannot_be_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("server", "../CT1", ""):
        assert main(["certificate", "make", "--client", name, "--home", str(tmp_path)]) == 2
    assert "cannot be a client's name" in capsys.readouterr().err
    assert not (tmp_path / "tls").exists()


@pytest.mark.tools
def test_what_is_printed_works(tmp_path: Path, capsys: pytest.CaptureFixture[str], tool: Callable[[str], str]) -> None:
    home = tmp_path / "home"
    lines = make(home, capsys, "--client", "CT1", "--name", "reading.example")
    web, listen = ports()
    dicom = free_port()
    bound = f'dicom_tls_port = {dicom}\ncalling_aets = [{{aet = "CT1", certificate = "CT1"}}]\n'
    # Of the pages' certificate nothing is set: --tls takes what was made, or makes one.
    for_dicom = lines[lines.index("dicom_tls_certificate") :]
    (home / "config.toml").write_text(listen + for_dicom + bound)
    tls = home / "tls"
    context = ssl.create_default_context(cafile=str(tls / "ca.pem"))
    with serving(home, "--tls"):
        with urllib.request.urlopen(f"https://localhost:{web}/health", timeout=20, context=context) as answer:
            assert answer.status == 200
            assert "max-age" in answer.headers["Strict-Transport-Security"]
        shown = ["+tls", str(tls / "CT1.key"), str(tls / "CT1.pem"), "+cf", str(tls / "ca.pem")]
        echo = [tool("echoscu"), *shown, "-aet", "CT1", "-aec", "READINGROOM", "localhost", str(dicom)]
        assert subprocess.run(echo, timeout=30, check=False).returncode == 0


def test_the_made_certificate_is_renewed_in_time_and_a_site_s_own_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("READINGROOM_TLS_CERTIFICATE", "READINGROOM_TLS_KEY"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    settings = load_settings(tmp_path, allowed_hosts=("reading.example",))
    first = use_own_certificate(settings)
    assert first is not None
    assert load_settings(tmp_path).tls_key == first.key
    before = first.certificate.read_bytes()
    assert use_own_certificate(settings) == first
    assert first.certificate.read_bytes() == before
    later = certificate_ends.utc_now() + timedelta(days=certificates.DAYS - 5)
    monkeypatch.setattr(certificate_ends, "utc_now", lambda: later)
    assert use_own_certificate(settings.model_copy(update={"allowed_hosts": ("other.example",)})) == first
    assert first.certificate.read_bytes() != before
    assert {"reading.example", "other.example", "::1"} <= set(certificates.names_in(first.certificate))
    assert use_own_certificate(settings.model_copy(update={"tls_certificate": tmp_path / "theirs.pem"})) is None


def test_the_names_it_is_reached_at(tmp_path: Path) -> None:
    settings = load_settings(
        tmp_path, web_host="0.0.0.0", dicom_host="10.0.0.7", web_address="https://reading.example:8042"
    )
    names = own_names(settings)
    assert {"localhost", "127.0.0.1", "::1", "reading.example", "10.0.0.7"} <= set(names)
    assert "0.0.0.0" not in names
