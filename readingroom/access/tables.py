"""Accounts, what they sign in with, sessions and tokens; projects and who is in them; alerts."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from readingroom.core.clock import utc_now
from readingroom.core.database import Base, Json, UtcDateTime
from readingroom.core.ids import new_id


class Account(Base):
    """Who may sign in: here by password (``password_hash``), or at the OpenID provider as ``oidc_subject``."""

    __tablename__ = "account"
    __table_args__ = (UniqueConstraint("oidc_issuer", "oidc_subject"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    display_name: Mapped[str] = mapped_column(String(128), default="")
    role: Mapped[str] = mapped_column(String(32))
    password_hash: Mapped[str] = mapped_column(String(256), default="")
    oidc_issuer: Mapped[str | None] = mapped_column(String(512))
    oidc_subject: Mapped[str | None] = mapped_column(String(255))
    password_given: Mapped[bool] = mapped_column(default=False)
    """Somebody else knows the password: it is good for nothing but choosing another."""
    disabled: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)


class WebSession(Base):
    """A signed-in browser. Only the SHA-256 of the cookie's value is kept.

    ``strong``: signed in with more than a password. ``proved_at``: when the person last showed who they are.
    """

    __tablename__ = "web_session"

    token_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    csrf: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    proved_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    id: Mapped[str] = mapped_column(String(32), unique=True, default=new_id)
    """What the pages call it."""
    browser: Mapped[str] = mapped_column(String(200), default="")
    """As the browser names itself: so that a person knows which of their sessions it is."""
    strong: Mapped[bool] = mapped_column(default=False)

    account: Mapped[Account] = relationship(lazy="joined")


class TotpFactor(Base):
    """An authenticator app. ``secret`` is sealed (``core/secrets.py``); it counts once ``confirmed_at`` is set.

    ``last_step`` is the time step of the newest code that was taken: no code is taken twice.
    """

    __tablename__ = "totp_factor"

    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), primary_key=True)
    secret: Mapped[str] = mapped_column(String(256))
    last_step: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    confirmed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class RecoveryCode(Base):
    """A code for when the phone is lost. The row goes when the code is used."""

    __tablename__ = "recovery_code"

    code_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), index=True)


class Passkey(Base):
    """A WebAuthn credential: its public half, and how often its owner's device says it signed."""

    __tablename__ = "passkey"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), index=True)
    name: Mapped[str] = mapped_column(String(64))
    credential_id: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    sign_count: Mapped[int] = mapped_column(BigInteger)
    rp_id: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    account: Mapped[Account] = relationship(lazy="joined")


class Ticket(Base):
    """What the server must remember between two requests of one sign-in. Only the SHA-256 of its token is kept."""

    __tablename__ = "ticket"

    token_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    purpose: Mapped[str] = mapped_column(String(32), index=True)
    account_id: Mapped[int | None] = mapped_column(ForeignKey("account.id"), index=True)
    detail: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class SignInFailure(Base):
    """Failed sign-ins, for the rate limit. ``name_sha256``: a typed name may be a patient's, so it is not kept."""

    __tablename__ = "sign_in_failure"

    id: Mapped[int] = mapped_column(primary_key=True)
    name_sha256: Mapped[str] = mapped_column(String(64), index=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)


class Project(Base):
    """What studies belong to: the care of patients, a research project, a course. The first one is called ``care``."""

    __tablename__ = "project"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    title: Mapped[str] = mapped_column(String(128), default="")
    kind: Mapped[str] = mapped_column(String(16))


class Membership(Base):
    """An account in a project, and as what it counts there."""

    __tablename__ = "membership"

    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"), primary_key=True, index=True)
    role: Mapped[str] = mapped_column(String(32))


class ApiToken(Base):
    """A token of an account for programs. Only its SHA-256 is kept. ``project_id``: it works in that project only."""

    __tablename__ = "api_token"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), index=True)
    name: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[list[str]] = mapped_column(Json)
    project_id: Mapped[int | None] = mapped_column(ForeignKey("project.id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    account: Mapped[Account] = relationship(lazy="joined")


class Alert(Base):
    """Something an administrator must see and acknowledge. ``text`` is shown to administrators only."""

    __tablename__ = "alert"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    kind: Mapped[str] = mapped_column(String(32))
    """``glass-broken``, ``glass-missed`` ..."""
    actor: Mapped[str] = mapped_column(String(128), index=True)
    text: Mapped[str] = mapped_column(Text)
    study_id: Mapped[str | None] = mapped_column(String(32))
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now, index=True)
    acknowledged_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)
    acknowledged_by: Mapped[str] = mapped_column(String(64), default="")


class ConsentRow(Base):
    """One decision on one purpose. Append-only: where a patient stands is a fold over these (``consent.py``)."""

    __tablename__ = "consent"

    id: Mapped[int] = mapped_column(primary_key=True)
    act: Mapped[str] = mapped_column(String(32), index=True)
    """What was decided at once shares it: one form, one FHIR Consent, several purposes."""
    patient_id: Mapped[int] = mapped_column(index=True)
    """Key of the archive's patient. No foreign key: this room stands below the archive."""
    purpose: Mapped[str] = mapped_column(String(16))
    kind: Mapped[str] = mapped_column(String(16))
    """``given``, ``refused``, ``withdrawn``; ``expired`` notes that the period of the same act has ended."""
    basis: Mapped[str] = mapped_column(String(32))
    reference: Mapped[str] = mapped_column(String(200), default="")
    """Number of the paper form, of the ethics committee's approval, of the other system's consent."""
    source: Mapped[str] = mapped_column(String(8))
    """``hand``, ``fhir``, ``clock``."""
    actor: Mapped[str] = mapped_column(String(128))
    starts_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ends_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)
    recorded_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)


class UseRow(Base):
    """What was made or learned from which patient, and what was taken out again. Append-only (``uses.py``)."""

    __tablename__ = "patient_use"

    id: Mapped[int] = mapped_column(primary_key=True)
    patient_id: Mapped[int] = mapped_column(index=True)
    purpose: Mapped[str] = mapped_column(String(16))
    kind: Mapped[str] = mapped_column(String(8))
    """``used`` or ``removed``."""
    room: Mapped[str] = mapped_column(String(32))
    what: Mapped[str] = mapped_column(String(32))
    """A word for people: ``cohort``, ``model``, ``case``."""
    ref: Mapped[str] = mapped_column(String(64))
    """Opaque id, in its room, of what was made."""
    actor: Mapped[str] = mapped_column(String(128))
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
