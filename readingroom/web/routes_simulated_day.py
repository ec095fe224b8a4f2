"""The simulated day: what triage would save and cost with the numbers that somebody sets. No study, no patient."""

import threading
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from readingroom.core.errors import BadInput, Conflict
from readingroom.core.permissions import Permission
from readingroom.web.permissions import requires
from readingroom.worklist.day.model import Inputs
from readingroom.worklist.day.summary import MOST_LOAD, Summary, load_of, simulate

router = APIRouter()

MOST_STUDIES = 20_000
"""Studies of all middle days together: a few seconds' work."""
_busy = threading.Lock()

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Day(BaseModel):
    """What is set. Times in minutes; shares and rates 0..1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    studies_per_day: float = Field(default=Inputs.studies_per_day, ge=1, le=2000, allow_inf_nan=False)
    radiologists: int = Field(default=Inputs.radiologists, ge=1, le=50)
    reading_minutes: float = Field(default=Inputs.reading_minutes, ge=0.5, le=240, allow_inf_nan=False)
    reading_sd_minutes: float = Field(default=Inputs.reading_sd_minutes, ge=0, le=240, allow_inf_nan=False)
    prevalence: Share = Inputs.prevalence
    sensitivity: Share = Inputs.sensitivity
    specificity: Share = Inputs.specificity
    reader_minutes: float = Field(default=Inputs.reader_minutes, ge=0, le=24 * 60, allow_inf_nan=False)
    stat_share: Share = Inputs.stat_share
    high_share: Share = Inputs.high_share
    days: int = Field(default=40, ge=2, le=500)
    seed: int = Field(default=1, ge=0, le=2**31 - 1)

    @property
    def inputs(self) -> Inputs:
        return Inputs(**self.model_dump(exclude={"days", "seed"}))


def _check(body: Day) -> None:
    """Raise BadInput for what cannot be simulated, or not in a few seconds."""
    if body.stat_share + body.high_share > 1:
        raise BadInput("Orders as stat and with high priority together are more than all orders.")
    if (load := load_of(body.inputs)) > MOST_LOAD:
        raise BadInput(
            f"Reading would take {load:.0%} of the radiologists' time: the list would grow from day to day.",
            "More radiologists, fewer studies or shorter readings.",
        )
    if body.studies_per_day * body.days > MOST_STUDIES:
        raise BadInput(f"That would be more than {MOST_STUDIES:,} studies.", "Simulate fewer days.")


@router.post("/simulated-day", dependencies=[Depends(requires(Permission.READER_READ))])
def simulated_day(body: Day) -> Summary:
    """Simulate; one at a time, as it takes all of a core. The same body gets the same answer."""
    _check(body)
    if not _busy.acquire(blocking=False):
        raise Conflict("Another day is being simulated.", "Try again in a few seconds.", code="busy")
    try:
        return simulate(body.inputs, body.days, body.seed)
    finally:
        _busy.release()
