"""Add a draft as a reader version, with its first state."""

from sqlalchemy.orm import Session

from readingroom.core.config import Settings
from readingroom.core.secrets import load_secrets
from readingroom.learning.models.life import State, add
from readingroom.learning.models.package import Draft
from readingroom.learning.models.statement import sign
from readingroom.learning.models.store import keep
from readingroom.learning.models.tables import ModelVersion


def add_version(session: Session, settings: Settings, draft: Draft, *, actor: str, why: str) -> ModelVersion:
    """Keep a draft's files, sign it and write it down. What came from elsewhere starts in shadow; weights of our
    own workshop as a candidate. Raises Conflict where it is here already."""
    keep(settings, draft.files)
    row = ModelVersion(
        reader=draft.reader,
        version=draft.version,
        statement=draft.statement.text(),
        signature=sign(load_secrets(settings), draft.statement),
    )
    state = State.SHADOW if draft.statement.kind == "network" else State.CANDIDATE
    return add(session, row, state, actor=actor, why=why)
