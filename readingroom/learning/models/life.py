"""The states of a reader version and the rules between them; each change says who made it, when and why.

candidate -> shadow -> live -> retired. Only a version in shadow becomes live, one at a time for each reader; the one
before retires, and rolling back returns it. A reader that is installed with weights of its own is live as long as no
added version of its name is.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from readingroom.core.audit import AuditCode, record
from readingroom.core.errors import BadInput, Conflict, NotFound
from readingroom.learning.models.tables import ModelChange, ModelVersion

LONGEST_WHY = 1000


class State(StrEnum):
    CANDIDATE = "candidate"
    SHADOW = "shadow"
    LIVE = "live"
    RETIRED = "retired"


@dataclass(frozen=True)
class Life:
    """A version and all that became of it, oldest change first."""

    row: ModelVersion
    changes: tuple[ModelChange, ...]

    @property
    def state(self) -> State:
        return State(self.changes[-1].state)


def lives(session: Session, reader: str = "") -> list[Life]:
    """Return every version (of one reader), by reader, oldest first."""
    statement = select(ModelChange, ModelVersion).join(ModelVersion).order_by(ModelChange.id)
    rows = session.execute(statement.where(ModelVersion.reader == reader) if reader else statement).all()
    changes: dict[str, list[ModelChange]] = defaultdict(list)
    versions: dict[str, ModelVersion] = {}
    for change, version in rows:
        changes[version.id].append(change)
        versions[version.id] = version
    found = [Life(version, tuple(changes[key])) for key, version in versions.items()]
    return sorted(found, key=lambda life: (life.row.reader, life.changes[0].id))


def in_state(session: Session, state: State) -> list[ModelVersion]:
    """Return the versions that are in a state now, by reader, oldest first."""
    return [life.row for life in lives(session) if life.state is state]


def life_of(session: Session, reader: str, version: str) -> Life:
    """Return one version. Raises NotFound."""
    found = next((life for life in lives(session, reader) if life.row.version == version), None)
    if found is None:
        raise NotFound("There is no such reader version here.", "readingroom models list shows all.")
    return found


def life_by_id(session: Session, model_id: str) -> Life:
    """Return one version by its key. Raises NotFound."""
    row = session.get(ModelVersion, model_id)
    if row is None:
        raise NotFound("There is no such reader version here.")
    return life_of(session, row.reader, row.version)


def add(session: Session, row: ModelVersion, state: State, *, actor: str, why: str) -> ModelVersion:
    """Write down a new version, a candidate or in shadow. Raises Conflict where reader and version are known."""
    if session.scalar(
        select(ModelVersion.id).where(ModelVersion.reader == row.reader, ModelVersion.version == row.version)
    ):
        raise Conflict(f"{row.reader} {row.version} is here already.", "It stays as it is; give yours another version.")
    session.add(row)
    session.flush()
    _change(session, row, "add", state, actor, why)
    return row


def to_shadow(session: Session, life: Life, *, actor: str, why: str) -> None:
    """Let a candidate, or one that was retired, run unseen after the live ones. Raises Conflict."""
    life = _locked(session, life)
    _only_from(life, "put in shadow", State.CANDIDATE, State.RETIRED)
    _change(session, life.row, "shadow", State.SHADOW, actor, why)


def promote(session: Session, life: Life, *, actor: str, why: str) -> None:
    """Make a version in shadow live; the one that was live retires. Raises Conflict."""
    life = _locked(session, life)
    _only_from(life, "promoted", State.SHADOW)
    for other in lives(session, life.row.reader):
        if other.state is State.LIVE:
            _change(session, other.row, "promote", State.RETIRED, actor, why)
    _change(session, life.row, "promote", State.LIVE, actor, why)


def roll_back(session: Session, life: Life, *, installed: bool, actor: str, why: str) -> ModelVersion | None:
    """Retire the live version and return the one before it, live again: None where that is the installed reader.

    ``installed``: whether a reader of this name is installed. Raises Conflict where nothing came before.
    """
    life = _locked(session, life)
    _only_from(life, "rolled back", State.LIVE)
    before = _stack(lives(session, life.row.reader))[:-1]
    if not before and not installed:
        raise Conflict("No version of this reader was live before this one.", "Retire it, and nothing reads.")
    _change(session, life.row, "rollback", State.RETIRED, actor, why)
    if not before:
        return None
    _change(session, before[-1], "rollback", State.LIVE, actor, why)
    return before[-1]


def retire(session: Session, life: Life, *, actor: str, why: str) -> None:
    """Put a version to rest. A live one leaves its place to the installed reader, if there is one. Raises Conflict."""
    life = _locked(session, life)
    _only_from(life, "retired", State.CANDIDATE, State.SHADOW, State.LIVE)
    _change(session, life.row, "retire", State.RETIRED, actor, why)


def _stack(of_reader: Sequence[Life]) -> list[ModelVersion]:
    """Return the versions that roll-backs would go through, the live one last."""
    events = sorted(((change, life.row) for life in of_reader for change in life.changes), key=lambda one: one[0].id)
    stack: list[ModelVersion] = []
    for change, row in events:
        if change.action == "promote" and change.state == State.LIVE:
            stack.append(row)
        elif change.action == "rollback" and change.state == State.RETIRED:
            stack.pop()
        elif change.action == "retire" and stack and stack[-1].id == row.id:
            # Whoever retired the live one wanted none in its place.
            stack.clear()
    return stack


def _locked(session: Session, life: Life) -> Life:
    """Return the version as it is once nobody else can change one of its reader."""
    session.execute(select(ModelVersion.id).where(ModelVersion.reader == life.row.reader).with_for_update()).all()
    return life_of(session, life.row.reader, life.row.version)


def _only_from(life: Life, done: str, *states: State) -> None:
    if life.state not in states:
        wanted = " or ".join(states)
        raise Conflict(f"{life.row.reader} {life.row.version} is {life.state}; only {wanted} can be {done}.")


def _change(session: Session, row: ModelVersion, action: str, state: State, actor: str, why: str) -> None:
    why = why.strip()
    if not why or len(why) > LONGEST_WHY:
        raise BadInput(f"A reason is needed, of at most {LONGEST_WHY} characters.", "It is kept, and shown.")
    session.add(ModelChange(model_id=row.id, action=action, state=state, actor=actor, why=why))
    session.flush()
    detail = {"reader": row.reader, "version": row.version, "state": state.value}
    record(session, AuditCode.SECURITY_ALERT, "model-changed", actor, detail=detail)
