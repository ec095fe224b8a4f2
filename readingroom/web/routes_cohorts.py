"""Cohorts: listed, added, frozen; their label sets; the counted look at the locked test part.

A cohort is of one project; for everybody else it is not there. A folder is named on the command line only.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from readingroom.access.actor import Actor
from readingroom.core.database import MAX_INTEGER, Database
from readingroom.core.permissions import Permission
from readingroom.core.purposes import Purpose
from readingroom.learning import cohorts, labels, locked, model
from readingroom.learning.views import CohortLine, CohortView, cohort_lines, cohort_view
from readingroom.review.label_inputs import DECIDED
from readingroom.web.permissions import requires

router = APIRouter(prefix="/cohorts")

Number = Annotated[int | None, Field(ge=1, le=MAX_INTEGER)]
Looking = Annotated[Actor, Depends(requires(Permission.COHORT_READ))]
Making = Annotated[Actor, Depends(requires(Permission.COHORT_WRITE))]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NewCohort(_Body):
    name: str = Field(max_length=64)
    title: str = Field(default="", max_length=128)
    project: str = Field(max_length=64)
    purpose: Purpose
    query: model.Query = model.Query()
    shares: model.Shares = model.Shares()


class Cohorts(_Body):
    """``projects``: where the asker may make cohorts."""

    items: list[CohortLine]
    projects: list[str]


class OfVersion(_Body):
    """None: the newest version."""

    version: Number = None


class Look(OfVersion):
    """``labels``: the number of the label set, the newest where None."""

    reader: str = Field(max_length=64)
    reader_version: str = Field(default="", max_length=32)
    labels: Number = None
    why: str = Field(max_length=500)


@router.get("")
def all_cohorts(request: Request, actor: Looking) -> Cohorts:
    database: Database = request.app.state.database
    with database.read() as session:
        lines = cohort_lines(session, actor)
    return Cohorts(
        items=lines, projects=sorted(actor.projects[key].name for key in actor.projects_for(Permission.COHORT_WRITE))
    )


@router.post("", status_code=201)
def add(body: NewCohort, request: Request, actor: Making) -> CohortView:
    database: Database = request.app.state.database
    with database.write() as session:
        cohort = cohorts.add(
            session, body.name, project=body.project, purpose=body.purpose, definition=body.query,
            workshop=_workshop(request), actor=actor, title=body.title, shares=body.shares,
        )  # fmt: skip
        return cohort_view(session, cohort, actor)


@router.get("/{cohort_id}")
def show(cohort_id: str, request: Request, actor: Looking) -> CohortView:
    return _view(cohort_id, request, actor)


@router.post("/{cohort_id}/versions", status_code=201)
def freeze(cohort_id: str, request: Request, actor: Making) -> CohortView:
    """Freeze the next version; 409 where it would be the same as the newest."""
    cohorts.freeze(request.app.state.database, cohort_id, _workshop(request), actor)
    return _view(cohort_id, request, actor)


@router.post("/{cohort_id}/labels", status_code=201)
def freeze_labels(cohort_id: str, body: OfVersion, request: Request, actor: Making) -> CohortView:
    """Freeze what people have decided about a version's members; 409 where the newest set says the same."""
    database: Database = request.app.state.database
    with database.write() as session:
        cohort = cohorts.find(session, actor, Permission.COHORT_WRITE, cohort_id=cohort_id)
        version = cohorts.version_of(session, cohort, body.version)
        labels.freeze_labels(session, cohort, version, _workshop(request), actor)
    return _view(cohort_id, request, actor)


@router.post("/{cohort_id}/evaluations", status_code=201)
def evaluate(cohort_id: str, body: Look, request: Request, actor: Making) -> CohortView:
    """Measure a reader on the locked test part. The look is counted, with who, when and why."""
    database: Database = request.app.state.database
    with database.read() as session:
        cohorts.find(session, actor, Permission.COHORT_WRITE, cohort_id=cohort_id)
    # Before the transaction: readers load their weights.
    codes = locked.codes_of(body.reader)
    with database.write() as session:
        cohort = cohorts.find(session, actor, Permission.COHORT_WRITE, cohort_id=cohort_id)
        version = cohorts.version_of(session, cohort, body.version)
        frozen = labels.set_of(session, version, body.labels)
        asked = locked.Asked(body.reader, body.why, body.reader_version)
        locked.evaluate(session, cohort, version, frozen, asked, codes, _workshop(request), actor)
    return _view(cohort_id, request, actor)


@router.get("/{cohort_id}/export")
def export(
    cohort_id: str,
    request: Request,
    actor: Looking,
    version: Annotated[int | None, Query(ge=1, le=MAX_INTEGER)] = None,
) -> Response:
    """Members and labels as JSON Lines; those of the test part stay locked."""
    database: Database = request.app.state.database
    with database.write() as session:
        cohort = cohorts.find(session, actor, Permission.COHORT_READ, cohort_id=cohort_id)
        lines = labels.export(session, cohort, _workshop(request), actor, number=version)
    body = "".join(f"{line}\n" for line in lines)
    headers = {"Content-Disposition": f'attachment; filename="{cohort.name}.jsonl"'}
    return Response(body, media_type="application/jsonl", headers=headers)


def _view(cohort_id: str, request: Request, actor: Actor) -> CohortView:
    database: Database = request.app.state.database
    with database.read() as session:
        cohort = cohorts.find(session, actor, Permission.COHORT_READ, cohort_id=cohort_id)
        return cohort_view(session, cohort, actor)


def _workshop(request: Request) -> model.Workshop:
    state = request.app.state
    return model.Workshop(state.settings.purposes, state.secrets, state.archive.store.source, DECIDED)
