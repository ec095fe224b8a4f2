"""Text that no database keeps is refused at the edge: a NUL character, or half of a surrogate pair.

PostgreSQL has no such text, and says so only where a row is written. So whatever comes in is looked at once, here: the
address of every request in ``security.Guard``, the body of a request in a dependency of the routers that take one.
"""

from collections.abc import Iterator
from typing import Any

from fastapi import Request
from starlette.types import Scope

from readingroom.core.errors import BadInput


def check_address(scope: Scope) -> None:
    """Raise BadInput for a path or query with a NUL character."""
    if "\0" in scope["path"] or b"%00" in scope["query_string"]:
        raise _unusable()


async def check_body(request: Request) -> None:
    """Raise BadInput for a body, JSON or a form, that holds such a text. What is neither is left to its route."""
    body = await request.body()
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        if b"%00" in body or b"\0" in body:
            raise _unusable()
        return
    try:
        value = await request.json() if body else None
    except (ValueError, RecursionError):
        return
    for text in _texts(value):
        try:
            text.encode()
        except UnicodeEncodeError:
            raise _unusable() from None
        if "\0" in text:
            raise _unusable()


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in a JSON value, names of members too."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            waiting += [*one, *one.values()]


def _unusable() -> BadInput:
    return BadInput("A text holds a character that no text has (NUL, or half of one).", "Leave it out.")
