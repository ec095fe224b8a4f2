"""Errors as HTTP answers: expected ones with their code, message and hint; unexpected ones as an opaque number.

Nothing a caller sent is repeated in an answer, and an unexpected error shows neither its text nor its stack:
the log has the stack without the error's own text, which might hold what a file said.
"""

from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from readingroom.access.accounts import SignInRefused
from readingroom.access.fhir_consent import Unmappable
from readingroom.access.first_run import SetUpRefused
from readingroom.access.limits import TooManyAttempts
from readingroom.access.passkeys import PasskeyRefused
from readingroom.access.second_factor import CodeRefused
from readingroom.access.sessions import ProofNeeded
from readingroom.access.sign_in import TooLate
from readingroom.core.errors import (
    BadInput,
    Conflict,
    Forbidden,
    NotFound,
    OutOfResources,
    ReadingRoomError,
    Unsupported,
)
from readingroom.core.sealed import SealBroken
from readingroom.core.secrets import KeyMissing
from readingroom.web import fhir
from readingroom.web.limits import TooManyRequests
from readingroom.web.patience import TooSlow
from readingroom.web.permissions import NotSignedIn

# The first class that fits decides.
STATUS: tuple[tuple[type[ReadingRoomError], int], ...] = (
    (NotSignedIn, 401),
    (SignInRefused, 401),
    (CodeRefused, 401),
    (PasskeyRefused, 401),
    (TooLate, 401),
    (SetUpRefused, 410),
    (ProofNeeded, 403),
    (KeyMissing, 503),
    (TooManyAttempts, 429),
    (TooManyRequests, 429),
    (TooSlow, 408),
    (SealBroken, 500),
    (Unmappable, 422),
    (BadInput, 400),
    (Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
    (Unsupported, 422),
    (OutOfResources, 507),
)
TOO_LARGE = "too-large"
"""Code of an OutOfResources that is about the request's own size: 413 and not 507."""


def status_of(error: ReadingRoomError) -> int:
    """Return the HTTP status for an expected error."""
    if error.code == TOO_LARGE:
        return 413
    return next((status for kind, status in STATUS if isinstance(error, kind)), 400)


def body(code: str, message: str, hint: str = "") -> dict[str, str]:
    """Return the one shape of an error's body."""
    return {"error": code, "message": message, "hint": hint}


def answer(error: ReadingRoomError, in_fhir: bool = False) -> Response:
    """Return the answer to an expected error, as whoever asked reads it."""
    headers = {}
    if isinstance(error, NotSignedIn) and error.challenge:
        headers["WWW-Authenticate"] = 'Basic realm="Reading Room DICOMweb", charset="UTF-8"'
    if isinstance(error, TooManyAttempts | TooManyRequests):
        headers["Retry-After"] = str(error.retry_after)
    status = status_of(error)
    if isinstance(error, Unmappable):
        return fhir.outcome_answer(
            [fhir.issue(p.code, error.code, p.text, where=p.where) for p in error.problems], status
        )
    return _say(in_fhir, error.code, error.message, error.hint, status, headers)


def _say(
    in_fhir: bool, code: str, message: str, hint: str, status: int, headers: Mapping[str, str] | None = None
) -> Response:
    if in_fhir:
        return fhir.outcome_answer([fhir.issue(fhir.issue_type(code), code, message, hint)], status, headers)
    return JSONResponse(body(code, message, hint), status, headers)


def install(app: FastAPI) -> None:
    """Add the handlers to an app."""

    @app.exception_handler(ReadingRoomError)
    def expected(request: Request, error: ReadingRoomError) -> Response:
        return answer(error, fhir.is_fhir(request))

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        places = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['type']}" for e in error.errors()[:10])
        return _say(fhir.is_fhir(request), "validation", "The request does not fit.", places, 422)

    @app.exception_handler(HTTPException)
    def http(request: Request, error: HTTPException) -> Response:
        words = {404: "not-found", 405: "method-not-allowed"}
        text = {404: "There is nothing here.", 405: "This address does not take this method."}
        code = words.get(error.status_code, "http")
        message = text.get(error.status_code, "The request was refused.")
        return _say(fhir.is_fhir(request), code, message, "", error.status_code, error.headers)
