"""The coded reasons a radiologist gives for rejecting a finding: a data table, ``reasons.json``."""

import json
from functools import cache
from importlib.resources import files
from typing import Any

from pydantic import BaseModel, ConfigDict

from readingroom.core.errors import BadInput


class Reason(BaseModel):
    """One reason. ``needs_text``: the code alone says too little."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    meaning: str
    needs_text: bool


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(files("readingroom.review").joinpath("reasons.json").read_text("utf-8"))
    return table


def edition() -> str:
    """Return the edition of the table."""
    return str(_table()["edition"])


@cache
def reject_reasons() -> dict[str, Reason]:
    """Return the reasons for a rejection by code, in the order of the table."""
    return {row["code"]: Reason.model_validate(row) for row in _table()["reject"]}


def check_reject_reason(code: str, text: str) -> None:
    """Raise BadInput unless ``code`` is in the table and has the text it needs."""
    reason = reject_reasons().get(code)
    if reason is None:
        raise BadInput("A rejection needs a reason from the table.", f"One of: {', '.join(reject_reasons())}.")
    if reason.needs_text and not text.strip():
        raise BadInput(f"The reason '{reason.meaning}' needs a few words.", "Say why in reason_text.")
