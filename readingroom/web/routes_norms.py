"""Norms: FreeSurfer's measures of one person against those of healthy people, and the curves of a region.

Nothing that is sent is kept, logged or audited: an age, a sex and tables of volumes without a name.
"""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from readingroom.archive.receive import Archive
from readingroom.core.database import Database
from readingroom.core.permissions import Permission
from readingroom.readers.alzheimer.assess import Answer, Curve
from readingroom.readers.alzheimer.stats import MAX_CHARACTERS, read_stats
from readingroom.review.norms import StudyNorms, assessor, study_norms
from readingroom.web.permissions import requires

router = APIRouter()
Sex = Literal["F", "M"]


class Question(BaseModel):
    """``tables``: the texts of aseg.stats, lh.aparc.stats, rh.aparc.stats; any of them. ``prevalence``: share with
    dementia where this is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    tables: tuple[Annotated[str, Field(max_length=MAX_CHARACTERS)], ...] = Field(min_length=1, max_length=6)
    age_years: float = Field(gt=0, le=130)
    sex: Sex
    prevalence: float | None = Field(default=None, gt=0, lt=1)


@router.post("/norms", dependencies=[Depends(requires(Permission.READER_READ))])
def assess(question: Question) -> Answer:
    """z of every region that has a norm, and the probability of dementia, each with what could not be said."""
    measured = read_stats(question.tables)
    return assessor().assess(measured, question.age_years, question.sex, question.prevalence)


@router.get("/norms/curves/{region}", dependencies=[Depends(requires(Permission.READER_READ))])
def curves(region: str, sex: Sex, head_ml: Annotated[float | None, Query(gt=0, le=5000)] = None) -> Curve:
    """Percentiles of one region by age."""
    return assessor().curve(region, sex, head_ml)


@router.get("/studies/{study_id}/norms", dependencies=[Depends(requires(Permission.STUDY_READ))])
def of_study(study_id: str, request: Request) -> StudyNorms:
    """The same for the measures that came with a study, where the reader has read them."""
    database: Database = request.app.state.database
    archive: Archive = request.app.state.archive
    with database.read() as session:
        return study_norms(session, archive.store, study_id)
