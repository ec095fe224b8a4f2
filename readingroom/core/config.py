"""Configuration: one frozen model, read from ``config.toml`` in the home folder, then ``READINGROOM_*`` variables.

Everything a process needs to start is here, so that many machines can run the same processes apart.
"""

import os
import tomllib
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork, ValidationError, field_validator, model_validator

from readingroom.core.errors import BadInput
from readingroom.core.permissions import Role
from readingroom.core.purposes import Purpose, legal_bases
from readingroom.core.urgent_channels import Urgent


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Peer(_Model):
    """A DICOM destination: C-STORE when ``kind`` is ``dimse``, STOW-RS when it is ``stow``."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    kind: Literal["dimse", "stow"] = "dimse"
    host: str = "127.0.0.1"
    port: int = Field(default=104, ge=1, le=65535)
    aet: str = Field(default="ANY-SCP", min_length=1, max_length=16)
    url: str = ""
    """STOW-RS base, e.g. ``http://pacs.example/dicom-web`` (``kind = "stow"`` only)."""
    unverified: bool = False
    """Opt in to AI objects before a radiologist has signed; they are marked unverified."""
    tls: bool = False
    """DICOM over TLS (``kind = "dimse"``; STOW-RS over TLS is an ``https`` address)."""
    ca: Path | None = None
    """PEM file of the authorities that sign the peer's certificate; none means those that this machine trusts."""
    certificate: Path | None = None
    """PEM file that says who we are, where the peer asks; with ``key``."""
    key: Path | None = None


class Caller(_Model):
    """A DICOM application that may call us. In ``config.toml`` its title alone will do: ``calling_aets = ["CT1"]``."""

    aet: str = Field(min_length=1, max_length=16)
    project: str = ""
    """Where its new studies go, and to whose studies it may add; empty means ``care``."""
    verbs: tuple[Literal["C-ECHO", "C-STORE"], ...] = ("C-ECHO", "C-STORE")
    hosts: tuple[IPvAnyNetwork, ...] = ()
    """Addresses (or networks, as 10.0.0.0/24) it may call from; empty means any."""
    certificate: str = ""
    """A name (DNS or common) in the certificate that it must show, so over TLS only; empty means that none is asked."""


class OpenIdProvider(_Model):
    """Where people sign in with the account they have elsewhere. Its client secret is never in ``config.toml``."""

    issuer: str = Field(pattern=r"^https?://[^\s?#]+$")
    """As the provider's discovery document names itself. https, but for a provider on this very machine."""
    client_id: str = Field(min_length=1)
    client_secret_file: Path | None = None
    """Holds the client secret, unless ``READINGROOM_OIDC_CLIENT_SECRET`` does; neither for a public client."""
    label: str = Field(default="your organisation's account", max_length=64)
    """What the button says after "Sign in with"."""
    scopes: tuple[str, ...] = ("openid", "profile")
    name_claim: str = "preferred_username"
    """The claim that becomes the account's name."""
    role_claim: str = "groups"
    """The claim (a word, or a list of words) that decides the role."""
    roles: dict[str, Role] = {}
    """Value of that claim -> role. The first line that fits counts; whoever fits none is refused."""

    @field_validator("roles")
    @classmethod
    def _people_only(cls, roles: dict[str, Role]) -> dict[str, Role]:
        if Role.SERVICE in roles.values():
            raise ValueError("the role service is for machines, which do not sign in at a provider")
        return roles


class AuditSyslog(_Model):
    """Where the audit is sent: syslog over TLS (RFC 5425)."""

    host: str = Field(min_length=1, max_length=255)
    port: int = Field(default=6514, ge=1, le=65535)
    ca: Path | None = None
    """PEM file of the authorities that sign the receiver's certificate; None: those that this machine trusts."""
    certificate: Path | None = None
    """PEM file that says who we are, where the receiver asks; with ``key``."""
    key: Path | None = None


class PurposeDefault(_Model):
    """By what legal basis (``core/legal_bases.json``) a purpose is allowed where a patient has decided nothing."""

    basis: str = ""
    """Empty: the purpose is denied unless the patient allows it."""
    reference: str = Field(default="", max_length=200)
    """Number of the ethics committee's approval or of the rule, where the basis asks for one."""


