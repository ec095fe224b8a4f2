"""The key that seals secrets in the database: where it comes from, what it refuses, and its rotation."""

import base64
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from readingroom.core.config import Settings, load_settings
from readingroom.core.errors import BadInput
from readingroom.core.secrets import FILE_NAME, VARIABLE, KeyMissing, SecretBox, load_secrets


def key(number: int) -> str:
    return base64.b64encode(bytes([number]) * 32).decode()


@pytest.fixture(autouse=True)
def no_key_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def test_opens_what_it_sealed_for_that_purpose_only() -> None:
    box = SecretBox([b"k" * 32])
    sealed = box.seal(b"secret", "totp 1")
    assert box.open(sealed, "totp 1") == b"secret"
    assert "secret" not in sealed
    assert sealed != box.seal(b"secret", "totp 1"), "each has a nonce of its own"
    with pytest.raises(KeyMissing):
        box.open(sealed, "totp 2")


def test_a_signature_fits_one_text_one_purpose_and_one_house() -> None:
    old, new = SecretBox([b"k" * 32]), SecretBox([b"n" * 32, b"k" * 32])
    signature = old.sign(b"what it says", "reader version")
    old.verify(b"what it says", signature, "reader version")
    # The key was rotated: what was signed before still counts.
    new.verify(b"what it says", signature, "reader version")
    key_id, _, text = signature.partition(".")
    for box, data, words, purpose in (
        (old, b"what it said", signature, "reader version"),
        (old, b"what it says", signature, "another purpose"),
        (SecretBox([b"x" * 32]), b"what it says", signature, "reader version"),
        (old, b"what it says", f"{key_id}.{text[:-8]}AAAAAA==", "reader version"),
        (old, b"what it says", text, "reader version"),
        (old, b"what it says", f".{text}", "reader version"),
        (old, b"what it says", f"{key_id}.\u00e9", "reader version"),
        (old, b"what it says", "", "reader version"),
    ):
        with pytest.raises(KeyMissing):
            box.verify(data, words, purpose)


def test_keys_are_derived_as_the_standard_does() -> None:
    """RFC 5869, by another's hand."""
    expected = HKDF(SHA256(), 32, salt=None, info=b"audit seal").derive(b"k" * 32)
    assert SecretBox([b"k" * 32]).derive("audit seal") == expected


def test_a_changed_bit_and_another_key_are_refused() -> None:
    box = SecretBox([b"k" * 32])
    sealed = box.seal(b"secret", "totp 1")
    key_id, _, text = sealed.partition(".")
    data = bytearray(base64.urlsafe_b64decode(text))
    for place in (0, 15, len(data) - 1):
        data[place] ^= 1
        with pytest.raises(KeyMissing):
            box.open(f"{key_id}.{base64.urlsafe_b64encode(bytes(data)).decode()}", "totp 1")
        data[place] ^= 1
    for broken in ("", "x", f"{key_id}.", f"{key_id}.%%%", f"{key_id}.é"):
        with pytest.raises(KeyMissing):
            box.open(broken, "totp 1")
    with pytest.raises(KeyMissing, match="is not here"):
        SecretBox([b"l" * 32]).open(sealed, "totp 1")


def test_rotation_seals_with_the_first_and_opens_with_all() -> None:
    old = SecretBox([b"a" * 32])
    sealed = old.seal(b"secret", "x")
    both = SecretBox([b"b" * 32, b"a" * 32])
    assert both.open(sealed, "x") == b"secret"
    assert both.newest != old.newest
    assert both.seal(b"secret", "x").startswith(both.newest)
    renewed = both.renew(sealed, "x")
    assert SecretBox([b"b" * 32]).open(renewed, "x") == b"secret"
    assert both.renew(renewed, "x") == renewed
    assert both.derive("x", old.newest) == old.derive("x") != both.derive("x")


def test_home_gets_a_key_of_its_own_once(settings: Settings) -> None:
    with ThreadPoolExecutor(8) as pool:
        boxes = list(pool.map(lambda _: load_secrets(settings), range(8)))
    assert len({box.derive("x") for box in boxes}) == 1
    path = settings.home / FILE_NAME
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in settings.home.iterdir()] == [FILE_NAME]


def test_a_key_that_others_can_read_is_refused(settings: Settings) -> None:
    load_secrets(settings)
    os.chmod(settings.home / FILE_NAME, 0o640)
    with pytest.raises(BadInput, match="chmod 600"):
        load_secrets(settings)


def test_variable_before_file_before_home(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "key"
    file.write_text(f"{key(1)}\n{key(2)}\n")
    monkeypatch.setenv(f"{VARIABLE}_FILE", str(file))
    named = load_settings(settings.home)
    assert named.secret_key_file == file
    assert load_secrets(named).derive("x") == SecretBox([b"\1" * 32]).derive("x")
    assert load_secrets(named).derive("x", SecretBox([b"\2" * 32]).newest)
    monkeypatch.setenv(VARIABLE, key(3))
    assert load_secrets(named).derive("x") == SecretBox([b"\3" * 32]).derive("x")
    assert not (settings.home / FILE_NAME).exists()


@pytest.mark.parametrize("text", ["short", base64.b64encode(b"x" * 31).decode(), "é" * 44, " "])
def test_a_key_that_is_none_is_refused_without_being_shown(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(BadInput) as refused:
        load_secrets(settings)
    assert text.strip() == "" or text not in str(refused.value)


def test_a_missing_file_is_said(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        load_secrets(settings.model_copy(update={"secret_key_file": tmp_path / "none"}))
