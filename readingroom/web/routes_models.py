"""Reader versions: their states, who changed them and why, how those in shadow compare. Nothing here shows a study."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from readingroom.access.actor import Actor
from readingroom.core.config import Settings
from readingroom.core.database import Database
from readingroom.core.errors import ReadingRoomError
from readingroom.core.permissions import Permission
from readingroom.core.secrets import SecretBox
from readingroom.learning.models import life
from readingroom.learning.models.changing import Action, change
from readingroom.learning.models.compare import Comparison
from readingroom.learning.models.compared import comparison
from readingroom.learning.models.serving import reads_here
from readingroom.learning.models.statement import check
from readingroom.readers.contract import Card
from readingroom.readers.registry import load_readers
from readingroom.web.browser import want_proof
from readingroom.web.permissions import requires

router = APIRouter()


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelChangeAsked(_Body):
    action: Action
    why: str = Field(max_length=life.LONGEST_WHY)


class ChangeShown(_Body):
    action: str
    state: life.State
    at: datetime
    actor: str
    why: str


class ModelShown(_Body):
    id: str
    reader: str
    version: str
    state: life.State
    error: str
    """Why it is not as it was signed, or empty; its files are looked at by ``readingroom models verify``."""
    reads_here: bool
    source: str
    files: dict[str, str]
    card: Card | None
    changes: list[ChangeShown]
    """Newest first."""
    comparison: Comparison | None


@router.get("/models")
def models(request: Request, actor: Annotated[Actor, Depends(requires(Permission.MODEL_READ))]) -> dict[str, Any]:
    """Every version that was added, and what is installed with weights of its own."""
    database: Database = request.app.state.database
    with database.read() as session:
        found = [_shown(session, request, one) for one in life.lives(session)]
    replaced = {one.reader for one in found if one.state is life.State.LIVE}
    installed = [
        {
            "reader": loaded.name,
            "version": loaded.version,
            "title": loaded.reader.card.title if loaded.reader else "",
            "error": loaded.error,
            "live": loaded.name not in replaced,
        }
        for loaded in load_readers()
    ]
    return {"installed": installed, "items": found}


@router.post("/models/{model_id}/change")
def change_model(
    model_id: Annotated[str, Path(max_length=32)],
    body: ModelChangeAsked,
    request: Request,
    actor: Annotated[Actor, Depends(requires(Permission.MODEL_MANAGE))],
) -> ModelShown:
    """Put a version in shadow, make it live, go back to the one before it, or retire it; with the reason."""
    want_proof(request, actor)
    database: Database = request.app.state.database
    settings: Settings = request.app.state.settings
    with database.write() as session:
        chosen = life.life_by_id(session, model_id)
        change(session, settings, chosen, body.action, actor=actor.name, why=body.why)
        return _shown(session, request, life.life_by_id(session, model_id))


def _shown(session: Session, request: Request, one: life.Life) -> ModelShown:
    box: SecretBox = request.app.state.secrets
    settings: Settings = request.app.state.settings
    statement, error = None, ""
    try:
        statement = check(box, one.row.statement, one.row.signature)
    except ReadingRoomError as problem:
        error = str(problem)
    return ModelShown(
        id=one.row.id,
        reader=one.row.reader,
        version=one.row.version,
        state=one.state,
        error=error,
        reads_here=reads_here(settings, one.row.reader),
        source=statement.source if statement else "",
        files=statement.files if statement else {},
        card=statement.card if statement else None,
        changes=[
            ChangeShown(action=c.action, state=life.State(c.state), at=c.at, actor=c.actor, why=c.why)
            for c in reversed(one.changes)
        ],
        comparison=comparison(session, one.row.id),
    )
