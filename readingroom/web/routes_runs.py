"""Training runs: the list, and one with its curves and trials."""

from typing import Any

from fastapi import APIRouter, Depends, Request

from readingroom.core.config import Settings
from readingroom.core.permissions import Permission
from readingroom.learning.runs import RunDetail, list_runs, run_detail
from readingroom.web.permissions import requires

router = APIRouter()


@router.get("/runs", dependencies=[Depends(requires(Permission.RUN_READ))])
def runs(request: Request) -> dict[str, Any]:
    """The runs kept in the home folder, latest first."""
    settings: Settings = request.app.state.settings
    total, items = list_runs(settings.home)
    return {"total": total, "items": items}


@router.get("/runs/{run_id}", dependencies=[Depends(requires(Permission.RUN_READ))])
def run(run_id: str, request: Request) -> RunDetail:
    """One run with its curves, facts and trials."""
    settings: Settings = request.app.state.settings
    return run_detail(settings.home, run_id)
