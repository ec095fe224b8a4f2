"""What is signed of a reader version: who it is, its card, its manifest, and the hash of each of its files."""

import json
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from readingroom.core.errors import BadInput
from readingroom.core.secrets import SecretBox
from readingroom.readers.contract import Card
from readingroom.readers.packaged.manifest import Manifest

PURPOSE = "reader version"
NETWORK = "network.onnx"
"""Name of the one file of a reader without code."""


class Statement(BaseModel):
    """``network``: a reader without code, one ONNX file with a manifest. ``weights``: other weights and another card
    for a reader that is installed here, whose code they need."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["network", "weights"]
    card: Card
    manifest: Manifest | None = None
    files: dict[str, str]
    """Name -> SHA-256."""
    source: str
    """What it was made from, in words: no path of this machine."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.kind == "network") is (self.manifest is None):
            raise ValueError("a network, and only a network, has a manifest")
        if dict(self.card.weights) != self.files:
            raise ValueError("the card names other weights")
        return self

    def text(self) -> str:
        """Return the one JSON text of this statement."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_text(cls, text: str) -> "Statement":
        """Inverse of ``text``. Raises BadInput."""
        try:
            return cls.model_validate_json(text)
        except ValidationError:
            raise BadInput("What was signed of this reader version cannot be read.") from None


def sign(box: SecretBox, statement: Statement) -> str:
    """Return the house's signature of a statement."""
    return box.sign(statement.text().encode(), PURPOSE)


def check(box: SecretBox, text: str, signature: str) -> Statement:
    """Return the statement that this house signed. Raises KeyMissing where it did not, BadInput."""
    box.verify(text.encode(), signature, PURPOSE)
    return Statement.from_text(text)
