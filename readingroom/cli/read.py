"""``readingroom read PATH``: read a folder of DICOM without a server; a line of JSON a reading, objects into a folder.

Files are grouped by their UIDs, never by name or folder, so several studies may lie mixed in one folder.
"""

import argparse
import hashlib
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom import dcmread

from readingroom.cli.progress import ProgressLine
from readingroom.core.errors import BadInput, NotFound, ReadingRoomError
from readingroom.core.ids import is_uid
from readingroom.findings.model import Finding, PatientPlace, ReaderState, Reading
from readingroom.imaging.header import read_header, text_of
from readingroom.intake.study import IntakeResult, load_study
from readingroom.objects.reading_objects import encode_reading
from readingroom.readers.contract import ReadingOutput, ReadingRequest
from readingroom.readers.registry import LoadedReader, load_readers
from readingroom.readers.runner import run_reader


@dataclass
class Study:
    """Files of one study by series; ``identities``: how many patients the headers name."""

    uid: str
    series: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    identities: set[tuple[str, str]] = field(default_factory=set)
    simulated: bool = False


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("read", help="read a folder of DICOM with every reader that applies (no server)")
    parser.add_argument("path", type=Path, help="a folder of DICOM files, or one file")
    parser.add_argument("--reader", help="only this reader")
    parser.add_argument("--out", type=Path, help="folder for SEG and SR objects, made if missing")
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a line for each reading, on standard output"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Return 0 (also where a reader abstains), 1 where a reading failed, 2 where the input can't be used."""
    try:
        readers = _readers(args.reader)
        studies, unreadable = find_studies(args.path)
        if args.out:
            args.out.mkdir(parents=True, exist_ok=True)
    except ReadingRoomError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {args.out}: {error.strerror}.", file=sys.stderr)
        return 2
    for reason, count in sorted(unreadable.items()):
        print(f"left out: {count} file{'s' if count > 1 else ''}: {reason}", file=sys.stderr)
    if not studies:
        print(f"error: There is no DICOM image in {args.path}.", file=sys.stderr)
        return 2
    worst = 0
    for number, study in enumerate(studies, 1):
        if len(study.identities) > 1:
            print(f"error: Study {number} holds images of {len(study.identities)} patients; not read.", file=sys.stderr)
            worst = 2
            continue
        for reading in _read_study(study, number, readers, args.out):
            print(json.dumps(as_data(reading), ensure_ascii=False) if args.json else as_text(reading), flush=True)
            if reading.state is ReaderState.FAILED:
                worst = max(worst, 1)
    return worst


def _readers(name: str | None) -> list[LoadedReader]:
    loaded = load_readers()
    if name is None:
        return loaded
    chosen = [one for one in loaded if one.name == name]
    if not chosen:
        known = ", ".join(one.name for one in loaded) or "none"
        raise NotFound(f"There is no reader {name!r}.", f"Installed: {known}.")
    return chosen


def find_studies(path: Path) -> tuple[list[Study], Counter[str]]:
    """Group all files under ``path`` by study and series. Returns studies by UID and how many files were left out, why.

    Raises BadInput where ``path`` isn't there.
    """
    if not path.exists():
        raise BadInput(f"{path} does not exist.")
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    studies: dict[str, Study] = {}
    left_out: Counter[str] = Counter()
    for file in files:
        if file.name.upper() == "DICOMDIR":
            continue
        try:
            ds = read_header(file)
        except (ReadingRoomError, OSError) as error:
            left_out["not DICOM or cut short" if isinstance(error, BadInput) else type(error).__name__] += 1
            continue
        study_uid, series_uid = text_of(ds, "StudyInstanceUID"), text_of(ds, "SeriesInstanceUID")
        if not is_uid(study_uid) or not is_uid(series_uid) or not is_uid(text_of(ds, "SOPInstanceUID")):
            left_out["study, series or instance UID missing or not valid"] += 1
            continue
        study = studies.setdefault(study_uid, Study(study_uid))
        study.series[series_uid].append(file)
        study.identities.add((text_of(ds, "PatientID"), text_of(ds, "IssuerOfPatientID")))
        study.simulated |= text_of(ds, "QualityControlImage") == "YES"
    return [studies[uid] for uid in sorted(studies)], left_out


