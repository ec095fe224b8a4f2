"""Settings of who else is told of an urgent finding, besides the pages: webhooks and mail. No secret is in them.

A webhook's signing key and a mail account's password come from the file that the setting names, else from the
variable ``READINGROOM_URGENT_`` and the channel's name in capitals.
"""

import os
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from readingroom.core.errors import BadInput

LOOPBACK = ("127.0.0.1", "::1", "localhost")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Channel(_Model):
    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")
    step: int = Field(default=0, ge=0, le=9)
    """0: told at once; 1: when nobody has acknowledged after ``escalate_minutes``; 2: after twice that ..."""
    ca: Path | None = None
    """PEM file of the authorities that sign the server's certificate; none means those that this machine trusts."""

    @property
    def secret_variable(self) -> str:
        return f"READINGROOM_URGENT_{self.name.upper().replace('-', '_')}"


class UrgentWebhook(_Channel):
    """JSON by HTTPS POST, signed. It is told of studies of ``projects`` that are not restricted."""

    kind: Literal["webhook"]
    url: str
    secret_file: Path | None = None
    """Holds the key of the signature."""
    projects: tuple[str, ...] = ("care",)

    @field_validator("url")
    @classmethod
    def _is_safe(cls, url: str) -> str:
        parts = urlsplit(url)
        if not parts.hostname or not (
            parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
        ):
            raise ValueError("a webhook is an https address (http on this very machine only)")
        return url

    def secret(self) -> str:
        """Return the key of the signature. Raises BadInput where there is none."""
        return _secret(self.secret_file, self.secret_variable, self.name)


class UrgentMail(_Channel):
    """Mail to people, each by the account that decides whether they may see the study."""

    kind: Literal["mail"]
    host: str = Field(min_length=1)
    port: int = Field(default=587, ge=1, le=65535)
    tls: Literal["starttls", "tls"] = "starttls"
    """``tls``: encrypted from the first byte (port 465)."""
    sender: str = Field(pattern=r"^[^@\s]+@[^@\s]+$")
    user: str = ""
    """Empty: the server asks for no account."""
    password_file: Path | None = None
    people: dict[str, Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")]] = Field(min_length=1)
    """Account -> mail address."""

    def password(self) -> str:
        """Return the mail account's password. Raises BadInput where there is none."""
        return _secret(self.password_file, self.secret_variable, self.name)


class Urgent(_Model):
    """What happens when a reader finds what is urgent (``worklist/urgent_codes.json``)."""

    escalate_minutes: float = Field(default=10.0, gt=0, le=24 * 60)
    """An alert that nobody has acknowledged goes one step further after this."""
    channels: tuple[Annotated[UrgentWebhook | UrgentMail, Field(discriminator="kind")], ...] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        if len({one.secret_variable for one in self.channels}) < len(self.channels):
            raise ValueError("two channels have the same name")
        return self

    @property
    def last_step(self) -> int:
        """Administrators are told at step 1, whatever the channels."""
        return max((1, *(one.step for one in self.channels)))


def _secret(path: Path | None, variable: str, name: str) -> str:
    try:
        text = path.read_text("utf-8").strip() if path else os.environ.get(variable, "")
    except (OSError, UnicodeDecodeError):
        raise BadInput(
            f"The secret file of the channel {name} cannot be read.", "Look at its path and owner."
        ) from None
    if not text:
        raise BadInput(f"The channel {name} has no secret.", f"Name a file with it, or set {variable}.")
    return text
