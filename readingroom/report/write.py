"""A signed report to its objects: SEG, SR, PDF and FHIR, from the frozen body and its addenda alone. Pure.

The workflow runs this as a step that may run twice: the same body and images give the same bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from readingroom.core.errors import Conflict
from readingroom.core.ids import sha256_hex
from readingroom.core.sealed import Source
from readingroom.findings.model import SegmentMask
from readingroom.objects.content import AddendumText, ContentFinding, Person, ReportContent, seed_of
from readingroom.objects.fhir import encode_fhir
from readingroom.objects.pdf import encode_pdf, render_pdf
from readingroom.objects.seg import encode_segs
from readingroom.objects.source import read_sources
from readingroom.objects.sr import encode_sr
from readingroom.report.model import ReportBody, SegmentKey


def write_objects(
    body: ReportBody,
    segments: Mapping[SegmentKey, SegmentMask],
    source_paths: Sequence[Source],
    pixel_digests: Mapping[str, str],
    addenda: Sequence[AddendumText] = (),
) -> list[tuple[str, bytes]]:
    """Return ``(role, bytes)``: any ``seg``, ``seg-2`` ..., then ``sr``, ``pdf`` (DICOM) and ``fhir`` (JSON).

    With ``addenda``: the set that stands beside the first one. Segments do not change by an addendum, so this set has
    none and refers to those of the first.
    ``source_paths``: the images of the revision signed; ``pixel_digests``: SOP Instance UID -> SHA-256 of its pixels.
    Raises Conflict where the body is not signed, BadInput where images and segments do not fit together.
    """
    if body.signature is None:
        raise Conflict("Objects are written from a signed report.")
    content = replace(content_of(body, segments, source_paths, pixel_digests), addenda=tuple(addenda))
    segs = encode_segs(content.first)
    page = render_pdf(content)
    return [
        *((seg.role, seg.data) for seg in segs if not addenda),
        ("sr", encode_sr(content, segs)),
        ("pdf", encode_pdf(content, page)),
        ("fhir", encode_fhir(content, page)),
    ]


def preview_pdf(body: ReportBody, at: datetime, addenda: Sequence[AddendumText] = ()) -> bytes:
    """Return the page as it would be now: marked DRAFT unless signed (then with its signature and time)."""
    return render_pdf(replace(content_of(body, {}, (), {}, at), addenda=tuple(addenda)))


def content_of(
    body: ReportBody,
    segments: Mapping[SegmentKey, SegmentMask],
    source_paths: Sequence[Source],
    pixel_digests: Mapping[str, str],
    at: datetime | None = None,
) -> ReportContent:
    """Return the content the encoders write. ``at`` stands in for the time of signing in a preview."""
    signature = body.signature
    moment = signature.at if signature else at
    if moment is None:
        raise Conflict("An unsigned report has no time of its own.")
    text_of = {item.finding_id: item.text for item in body.items}
    hashes = [text for run in body.readers for text in (run.weights_sha256, run.configuration_sha256)]
    return ReportContent(
        header=body.header,
        revision=body.revision,
        at=moment,
        zone=signature.zone if signature else "UTC",
        seed=seed_of(dict(pixel_digests), *hashes, sha256_hex(body.model_dump_json())),
        findings=tuple(
            ContentFinding(
                finding=item.finding,
                decision=item.decision,
                reader=item.run,
                by=item.by,
                at=item.at,
                mask=segments.get((item.reading_id, item.finding.segment)),
                text=text_of.get(item.finding.id, ""),
            )
            for item in body.findings
        ),
        assessments=body.assessments,
        readers=body.readers,
        sections=body.sections,
        verifier=_verifier(body),
        no_further_findings=body.no_further_findings,
        partial=body.partial,
        flags=tuple(flag.text for flag in signature.acknowledged) if signature else (),
        simulated=body.simulated,
        sources=read_sources(source_paths)[0] if source_paths else (),
        verdicts=body.verdicts,
        judged=body.judged,
    )


def _verifier(body: ReportBody) -> Person | None:
    signed = body.signature
    return Person(name=signed.name, role=signed.role, organization=signed.organization) if signed else None
