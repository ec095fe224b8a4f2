"""Change a version's state as a person asks, from the command line or the page: one way for both."""

from enum import StrEnum

from sqlalchemy.orm import Session

from readingroom.core.config import Settings
from readingroom.core.secrets import load_secrets
from readingroom.learning.models import life
from readingroom.learning.models.serving import want_reads_here
from readingroom.learning.models.store import verify
from readingroom.readers.registry import is_installed


class Action(StrEnum):
    SHADOW = "shadow"
    PROMOTE = "promote"
    ROLLBACK = "rollback"
    RETIRE = "retire"


def change(session: Session, settings: Settings, model: life.Life, action: Action, *, actor: str, why: str) -> str:
    """Make the change and return what holds now, in words. Raises Conflict where the state does not allow it, and
    BadInput or KeyMissing for a version that would not run, or is not as it was signed."""
    reader, version = model.row.reader, model.row.version
    if action is Action.ROLLBACK:
        before = life.roll_back(session, model, installed=is_installed(reader), actor=actor, why=why)
        return f"{reader}: {before.version if before else 'the installed version'} is live"
    if action is Action.RETIRE:
        life.retire(session, model, actor=actor, why=why)
        return f"{reader} {version}: {life.State.RETIRED}"
    want_reads_here(settings, reader)
    verify(settings, load_secrets(settings), model.row)
    do = life.to_shadow if action is Action.SHADOW else life.promote
    do(session, model, actor=actor, why=why)
    return f"{reader} {version}: {life.life_by_id(session, model.row.id).state}"
