"""What the killable child does with results: encode the objects of a reading, and those of a signed report.

The objects are files in the working folder, named by number; the answer says which role each has.
"""

from datetime import datetime
from pathlib import Path
from typing import Any

from readingroom.core.sealed import Source, source_from_json
from readingroom.findings.model import Reading, SegmentMask

Json = dict[str, Any]


def encode(request: Json) -> Json:
    """Encode a reading's objects (SEG and SR)."""
    from readingroom.objects.reading_objects import encode_reading

    segments = {name: _segment(words) for name, words in request["segments"].items()}
    objects = encode_reading(
        Reading.model_validate(request["reading"]),
        segments,
        _sources(request),
        request["pixel_digests"],
        datetime.fromisoformat(request["read_at"]),
        title=request["title"],
        revision=request["revision"],
        partial=request["partial"],
        zone=request["zone"],
        simulated=request["simulated"],
    )
    return {"objects": _write_objects(objects)}


def report(request: Json) -> Json:
    """Write the objects of a signed report (SEG, SR, PDF, FHIR), or those with its addenda (SR, PDF, FHIR)."""
    # Imported here: FHIR's models and the typesetter take seconds to load, and only a report needs them.
    from readingroom.objects.content import AddendumText
    from readingroom.report.model import ReportBody
    from readingroom.report.write import write_objects

    segments = {(reading_id, name): _segment(words) for reading_id, name, words in request["segments"]}
    objects = write_objects(
        ReportBody.model_validate(request["body"]),
        segments,
        _sources(request),
        request["pixel_digests"],
        [AddendumText.model_validate(one) for one in request["addenda"]],
    )
    return {"objects": _write_objects(objects)}


def _segment(words: list[str]) -> SegmentMask:
    return SegmentMask.from_bytes(source_from_json(words).read_bytes())


def _sources(request: Json) -> list[Source]:
    return [source_from_json(words) for files in request["files"].values() for words in files]


def _write_objects(objects: list[tuple[str, bytes]]) -> list[list[str]]:
    """Write the objects as files; return ``[role, file name]`` of each."""
    names = []
    for number, (role, data) in enumerate(objects):
        Path(f"object-{number}").write_bytes(data)
        names.append([role, f"object-{number}"])
    return names
