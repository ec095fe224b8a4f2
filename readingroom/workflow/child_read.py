"""What the killable child does with images: list readers, look at a study, run a reader.

Each task takes the request's JSON and returns its answer's; arrays
are files in the working folder, named by number. Nothing here knows the database, the store or another study.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from readingroom.core.errors import ReadingRoomError
from readingroom.core.sealed import Source, source_from_json
from readingroom.findings.heat_map import heat_map_to_bytes
from readingroom.findings.model import Finding, ReaderState, Reading
from readingroom.intake.study import load_study
from readingroom.learning.models.loading import load_all
from readingroom.learning.models.serving import Package
from readingroom.readers.contract import Card, PriorReading, ReadingOutput, ReadingRequest, TypedSeries
from readingroom.readers.registry import LoadedReader
from readingroom.readers.runner import PRIORS, run_reader
from readingroom.workflow.child import report_progress

Json = dict[str, Any]

_VOLUME_SHARE = 0.4
"""Part of the memory limit that volumes may take; the rest is the reader's."""


def readers(request: Json) -> Json:
    """List the installed readers."""
    return {"readers": [_describe(loaded) for loaded in _load(request)]}


def intake(request: Json) -> Json:
    """Type and measure every series; ask every reader whether it applies."""
    report_progress("intake", 0.0)
    found = load_study(_sources(request), max_volume_bytes=_volume_bytes(request), threads=_threads())
    partial = str(request["partial"])
    if found.partial and found.partial not in partial:
        partial = f"{partial} {found.partial}".strip()
    return {
        "series": [_series(series) for series in found.series],
        "partial": partial,
        "readers": [_asked(loaded, found.series) for loaded in _load(request)],
    }


def read(request: Json) -> Json:
    """Run one reader on the series it chose."""
    report_progress("loading", 0.0)
    found = load_study(_sources(request), max_volume_bytes=_volume_bytes(request), threads=_threads())
    loaded = next((one for one in _load(request) if one.name == request["reader"]), None)
    if loaded is None or loaded.version != request["version"]:
        raise SystemExit(3)
    if loaded.reader is None:
        failed = Reading(reader=loaded.name, version=loaded.version, state=ReaderState.FAILED, reason=loaded.error)
        return {"reading": failed.model_dump(mode="json"), "arrays": {}}
    reading, output = run_reader(
        loaded.reader,
        ReadingRequest(
            study_instance_uid=request["study_instance_uid"],
            series=found.series,
            context=found.context,
            partial=bool(request["partial"]),
            priors=_priors(request, loaded.reader.card),
        ),
        report_progress,
    )
    return {"reading": reading.model_dump(mode="json"), "arrays": _write_arrays(output)}


def _priors(request: Json, card: Card) -> tuple[PriorReading, ...]:
    """Return the earlier readings for a card that declares them: only findings of the kinds it finds.

    A study that this reader did not look at, and without any such finding, says nothing and is left out.
    """
    if PRIORS not in card.context:
        return ()
    kinds = {(one.scheme, one.value) for one in card.finds}
    priors = []
    for one in request["priors"]:
        findings = tuple(Finding.model_validate(finding) for finding in one["findings"])
        ours = tuple(finding for finding in findings if (finding.code.scheme, finding.code.value) in kinds)
        if ours or one["read"]:
            priors.append(PriorReading(days_before=one["days_before"], findings=ours))
    return tuple(priors)


def _load(request: Json) -> list[LoadedReader]:
    """Load the readers that the request names, or all; the others are not even imported."""
    packages = [Package.model_validate(words) for words in request.get("packages", ())]
    return load_all(request["readers"], packages)


def _sources(request: Json) -> dict[str, list[Source]]:
    return {uid: [source_from_json(words) for words in files] for uid, files in request["files"].items()}


def _volume_bytes(request: Json) -> int:
    return int(request["memory_bytes"] * _VOLUME_SHARE)


def _threads() -> int:
    return int(os.environ.get("READINGROOM_READER_THREADS", "1"))


def _describe(loaded: LoadedReader) -> Json:
    title = loaded.reader.card.title if loaded.reader else ""
    return {"name": loaded.name, "version": loaded.version, "title": title, "error": loaded.error}


def _asked(loaded: LoadedReader, series: tuple[TypedSeries, ...]) -> Json:
    answer = _describe(loaded)
    if loaded.reader is None:
        return answer
    try:
        applicability = loaded.reader.applies(series)
    except Exception as error:
        # Only the kind: the text of a foreign error may hold anything.
        return answer | {"error": f"Asked whether it applies, it stopped with {type(error).__name__}."}
    chosen = applicability.series_instance_uids or tuple(s.series_instance_uid for s in series)
    return answer | {"applies": applicability.applies, "reason": applicability.reason, "series": list(chosen)}


def _series(series: TypedSeries) -> Json:
    volume = series.volume
    return {
        "series_instance_uid": series.series_instance_uid,
        "type": series.type.model_dump(mode="json"),
        "measures": _plain(series.quality),
        "problems": [asdict(problem) for problem in series.problems],
        "order": list(dict.fromkeys(volume.sop_instance_uids)) if volume is not None else [],
        "affine": volume.affine.tolist() if volume is not None else None,
        "slice_positions_mm": list(volume.slice_positions_mm) if volume is not None else [],
    }


def _plain(values: Mapping[str, float | str]) -> dict[str, float | str]:
    """Return the values as JSON knows them: NumPy's numbers become Python's, what is not finite becomes text."""
    return {
        key: value if isinstance(value, str) else (float(value) if np.isfinite(value) else str(value))
        for key, value in values.items()
    }


def _write_arrays(output: ReadingOutput) -> dict[str, str]:
    """Write segments (``.npz``) and heat maps (``.npy``, no pickle) as files; return name -> file name."""
    names: dict[str, str] = {}
    for name, segment in output.segments.items():
        names[name] = f"array-{len(names)}.npz"
        Path(names[name]).write_bytes(segment.to_bytes())
    for name, heat_map in output.heat_maps.items():
        if name in names:
            raise ReadingRoomError("A heat map has the name of a segment.")
        names[name] = f"array-{len(names)}.npy"
        Path(names[name]).write_bytes(heat_map_to_bytes(heat_map))
    return names
