"""Certificates of our own: an authority in a folder, and what it signs for servers and for clients.

For sites without an authority, and for trying things: whoever is to trust these gets ``ca.pem``. Keys are on P-256,
readable by their owner only. The authority's key is needed again only to sign more; it may be kept elsewhere.
"""

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from readingroom.core.certificate_ends import load
from readingroom.core.clock import utc_now
from readingroom.core.errors import BadInput

AUTHORITY, SERVER, CLIENT = "ca", "server", "client"
AUTHORITY_DAYS: Final = 3650
DAYS: Final = 397
"""How long what is signed lasts: the longest that browsers take from an authority on their own list."""


@dataclass(frozen=True)
class Pair:
    """A certificate and its key: ``NAME.pem`` and ``NAME.key``."""

    certificate: Path
    key: Path

    @classmethod
    def of(cls, folder: Path, name: str) -> "Pair":
        return cls(folder / f"{name}.pem", folder / f"{name}.key")


def authority(folder: Path) -> Pair:
    """Return the folder's authority, made where it is missing."""
    pair = Pair.of(folder, AUTHORITY)
    if pair.certificate.exists():
        return pair
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("Reading Room local authority")
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    builder = _builder(name, name, key.public_key(), AUTHORITY_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(usage, critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    _write_pair(pair, builder.sign(key, SHA256()), key)
    return pair


def issue(folder: Path, file_name: str, kind: str, names: Sequence[str]) -> Pair:
    """Make a pair (anew, where there is one) for ``names``, host names or addresses, signed by the folder's authority.

    ``kind``: ``server`` or ``client``; the first name becomes the common name. Raises BadInput.
    """
    signer = authority(folder)
    try:
        issuer = x509.load_pem_x509_certificate(signer.certificate.read_bytes())
        issuer_key = load_pem_private_key(signer.key.read_bytes(), None)
    except (OSError, ValueError):
        raise BadInput(
            f"The authority's key {signer.key} cannot be read.",
            f"Bring it back for the moment, or remove {signer.certificate} to begin with a new authority.",
        ) from None
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if kind == SERVER else ExtendedKeyUsageOID.CLIENT_AUTH
    usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    builder = _builder(_name(names[0]), issuer.subject, key.public_key(), DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(usage, critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    builder = builder.add_extension(above, critical=False)
    pair = Pair.of(folder, file_name)
    _write_pair(pair, builder.sign(issuer_key, SHA256()), key)
    return pair


def names_in(certificate: Path) -> list[str]:
    """Return the names and addresses a certificate is for. Raises BadInput."""
    found = load(certificate)[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress))]


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    # A clock that is a little behind must not find it too young.
    begins = utc_now() - timedelta(hours=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=days))
    )


def _name(common: str) -> x509.Name:
    try:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    except ValueError:
        raise BadInput(f"{common[:80]!r} cannot be a name in a certificate.", "It has 1 to 64 characters.") from None


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name)
    except ValueError:
        raise BadInput(f"{name!r} is no host name.", "Letters, digits, dots and hyphens, or an address.") from None


def _write_pair(pair: Pair, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    # The key first: a certificate that is there has its key.
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for path, data, mode in (
        (pair.key, secret, 0o600),
        (pair.certificate, certificate.public_bytes(Encoding.PEM), 0o644),
    ):
        part = path.with_suffix(f"{path.suffix}.part")
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
