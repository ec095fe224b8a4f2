"""What the FHIR routes share: where they are, their media type, and errors as an OperationOutcome."""

import json
from collections.abc import Mapping
from typing import Any

from fastapi import Request
from fastapi.responses import Response

PREFIX = "/fhir"
MEDIA_TYPE = "application/fhir+json"
# FHIR's issue types for our codes; for the others the status tells enough.
_ISSUE_TYPES = {"not-found": "not-found", "forbidden": "forbidden", "csrf": "forbidden", "not-signed-in": "login"}


def is_fhir(request: Request) -> bool:
    """Whether whoever asks speaks FHIR, and wants errors in it."""
    return request.url.path.startswith(f"{PREFIX}/")


def resource_answer(
    resource: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a resource as an answer."""
    text = json.dumps(resource, ensure_ascii=False, separators=(",", ":"))
    return Response(text, status, dict(headers or {}), f"{MEDIA_TYPE}; fhirVersion=5.0")


def issue_type(code: str) -> str:
    """Return FHIR's word for one of our error codes."""
    return _ISSUE_TYPES.get(code, "processing")


def issue(kind: str, code: str, text: str, hint: str = "", where: str = "") -> dict[str, Any]:
    """Return one issue of an OperationOutcome. ``kind`` is FHIR's issue type, ``where`` the place as FHIRPath."""
    found: dict[str, Any] = {
        "severity": "error",
        "code": kind,
        "details": {"coding": [{"system": "urn:readingroom:error", "code": code}], "text": text},
    }
    if hint:
        found["diagnostics"] = hint
    if where:
        found["expression"] = [where]
    return found


def outcome_answer(issues: list[dict[str, Any]], status: int, headers: Mapping[str, str] | None = None) -> Response:
    """Return an OperationOutcome as an answer."""
    from fhir.resources.operationoutcome import OperationOutcome

    resource = {"resourceType": "OperationOutcome", "issue": issues}
    OperationOutcome.model_validate(resource)
    return resource_answer(resource, status, headers)
