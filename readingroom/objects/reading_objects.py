"""A reading to the objects kept inside until somebody signs: SEG and SR, marked unverified.

A reading without findings, and one that abstained or failed, gets its SR too: every state is written.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from readingroom.core.sealed import Source
from readingroom.findings.model import Assessment, Reading, SegmentMask
from readingroom.findings.rules import concept_of, dominant
from readingroom.objects.content import ContentFinding, ReaderRun, ReportContent, StudyAssessment, seed_of
from readingroom.objects.seg import encode_segs
from readingroom.objects.source import read_sources, study_moment
from readingroom.objects.sr import encode_sr


def encode_reading(
    reading: Reading,
    segments: Mapping[str, SegmentMask],
    source_paths: Sequence[Source],
    pixel_digests: Mapping[str, str],
    read_at: datetime | None,
    *,
    title: str = "",
    revision: int = 0,
    partial: str = "",
    zone: str = "UTC",
    simulated: bool = False,
) -> list[tuple[str, bytes]]:
    """Return ``(role, Part 10 bytes)``: any ``seg``, ``seg-2`` ..., then ``sr``.

    ``source_paths``: all images of the series read (of the study, where no series was); ``pixel_digests``: SOP
    Instance UID -> SHA-256 of Pixel Data; ``read_at``: the stored time of the reading, not the time of this call (None
    where nobody keeps it: the study's own time stands in); ``title``: the card's. The same arguments always give the
    same bytes. Raises BadInput on images or segments that do not fit together.
    """
    sources, header = read_sources(source_paths)
    run = reader_run(reading, title)
    at = read_at or study_moment(header)
    content = ReportContent(
        header=header,
        revision=revision,
        at=at,
        zone=zone,
        seed=seed_of(
            dict(pixel_digests),
            reading.reader,
            reading.version,
            reading.weights_sha256,
            reading.configuration_sha256,
            # A reading made again after a failure is another reading of the same images.
            reading.model_dump_json(include={"state", "reason", "findings", "assessments"}),
            at.isoformat(),
        ),
        findings=tuple(
            ContentFinding(finding, "unread", run, mask=segments.get(finding.segment)) for finding in reading.findings
        ),
        assessments=tuple(_assessment(one, reading) for one in reading.assessments),
        readers=(run,),
        partial=partial,
        simulated=simulated,
        sources=sources,
    )
    segs = encode_segs(content)
    return [*((seg.role, seg.data) for seg in segs), ("sr", encode_sr(content, segs))]


def _assessment(one: Assessment, reading: Reading) -> StudyAssessment:
    leading = dominant(reading.findings, one) if concept_of(one) is not None else None
    return StudyAssessment(table=one.table, edition=one.edition, stated=one, dominant=leading.id if leading else "")


def reader_run(reading: Reading, title: str = "") -> ReaderRun:
    """Return what objects and reports say of the reader behind a reading."""
    return ReaderRun(
        title=title,
        **reading.model_dump(
            include={
                "reader", "version", "state", "reason", "evidence_level", "weights_sha256", "configuration_sha256",
                "operating_point",
            }
        ),
    )  # fmt: skip
