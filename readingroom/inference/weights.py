"""Weights are data: their bytes are used only where they have the SHA-256 their card names."""

import hashlib
from pathlib import Path

from readingroom.core.errors import BadInput


def checked_bytes(path: Path, sha256: str) -> bytes:
    """Return the file's bytes. Raises BadInput where it is missing or its SHA-256 is another."""
    try:
        data = path.read_bytes()
    except OSError:
        raise BadInput(f"The weights file {path.name} cannot be read.", "Install the package again.") from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise BadInput(
            f"The weights file {path.name} is not the one its card names (SHA-256 differs).",
            "Install the package again; do not edit weights.",
        )
    return data
