"""Norms: FreeSurfer's measures of one person against those of healthy people, and the curves of a region.

Nothing that is sent is kept, logged or audited: an age, a sex and tables of volumes without a name.
"""

from functools import cache
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from readingroom.core.permissions import Permission
from readingroom.readers.alzheimer.assess import Answer, Assessor, Curve
from readingroom.readers.alzheimer.stats import MAX_CHARACTERS, read_stats
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


@cache
def _assessor() -> Assessor:
    return Assessor()


@router.post("/norms", dependencies=[Depends(requires(Permission.READER_READ))])
def assess(question: Question) -> Answer:
    """z of every region that has a norm, and the probability of dementia, each with what could not be said."""
    measured = read_stats(question.tables)
    return _assessor().assess(measured, question.age_years, question.sex, question.prevalence)


@router.get("/norms/curves/{region}", dependencies=[Depends(requires(Permission.READER_READ))])
def curves(region: str, sex: Sex, head_ml: Annotated[float | None, Query(gt=0, le=5000)] = None) -> Curve:
    """Percentiles of one region by age."""
    return _assessor().curve(region, sex, head_ml)
