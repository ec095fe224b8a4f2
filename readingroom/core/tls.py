"""TLS as it is spoken here, by DICOM and by the web: BCP 195 (RFC 8996 and RFC 9325), as PS3.15 B.12 asks for it.

TLS 1.3, or 1.2 with the four suites that RFC 9325 section 4.2 recommends; nothing older, no compression, no
renegotiation. A certificate, its chain and its key are PEM files.
"""

import ssl
from pathlib import Path
from typing import Any, Final

from readingroom.core.errors import BadInput

CIPHERS: Final = (
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
)


def server_context(certificate: Path, key: Path, clients: Path | None = None) -> ssl.SSLContext:
    """Return what a listener needs. ``clients``: authorities of which one has signed the certificate that every client
    must show; None asks clients for none. Raises BadInput."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _restrict(context)
    _load(context, certificate, key)
    if clients is not None:
        _trust(context, clients)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(authorities: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """Return what a caller needs. ``authorities``: who signs the server's certificate, None for those that this machine
    trusts; the server's name is always checked. ``certificate``: what we show, if anything. Raises BadInput."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _restrict(context)
    if authorities is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        _trust(context, authorities)
    if certificate is not None:
        _load(context, certificate, key or certificate)
    return context


def names_of(certificate: Any) -> frozenset[str]:
    """Return the names in a checked peer's certificate (``getpeercert()``): its DNS names and its common name."""
    alternative = {value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"}
    subject = {value for part in certificate.get("subject", ()) for kind, value in part if kind == "commonName"}
    return frozenset(alternative | subject)


def _restrict(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE


def _load(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        # Without a word for it OpenSSL would ask the terminal for the key's password, and wait.
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:
        raise BadInput(
            f"The certificate {certificate} cannot be used with the key {key} ({_reason(error)}).",
            "Both are PEM files and belong together; readingroom certificate make makes a pair.",
        ) from None


def _trust(context: ssl.SSLContext, authorities: Path) -> None:
    try:
        context.load_verify_locations(authorities)
    except (OSError, ValueError) as error:
        raise BadInput(
            f"The authorities in {authorities} cannot be used ({_reason(error)}).", "It is a PEM file of certificates."
        ) from None


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "reason", "") or getattr(error, "strerror", "") or type(error).__name__
