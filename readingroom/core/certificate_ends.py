"""When certificates end: those that the settings name, looked at each day and on the system page."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from readingroom.core.clock import utc_now
from readingroom.core.config import Settings
from readingroom.core.errors import BadInput

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

WARN_DAYS: Final = 30


@dataclass(frozen=True)
class Ending:
    """A certificate in use that ends soon, or has. ``setting``: which names it. ``ends_at``: None: unreadable."""

    setting: str
    ends_at: datetime | None

    @property
    def words(self) -> str:
        if self.ends_at is None:
            return f"The certificate of {self.setting} cannot be read: look at its file."
        return f"The certificate of {self.setting} ends on {self.ends_at:%Y-%m-%d %H:%M} UTC: renew it and start again."


def ends_at(certificates: Path) -> datetime:
    """Return when the first of the certificates in a PEM file ends. Raises BadInput."""
    return min(certificate.not_valid_after_utc for certificate in load(certificates))


def ends_soon(certificates: Path, now: datetime | None = None) -> bool:
    """Whether a PEM file's first certificate to end does so within 30 days, or has."""
    return ends_at(certificates) < (now or utc_now()) + timedelta(days=WARN_DAYS)


def ending(settings: Settings, now: datetime | None = None) -> list[Ending]:
    """Return the certificates of the settings that end soon."""
    found = []
    for setting, path in _in_use(settings):
        try:
            if ends_soon(path, now):
                found.append(Ending(setting, ends_at(path)))
        except BadInput:
            found.append(Ending(setting, None))
    return found


def _in_use(settings: Settings) -> Iterator[tuple[str, Path]]:
    of_settings: dict[str, Path | None] = {
        "tls_certificate": settings.tls_certificate,
        "dicom_tls_certificate": settings.dicom_tls_certificate,
        "dicom_tls_ca": settings.dicom_tls_ca,
    }
    for peer in settings.peers:
        of_settings |= {f"peers.{peer.name}.certificate": peer.certificate, f"peers.{peer.name}.ca": peer.ca}
    if settings.audit_syslog is not None:
        receiver = settings.audit_syslog
        of_settings |= {"audit_syslog.certificate": receiver.certificate, "audit_syslog.ca": receiver.ca}
    yield from ((setting, path) for setting, path in of_settings.items() if path is not None)


def load(certificates: Path) -> "list[Certificate]":
    """Return the certificates in a PEM file. Raises BadInput."""
    # 13 MB that a house without certificates need not hold.
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(certificates.read_bytes())
    except (OSError, ValueError):
        raise BadInput(f"The certificate {certificates} cannot be read.", "It is a PEM file.") from None
