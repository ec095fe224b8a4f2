"""What a DICOMweb client accepts: the Accept header and ``accept`` parameter (PS3.18 sections 8.3.3 and 8.7)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_PARAMETER = re.compile(r'\s*;\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(?:"([^"]*)"|([^;,\s]*))')
_TYPE = re.compile(r"\s*([a-z*][a-z0-9!#$&^_.+-]*/[a-z0-9*][a-z0-9!#$&^_.+*-]*)", re.IGNORECASE)


@dataclass(frozen=True)
class Accepted:
    """One acceptable form. ``media_type``: of the parts where ``multipart``. ``transfer_syntax``: empty where none is
    named, ``*`` for as stored."""

    media_type: str
    transfer_syntax: str
    multipart: bool
    quality: float


def parse_accept(header: str) -> list[Accepted]:
    """Return what is acceptable, best first. An empty or unreadable header accepts everything."""
    found: list[Accepted] = []
    pos = 0
    while pos < len(header) and len(found) < 64:
        head = _TYPE.match(header, pos)
        if head is None:
            comma = header.find(",", pos)
            if comma < 0:
                break
            pos = comma + 1
            continue
        media_type, pos = head.group(1).lower(), head.end()
        parameters: dict[str, str] = {}
        while parameter := _PARAMETER.match(header, pos):
            parameters[parameter.group(1).lower()] = parameter.group(2) or parameter.group(3) or ""
            pos = parameter.end()
        multipart = media_type == "multipart/related"
        if multipart:
            media_type = parameters.get("type", "*/*").lower() or "*/*"
        found.append(
            Accepted(media_type, parameters.get("transfer-syntax", ""), multipart, _quality(parameters.get("q", "1")))
        )
        comma = header.find(",", pos)
        if comma < 0:
            break
        pos = comma + 1
    found = [accepted for accepted in found if accepted.quality > 0]
    return sorted(found, key=lambda a: -a.quality) or [Accepted("*/*", "", False, 1.0)]


def covers(accepted: Accepted, media_type: str) -> bool:
    """Whether a form accepts a media type (``image/*`` accepts ``image/jls``)."""
    wanted = accepted.media_type
    return wanted in ("*/*", media_type) or (wanted.endswith(("/*", "/")) and media_type.startswith(wanted.rstrip("*")))


def wants_json(forms: Sequence[Accepted]) -> bool:
    """Whether DICOM JSON is acceptable."""
    return any(covers(a, t) for a in forms for t in ("application/dicom+json", "application/json"))


def _quality(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 1.0
