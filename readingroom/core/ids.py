"""Identifiers: opaque ones of our own, and DICOM UIDs derived from what an object was made of."""

import hashlib
import re
import uuid

# PS3.5 section 9.1: components without leading zeros, at most 64 characters.
_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")


def new_id() -> str:
    """Return a random opaque identifier (32 hex digits). Never derived from a patient or a UID."""
    return uuid.uuid4().hex


def is_uid(text: str) -> bool:
    """Whether ``text`` is a valid DICOM UID (PS3.5 section 9.1)."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def derived_uid(*parts: str | bytes) -> str:
    """Return the UID that these parts always give: ``2.25.`` and 128 bits of their SHA-256 (PS3.5 annex B.2).

    What we write gets its UID from (input SOP UIDs and pixel digests, reader and weights hash, configuration
    hash, role), so that a step that runs twice writes the same object.
    """
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    # The version and variant bits of a UUID (RFC 9562, version 8: custom) keep the number a legal UUID.
    value = uuid.UUID(bytes=digest.digest()[:16], version=4).int
    return f"2.25.{value}"


def sha256_hex(*parts: str | bytes) -> str:
    """Return the SHA-256 of the length-prefixed parts, as 64 hex digits."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()
