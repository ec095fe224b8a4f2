"""Run one reader on one study and turn whatever happens into a reading with a state and a reason.

The runner is where the rules that hold for every reader live: an exception becomes ``failed``, a partial study
``partial``, findings are sorted and checked against what was read, ids and tracking UIDs are the same on every run.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from readingroom.core.clock import monotonic
from readingroom.core.errors import BadInput, ReadingRoomError
from readingroom.core.ids import derived_uid, sha256_hex
from readingroom.findings.heat_map import check_heat_map
from readingroom.findings.model import Finding, ImagePlace, PatientPlace, ReaderState, Reading
from readingroom.imaging.tilt import on_images
from readingroom.readers.contract import (
    Applicability,
    ClinicalContext,
    Progress,
    Reader,
    ReadingOutput,
    ReadingRequest,
    TypedSeries,
)

SCANNER_KEYWORDS = ("Manufacturer", "ManufacturerModelName", "ConvolutionKernel", "KVP", "SliceThickness")
PRIORS = "priors"
"""What a card names among its context to be given earlier readings."""
PARTIAL_REASON = "The study is incomplete: what was found counts, what was not found says nothing."

_log = logging.getLogger(__name__)


def run_reader(reader: Reader, request: ReadingRequest, progress: Progress) -> tuple[Reading, ReadingOutput]:
    """Run ``reader`` on ``request``. Never raises for what a reader does; memory and time limits are the caller's.

    Returns the reading and the output with its arrays (empty where nothing was read). ``progress(step, fraction)``.
    """
    started = monotonic()
    base = _empty(reader, request)
    nothing = ReadingOutput()
    try:
        applicability = reader.applies(request.series)
    except Exception as error:
        return _failed(base, error, started), nothing
    if not applicability.applies:
        return base.model_copy(update={"state": ReaderState.NOT_APPLICABLE, "reason": applicability.reason}), nothing
    chosen = _choose(request, applicability)
    base = base.model_copy(
        update={
            "series_instance_uids": tuple(s.series_instance_uid for s in chosen),
            "input_statistics": _input_statistics(chosen),
        }
    )
    try:
        output = reader.read(_narrow(reader, request, chosen), progress)
        findings = _finish(reader, request, output, chosen)
        output = _on_images(replace(output, findings=findings), chosen)
    except Exception as error:
        return _failed(base, error, started), nothing
    state, reason = _state(request, output, findings, applicability)
    reading = base.model_copy(
        update={
            "state": state,
            "reason": reason,
            "findings": findings,
            "study_measurements": output.study_measurements,
            "assessments": output.assessments,
            "out_of_domain_score": output.out_of_domain_score,
            "input_statistics": {**base.input_statistics, **output.input_statistics},
            "seconds": {**output.seconds, "total": round(monotonic() - started, 3)},
        }
    )
    try:
        json.dumps(reading.model_dump(mode="json"), allow_nan=False)
    except (TypeError, ValueError):
        return _failed(base, BadInput("It gave a number that cannot be written."), started), nothing
    return reading, output


def _empty(reader: Reader, request: ReadingRequest) -> Reading:
    return Reading(
        reader=reader.card.name,
        version=reader.card.version,
        state=ReaderState.READING,
        weights_sha256=reader.weights_sha256,
        configuration_sha256=reader.configuration_sha256,
        evidence_level=reader.card.evidence_level,
        operating_point=reader.card.operating_point,
        study_instance_uid=request.study_instance_uid,
    )


def _failed(base: Reading, error: Exception, started: float) -> Reading:
    # The text of a foreign exception may hold anything, a patient's name too: only its type is kept.
    reason = str(error) if isinstance(error, ReadingRoomError) else f"The reader stopped with {type(error).__name__}."
    _log.warning("reader %s failed: %s", base.reader, type(error).__name__)
    seconds = {"total": round(monotonic() - started, 3)}
    return base.model_copy(update={"state": ReaderState.FAILED, "reason": reason, "seconds": seconds})


def _choose(request: ReadingRequest, applicability: Applicability) -> tuple[TypedSeries, ...]:
    wanted = set(applicability.series_instance_uids)
    return tuple(s for s in request.series if not wanted or s.series_instance_uid in wanted)


def _narrow(reader: Reader, request: ReadingRequest, chosen: tuple[TypedSeries, ...]) -> ReadingRequest:
    """Only the context and products the card declares reach the reader."""
    declared = {n: getattr(request.context, n) for n in ClinicalContext.model_fields if n in reader.card.context}
    priors = request.priors if PRIORS in reader.card.context else ()
    products: Mapping[str, np.ndarray] = {
        name: request.products[name] for name in reader.card.requires if name in request.products
    }
    missing = [name for name in reader.card.requires if name not in products]
    if missing:
        raise BadInput(f"It needs products no reader made here: {', '.join(missing)}.")
    return replace(request, series=chosen, context=ClinicalContext(**declared), products=products, priors=priors)


def _input_statistics(chosen: tuple[TypedSeries, ...]) -> dict[str, float | str]:
    """Scanner, protocol and grid of the first series read (drift needs them)."""
    statistics: dict[str, float | str] = {}
    for series in chosen[:1]:
        statistics.update({k: series.headers[k] for k in SCANNER_KEYWORDS if series.headers.get(k)})
        statistics["Modality"] = series.type.modality
        if series.volume is not None:
            dz, dy, dx = series.volume.spacing_mm
            statistics.update({"slices": float(series.volume.array.shape[0]), "slice_spacing_mm": round(dz, 4)})
            statistics.update({"row_spacing_mm": round(dy, 4), "column_spacing_mm": round(dx, 4)})
    return statistics


def _finish(
    reader: Reader, request: ReadingRequest, output: ReadingOutput, chosen: tuple[TypedSeries, ...]
) -> tuple[Finding, ...]:
    """Check findings, give them their ids, sort them. Raises BadInput where the output contradicts itself."""
    if output.abstained and output.findings:
        raise BadInput("It abstained and reported findings.")
    frames = {s.volume.frame_of_reference_uid for s in chosen if s.volume is not None}
    images = {uid for s in chosen if s.volume is not None for uid in s.volume.sop_instance_uids}
    findings, seen = [], set()
    for finding in output.findings:
        place = finding.place
        if isinstance(place, PatientPlace) and frames and place.frame_of_reference_uid not in frames:
            raise BadInput("It placed a finding in a frame of reference it was not given.")
        if isinstance(place, ImagePlace) and images and place.sop_instance_uid not in images:
            raise BadInput("It placed a finding on an image it was not given.")
        if finding.segment and finding.segment not in output.segments:
            raise BadInput(f"A finding names the segment {finding.segment!r}, which it did not make.")
        if finding.evidence.heat_map:
            _check_heat_map(finding, output)
        key = (
            reader.card.name, reader.card.version, request.study_instance_uid, finding.code.value,
            place.model_dump_json(), finding.series_instance_uid,
        )  # fmt: skip
        identity = sha256_hex(*key)[:32]
        if identity in seen:
            raise BadInput("It reported one finding twice.")
        seen.add(identity)
        findings.append(
            finding.model_copy(
                update={
                    "id": identity,
                    "tracking_uid": finding.tracking_uid or derived_uid(*key),
                    "tracking_id": finding.tracking_id or f"{reader.card.name}-{identity[:8]}",
                }
            )
        )
    return tuple(sorted(findings, key=lambda f: (-(f.probability or 0.0), f.id)))


def _on_images(output: ReadingOutput, chosen: tuple[TypedSeries, ...]) -> ReadingOutput:
    """Move segments, and the heat maps on their boxes, from voxels to pixels of the images (tilted gantry).

    Everything past the runner refers to images: objects, the viewer, people's edits. Raises BadInput where a segment
    lies where no image has a pixel.
    """
    grids = {s.series_instance_uid: s.volume.source for s in chosen if s.volume is not None and s.volume.source}
    segments, heat_maps = dict(output.segments), dict(output.heat_maps)
    for name, segment in output.segments.items():
        grid = grids.get(segment.series_instance_uid)
        if grid is None:
            continue
        offset, mask = on_images(grid, segment.offset, segment.mask)
        if segment.mask.any() and not mask.any():
            raise BadInput("It marked a place that none of the images shows.")
        segments[name] = replace(segment, offset=offset, mask=mask)
        # A set: two findings may share both.
        for heat_map in {f.evidence.heat_map for f in output.findings if f.segment == name and f.evidence.heat_map}:
            heat_maps[heat_map] = on_images(grid, segment.offset, output.heat_maps[heat_map])[1]
    return replace(output, segments=segments, heat_maps=heat_maps)


def _check_heat_map(finding: Finding, output: ReadingOutput) -> None:
    name = finding.evidence.heat_map
    if name not in output.heat_maps:
        raise BadInput(f"A finding names the heat map {name!r}, which it did not make.")
    if not finding.segment:
        raise BadInput(f"A finding has the heat map {name!r} and no segment: a heat map lies on a segment's box.")
    check_heat_map(output.heat_maps[name], output.segments[finding.segment].mask.shape)


def _state(
    request: ReadingRequest, output: ReadingOutput, findings: tuple[Finding, ...], applicability: Applicability
) -> tuple[ReaderState, str]:
    if output.abstained:
        return ReaderState.ABSTAINED, output.abstained
    if request.partial:
        return ReaderState.PARTIAL, PARTIAL_REASON
    return (ReaderState.FOUND if findings else ReaderState.NOTHING_FOUND), applicability.reason
