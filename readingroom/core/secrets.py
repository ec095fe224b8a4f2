"""Small secrets that the database must hold (a second factor's, for one), sealed with a key that it does not hold.

The key is 32 random bytes in base64: from the variable ``READINGROOM_SECRET_KEY``, else from the file that
``secret_key_file`` names, else from ``secret.key`` in the home folder, which is made when it is missing. To rotate,
put a new key in front of the old one (a line each): what is new is sealed with the first, what is old still opens.
"""

import base64
import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path

from readingroom.core.config import Settings
from readingroom.core.errors import BadInput, KeyMissing
from readingroom.core.ids import new_id, sha256_hex

VARIABLE = "READINGROOM_SECRET_KEY"
FILE_NAME = "secret.key"
KEY_BYTES, NONCE_BYTES = 32, 12


class SecretBox:
    """Seals and opens with the keys it is given, the newest first. A key is known by eight digits of its SHA-256."""

    def __init__(self, keys: list[bytes]) -> None:
        self._keys = {sha256_hex("key id", key)[:8]: key for key in keys}
        self.newest = next(iter(self._keys))

    def derive(self, purpose: str, key_id: str = "") -> bytes:
        """Return the 32 bytes that only this key gives for ``purpose``; of the newest key unless one is named."""
        key = self._keys.get(key_id or self.newest)
        if key is None:
            raise KeyMissing(
                f"The secret key {key_id} is not here.",
                f"Put it back, after the newest, where {VARIABLE} or its file is.",
            )
        # HKDF with SHA-256 (RFC 5869) of one block. Every process has a use for this; only few seal and open.
        return hmac.digest(hmac.digest(bytes(KEY_BYTES), key, "sha256"), purpose.encode() + b"\1", "sha256")

    def seal(self, value: bytes, purpose: str) -> str:
        """Return ``value`` encrypted and authenticated, as text that names the key. It opens for ``purpose`` only."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = AESGCM(self.derive(purpose)).encrypt(nonce, value, None)
        return f"{self.newest}.{base64.urlsafe_b64encode(nonce + sealed).decode()}"

    def open(self, sealed: str, purpose: str) -> bytes:
        """Return what was sealed. Raises KeyMissing where its key is gone or a bit of it was changed."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        key_id, _, text = sealed.partition(".")
        try:
            data = base64.urlsafe_b64decode(text)
            return AESGCM(self.derive(purpose, key_id)).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], None)
        except (InvalidTag, ValueError):
            raise KeyMissing("A stored secret does not open.", "It was changed, or belongs to another site.") from None

    def sign(self, data: bytes, purpose: str) -> str:
        """Return an Ed25519 signature of ``data`` as text that names the key it was derived from."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        signature = Ed25519PrivateKey.from_private_bytes(self.derive(purpose)).sign(data)
        return f"{self.newest}.{base64.urlsafe_b64encode(signature).decode()}"

    def verify(self, data: bytes, signature: str, purpose: str) -> None:
        """Raise KeyMissing unless one of this site's keys signed exactly ``data`` for ``purpose``."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        key_id, _, text = signature.partition(".")
        try:
            public = Ed25519PrivateKey.from_private_bytes(self.derive(purpose, key_id or "none")).public_key()
            public.verify(base64.urlsafe_b64decode(text), data)
        except (InvalidSignature, ValueError):
            raise KeyMissing("A signature does not fit.", "What it is of was changed, or made elsewhere.") from None

    def renew(self, sealed: str, purpose: str) -> str:
        """Return the same value sealed with the newest key: as it is, unless it was sealed with an older one."""
        return sealed if sealed.startswith(f"{self.newest}.") else self.seal(self.open(sealed, purpose), purpose)


def load_secrets(settings: Settings) -> SecretBox:
    """Return the box with this site's keys; the home folder gets one where none is configured. Raises BadInput."""
    if text := os.environ.get(VARIABLE):
        return SecretBox(_keys(text, VARIABLE))
    path = settings.secret_key_file or _own_file(settings.home)
    try:
        return SecretBox(_keys(path.read_text("ascii"), str(path)))
    except (OSError, UnicodeDecodeError):
        raise BadInput(f"The secret key in {path} cannot be read.", "Look at secret_key_file and its owner.") from None


def key_lies_at_home(settings: Settings) -> bool:
    """Whether the key is the file in the home folder: whoever takes that disk takes what it seals and the key."""
    return not os.environ.get(VARIABLE) and settings.secret_key_file is None


def _own_file(home: Path) -> Path:
    """Return the key's file in the home folder, made (whole, or not at all) where it is missing."""
    path = home / FILE_NAME
    if not path.exists():
        part = home / f"{FILE_NAME}.{new_id()}"
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        # Two processes may be here at once: the first one's key stays.
        with suppress(FileExistsError):
            os.link(part, path)
        part.unlink()
    elif path.stat().st_mode & 0o077:
        raise BadInput(f"Others can read the secret key in {path}.", f"Make it yours alone: chmod 600 {path}")
    return path


def _keys(text: str, place: str) -> list[bytes]:
    try:
        keys = [base64.b64decode(word, validate=True) for word in text.split()]
    except ValueError:  # not ASCII, or not base64
        keys = []
    if not keys or any(len(key) != KEY_BYTES for key in keys):
        raise BadInput(
            f"The secret key in {place} is not {KEY_BYTES} bytes in base64.", "Make one with: openssl rand -base64 32"
        )
    return keys
