"""The first administrator's account, made by whoever holds the link that ``readingroom serve`` printed."""

from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from readingroom.access import first_run
from readingroom.access.sign_in import Entered
from readingroom.core.permissions import Permission
from readingroom.web.browser import enter
from readingroom.web.permissions import requires

router = APIRouter()


class SetUp(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    token: str = Field(max_length=64)
    name: str = Field(max_length=64)
    display_name: str = Field(default="", max_length=128)
    password: str = Field(max_length=256)


@router.post("/set-up", dependencies=[Depends(requires(Permission.PUBLIC))])
def set_up(body: SetUp, request: Request, response: Response) -> dict[str, Any]:
    """Make the account and sign in. 410 where the link is wrong, used or too old."""
    account = first_run.set_up(
        request.app.state.database, body.token, body.name, body.password, display_name=body.display_name
    )
    return enter(request, response, Entered(account, strong=False))