class PurposeDefaults(_Model):
    """The site's answer for each purpose where a patient has decided nothing. A patient's own word goes before it."""

    care: PurposeDefault = PurposeDefault(basis="treatment")
    research: PurposeDefault = PurposeDefault()
    training: PurposeDefault = PurposeDefault()
    teaching: PurposeDefault = PurposeDefault()

    @model_validator(mode="after")
    def _each_basis_fits(self) -> Self:
        for purpose in Purpose:
            default: PurposeDefault = getattr(self, purpose)
            if not default.basis:
                continue
            basis = legal_bases().get(default.basis)
            if basis is None or purpose not in basis.purposes or not basis.default:
                raise ValueError(f"{default.basis!r} is no basis that {purpose} can rest on by default")
            if basis.needs_reference and not default.reference:
                raise ValueError(f"{purpose} by {default.basis!r} needs a reference")
        return self


class Settings(_Model):
    """All settings. Times in seconds, sizes in bytes."""

    home: Path
    secret_key_file: Path | None = None
    """Key that seals secrets in the database; none means ``secret.key`` in ``home`` (see ``core/secrets.py``)."""
    database_url: str = ""
    """SQLAlchemy URL of the index; empty means SQLite in ``home``."""
    workflow_database_url: str = ""
    """DBOS system database; empty means SQLite in ``home``."""
    web_host: str = "127.0.0.1"
    web_port: int = Field(default=8042, ge=0, le=65535)
    viewer_port: int = Field(default=8043, ge=0, le=65535)
    """Second listener of the same app: OHIF at ``/``, DICOMweb at ``/dicomweb``."""
    allowed_hosts: tuple[str, ...] = ()
    """Names people type to reach the pages, besides ``web_host``, this machine's name, localhost and any address."""
    web_address: str = Field(default="", pattern=r"^(https?://[^/\s?#]+)?$")
    """Where people open the pages, e.g. ``https://reading.example``; empty means at whatever name they typed. Passkeys
    belong to its host name, and the OpenID provider sends people back to it."""
    second_factor_required: tuple[Role, ...] = ()
    """Roles that get nowhere with a password alone."""
    sign_proof_seconds: float = Field(default=4 * 3600.0, gt=0)
    """Signing a report asks again who is there when that was last shown longer ago than this."""
    oidc: OpenIdProvider | None = None
    tls_certificate: Path | None = None
    """PEM file; with ``tls_key`` both web listeners speak HTTPS."""
    tls_key: Path | None = None
    trusted_proxies: tuple[str, ...] = ()
    """Addresses (or networks) of proxies whose word about a caller's address and scheme counts; nobody's by default."""
    requests_per_second: float = Field(default=50.0, gt=0)
    """What one account may ask for, more for a moment; searches a fifth of it, images ten times as many."""
    demo: bool = False
    """The pages say that this is the demo."""
    dicom_host: str = "127.0.0.1"
    dicom_port: int = Field(default=11112, ge=0, le=65535)
    aet: str = Field(default="READINGROOM", min_length=1, max_length=16)
    calling_aets: tuple[Caller, ...] = ()
    """Who may call, and what for. Empty means nobody unless ``dicom_open``."""
    dicom_tls_certificate: Path | None = None
    """PEM file; with ``dicom_tls_key`` DICOM is spoken over TLS too, on ``dicom_tls_port``."""
    dicom_tls_key: Path | None = None
    dicom_tls_ca: Path | None = None
    """PEM file of the authorities that sign our callers' certificates."""
    dicom_tls_port: int = Field(default=2762, ge=0, le=65535)
    dicom_tls_anonymous: bool = False
    """Callers over TLS need no certificate."""
    dicom_plain: bool = True
    """DICOM without TLS is spoken too."""
    dicom_open: bool = False
    """Accept calling AE titles that are not listed, into ``care`` (the demo on loopback; never by default)."""
    quiet_seconds: float = Field(default=10.0, ge=0)
    """A study is ready when nothing has arrived for this long."""
    association_idle_seconds: float = Field(default=60.0, gt=0)
    max_associations: int = Field(default=64, ge=1)
    max_object_bytes: int = Field(default=4 << 30, ge=1)
    max_upload_bytes: int = Field(default=8 << 30, ge=1)
    max_unpacked_bytes: int = Field(default=64 << 30, ge=1)
    """Limit on what one zip may unpack to (a zip bomb is refused long before)."""
    min_free_bytes: int = Field(default=256 << 20, ge=0)
    """Refuse to receive when the store's disk has less than this left."""
    store_encryption: bool = False
    """Stored objects are sealed, each project's with a key of its own (see ``docs/rooms/archive.md``)."""
    reader_memory_bytes: int = Field(default=3 << 30, ge=64 << 20)
    reader_timeout_seconds: float = Field(default=900.0, gt=0)
    reader_threads: int = Field(default=2, ge=1)
    readers: tuple[str, ...] = ()
    """Names of the readers that read here; empty means every one that is installed."""
    reader_environment: tuple[str, ...] = ()
    """Names of environment variables that readers may see; they see no others but the usual few (PATH, LANG)."""
    peers: tuple[Peer, ...] = ()
    purposes: PurposeDefaults = PurposeDefaults()
    """What patients' data may be used for where the patient has decided nothing: ``[purposes.research]`` ..."""
    audit_syslog: AuditSyslog | None = None
    urgent: Urgent = Urgent()
    """Who else is told of an urgent finding, and when: ``[urgent]``, ``[[urgent.channels]]``."""
    patient_systems: dict[str, str] = {}
    """FHIR's name of who issues patients' identifiers (a URI) -> IssuerOfPatientID as images have it (may be empty).
    A system that is not named here is taken to be the issuer itself."""
    site_timezone: str = "UTC"

    @model_validator(mode="after")
    def _dicom_over_tls_is_whole(self) -> Self:
        if self.dicom_tls_certificate is None:
            if not self.dicom_plain:
                raise ValueError("dicom_plain = false leaves no DICOM at all without a dicom_tls_certificate")
        elif (self.dicom_tls_ca is None) is not self.dicom_tls_anonymous:
            raise ValueError("DICOM over TLS needs either a dicom_tls_ca or dicom_tls_anonymous = true")
        return self

    @field_validator("calling_aets", mode="before")
    @classmethod
    def _titles(cls, value: object) -> object:
        """Read a title by itself as a caller with no more said of it."""
        return (
            [{"aet": one} if isinstance(one, str) else one for one in value]
            if isinstance(value, list | tuple)
            else value
        )

    @property
    def index_url(self) -> str:
        return self.database_url or f"sqlite:///{self.home / 'index.sqlite'}"

    @property
    def workflow_url(self) -> str:
        return self.workflow_database_url or f"sqlite:///{self.home / 'workflow.sqlite'}"

    @property
    def audit_seals_file(self) -> Path:
        """Every seal of the audit made on this machine, out of the database's reach."""
        return self.home / "audit-seals.jsonl"

    @property
    def store_folder(self) -> Path:
        return self.home / "store"

    @property
    def models_folder(self) -> Path:
        """Weights of the reader versions that were added here, each file named by its SHA-256."""
        return self.home / "models"

    @property
    def work_folder(self) -> Path:
        """Scratch for reader children; safe to empty when nothing runs."""
        return self.home / "work"


def load_settings(home: Path, **overrides: object) -> Settings:
    """Read ``home/config.toml`` if there, then the environment, then ``overrides``.

    Lists (``peers``, ``calling_aets``, ``allowed_hosts``, ``readers`` ...) come from the file only. Raises BadInput
    naming the setting that is wrong.
    """
    values: dict[str, object] = {}
    path = home / "config.toml"
    if path.exists():
        try:
            values.update(tomllib.loads(path.read_text("utf-8")))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BadInput(f"{path} is not valid TOML: {error}.", "Mend the line it names.") from None
    for name in Settings.model_fields:
        text = os.environ.get(f"READINGROOM_{name.upper()}")
        if text is not None and name not in (
            "home",
            "peers",
            "calling_aets",
            "allowed_hosts",
            "trusted_proxies",
            "readers",
            "reader_environment",
            "second_factor_required",
            "oidc",
            "purposes",
            "patient_systems",
            "audit_syslog",
            "urgent",
        ):
            values[name] = text
    values.update(overrides)
    values["home"] = home.absolute()
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise BadInput(f"A setting is wrong: {wrong}.", f"Look in {path} and at READINGROOM_* variables.") from None