def _read_study(study: Study, number: int, readers: list[LoadedReader], out: Path | None) -> Iterator[Reading]:
    intake = load_study(study.series)
    request = ReadingRequest(study.uid, intake.series, intake.context, partial=bool(intake.partial))
    for loaded in readers:
        if loaded.reader is None:
            yield Reading(
                reader=loaded.name, version=loaded.version, state=ReaderState.FAILED, reason=loaded.error,
                study_instance_uid=study.uid,
            )  # fmt: skip
            continue
        line = ProgressLine(loaded.name)
        reading, output = run_reader(loaded.reader, request, line)
        line.end()
        if out is not None and reading.state is not ReaderState.NOT_APPLICABLE:
            try:
                _write_objects(study, number, reading, output, loaded.reader.card.title, intake, out)
            except Exception as error:  # the encoders' libraries raise many kinds; their texts may quote headers
                known = isinstance(error, (ReadingRoomError, OSError))
                reason = f"Its objects cannot be written: {error if known else type(error).__name__}"
                reading = reading.model_copy(update={"state": ReaderState.FAILED, "reason": reason})
        yield reading


def _write_objects(
    study: Study, number: int, reading: Reading, output: ReadingOutput, title: str, intake: IntakeResult, out: Path
) -> None:
    wanted = set(reading.series_instance_uids)
    paths = [p for uid, files in study.series.items() if uid in wanted or not wanted for p in files]
    digests = {}
    for path in paths:
        ds = dcmread(path, specific_tags=["SOPInstanceUID", "PixelData"])
        digests[str(ds.SOPInstanceUID)] = hashlib.sha256(ds.get("PixelData") or b"").hexdigest()
    objects = encode_reading(
        reading,
        output.segments,
        paths,
        digests,
        # Nothing is kept between runs: dated as the study is, the same run gives the same UIDs and bytes.
        None,
        title=title,
        partial=intake.partial,
        simulated=study.simulated,
    )
    for role, data in objects:
        (out / f"study-{number}-{reading.reader}-{role}.dcm").write_bytes(data)


def as_data(reading: Reading) -> dict[str, Any]:
    """The reading as JSON data; each finding with ``position_lps_mm`` beside its place."""
    data = reading.model_dump(mode="json")
    for finding, shown in zip(reading.findings, data["findings"], strict=True):
        shown["position_lps_mm"] = _position(finding)
    return data


def _position(finding: Finding) -> list[float] | None:
    return list(finding.place.position_lps_mm) if isinstance(finding.place, PatientPlace) else None


def as_text(reading: Reading) -> str:
    """The reading for people, several lines."""
    lines = [f"{reading.reader} {reading.version}: {reading.state.value}. {reading.reason}".rstrip()]
    for finding in reading.findings:
        position = _position(finding)
        place = "at " + ", ".join(f"{c:.1f}" for c in position) + " mm LPS" if position else finding.place.type
        side = f"{finding.side.value} " if finding.side and finding.side.value else ""
        doubt = " (witnesses of side disagree)" if finding.side and not finding.side.agree else ""
        measures = ", ".join(f"{m.code.meaning.lower()} {m.value:g} {m.unit.value}" for m in finding.measurements)
        chance = f"{finding.probability:.0%} " if finding.probability is not None else ""
        lines.append(f"  {chance}{side}{finding.code.meaning.lower()}{doubt} {place}; {measures}")
    if reading.state in (ReaderState.FOUND, ReaderState.NOTHING_FOUND, ReaderState.PARTIAL):
        lines.append("  For research use only. Not for diagnosis or treatment decisions.")
    return "\n".join(lines)
