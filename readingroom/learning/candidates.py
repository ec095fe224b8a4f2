"""What may become a member of a cohort: studies that fit its question, or the files of a folder; and why others not.

Only studies that whoever freezes the cohort sees are looked at, and only in the cohort's own project. Consent is asked
here, at the one port, in the transaction that writes the members.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import ColumnElement, and_, exists, select
from sqlalchemy.orm import Session

from readingroom.access.actor import Actor
from readingroom.access.consent import Decision, for_purpose, permitted_among
from readingroom.archive.tables import Instance, Patient, Series, Study, StudyRevision
from readingroom.archive.visibility import visible
from readingroom.core.errors import ReadingRoomError
from readingroom.core.permissions import Permission
from readingroom.core.purposes import Purpose
from readingroom.core.sealed import Source
from readingroom.findings.model import ReaderState
from readingroom.learning.folder import FileFound
from readingroom.learning.model import Candidate, LeftOut, Query, Workshop
from readingroom.readers.tables import ReadingRow

_BATCH = 500


@dataclass(frozen=True)
class Found:
    """What may become a member, in an order that stays; why others can't; and the patients who permit it.

    ``refused``: digests of the pictures of patients who said no. Who else has one is the same person.
    """

    candidates: list[Candidate]
    left_out: list[LeftOut]
    permitting: frozenset[int]
    refused: frozenset[str]


def from_archive(
    session: Session, project_id: int, query: Query, purpose: Purpose, workshop: Workshop, actor: Actor
) -> Found:
    """Return the project's studies that fit ``query``, at their newest revision, of patients who permit ``purpose``."""
    return for_purpose(purpose)(_from_archive)(session, project_id, query, purpose, workshop, actor)


def from_folder(
    session: Session, files: Sequence[FileFound], purpose: Purpose, workshop: Workshop, actor: Actor
) -> Found:
    """Return the files that have a group. Of a patient who is known here a no goes before the folder's legal basis."""
    return for_purpose(purpose)(_from_folder)(session, files, purpose, workshop, actor)


def _from_archive(
    session: Session, project_id: int, query: Query, purpose: Purpose, workshop: Workshop, actor: Actor
) -> Found:
    revised = and_(StudyRevision.study_id == Study.id, StudyRevision.number == Study.revision)
    rows = session.execute(
        select(
            Study.id, Study.patient_pk, Study.held, Study.restricted, Study.revision,
            StudyRevision.digest, StudyRevision.instances,
        )
        .outerjoin(StudyRevision, revised)
        .where(
            Study.project_id == project_id, visible(actor, Permission.COHORT_WRITE),
            *_conditions(query, workshop.decided.signed),
        )
        .order_by(Study.created_at, Study.id)
    ).all()  # fmt: skip
    answers = _ask(session, {row.patient_pk for row in rows}, purpose, workshop, actor)
    pictures = _pictures(session, [row.id for row in rows])
    candidates, left, refused = [], [], set[str]()
    for row in rows:
        if said_no(answers[row.patient_pk]):
            refused |= {digest for _pk, digest in pictures[row.id]}
        held = {int(pk) for pk, _version in row.instances or ()}
        pixels = frozenset(digest for pk, digest in pictures[row.id] if pk in held)
        if row.held:
            left.append(LeftOut.HELD)
        elif row.restricted:
            left.append(LeftOut.RESTRICTED)
        elif not pixels:
            left.append(LeftOut.NO_IMAGES)
        elif not answers[row.patient_pk].allowed:
            left.append(LeftOut.NO_CONSENT)
        else:
            one = Candidate(row.digest, f"patient:{row.patient_pk}", pixels, row.patient_pk, row.id, row.revision)
            candidates.append(one)
    return Found(candidates, left, _permitting(answers), frozenset(refused))


def said_no(answer: Decision | None) -> bool:
    """Whether the patient has decided, and does not permit it now; not where nothing was decided."""
    return answer is not None and not answer.allowed and answer.kind is not None


def _permitting(answers: Mapping[int, Decision]) -> frozenset[int]:
    return frozenset(patient for patient, answer in answers.items() if answer.allowed)


def _conditions(query: Query, signed: Callable[[], ColumnElement[bool]]) -> Iterator[ColumnElement[bool]]:
    series = [
        condition
        for wanted, condition in (
            (query.modality, Series.Modality == query.modality),
            (query.body_part, Series.BodyPartExamined == query.body_part),
            (query.kind, Series.type["kind"].as_string() == query.kind),
            (query.region, Series.type["region"].as_string() == query.region),
        )
        if wanted
    ]
    if series:
        yield exists().where(Series.study_id == Study.id, *series)
    if query.from_day:
        yield Study.StudyDate >= query.from_day
    if query.to_day:
        # A study without a date is of no day.
        yield and_(Study.StudyDate != "", Study.StudyDate <= query.to_day)
    if query.found_by:
        found = (ReadingRow.reader == query.found_by, ReadingRow.state == ReaderState.FOUND)
        yield exists().where(ReadingRow.study_id == Study.id, ReadingRow.revision == Study.revision, *found)
    if query.signed is not None:
        yield signed() if query.signed else ~signed()
    if query.simulated is not None:
        yield Study.simulated.is_(query.simulated)


def _pictures(session: Session, study_ids: Sequence[str]) -> dict[str, list[tuple[int, str]]]:
    """Return (key, digest of the pixels) of each received instance with pixels, by study."""
    found: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for start in range(0, len(study_ids), _BATCH):
        part = study_ids[start : start + _BATCH]
        rows = session.execute(
            select(Series.study_id, Instance.id, Instance.pixel_sha256)
            .join(Instance, Instance.series_pk == Series.id)
            .where(Series.study_id.in_(part), Instance.origin == "received", Instance.pixel_sha256 != "")
        )
        for study_id, key, digest in rows:
            found[study_id].append((key, digest))
    return found


def _from_folder(
    session: Session, files: Sequence[FileFound], purpose: Purpose, workshop: Workshop, actor: Actor
) -> Found:
    known = _known(session, files)
    answers = _ask(session, set(known.values()), purpose, workshop, actor)
    candidates, left, refused = [], [], set[str]()
    for one in files:
        patient = known.get((one.PatientID, one.IssuerOfPatientID))
        if patient is not None and said_no(answers[patient]):
            refused.add(one.pixel_sha256)
            left.append(LeftOut.NO_CONSENT)
        elif not one.group:
            left.append(LeftOut.NO_GROUP)
        else:
            candidate = Candidate(one.sha256, one.group, frozenset({one.pixel_sha256}), patient)
            candidates.append(replace(candidate, file=one.name))
    return Found(candidates, left, _permitting(answers), frozenset(refused))


def _known(session: Session, files: Sequence[FileFound]) -> dict[tuple[str, str], int]:
    """Return the archive's key of each patient that a file names and that is known here."""
    named = sorted({one.PatientID for one in files if one.PatientID})
    found = {}
    for start in range(0, len(named), _BATCH):
        condition = (Patient.PatientID.in_(named[start : start + _BATCH]), Patient.own_study == "")
        for row in session.execute(select(Patient.id, Patient.PatientID, Patient.IssuerOfPatientID).where(*condition)):
            found[row.PatientID, row.IssuerOfPatientID] = row.id
    return found


def _ask(
    session: Session, patients: Collection[int], purpose: Purpose, workshop: Workshop, actor: Actor
) -> dict[int, Decision]:
    return permitted_among(session, patients, purpose, defaults=workshop.purposes, actor=actor.name)


def sources_of(session: Session, digests: Collection[str], workshop: Workshop) -> dict[str, Source]:
    """Return a stored picture with each of these digests, single frames only. For a caller that has asked already."""
    wanted, found = sorted(digests), dict[str, Source]()
    for start in range(0, len(wanted), _BATCH):
        rows = session.execute(
            select(Instance.pixel_sha256, Instance.store_key).where(
                Instance.pixel_sha256.in_(wanted[start : start + _BATCH]),
                Instance.origin == "received",
                Instance.NumberOfFrames == 1,
            )
        )
        found |= {row.pixel_sha256: workshop.source(row.store_key) for row in rows}
    return found


def blank_among(sources: Mapping[str, Source]) -> set[str]:
    """Return which pictures have one and the same value everywhere: they show nobody, whoever has one too.

    One that can't be decoded counts as showing somebody.
    """
    return {digest for digest, source in sources.items() if _is_blank(source)}


def _is_blank(source: Source) -> bool:
    try:
        # The worker, which takes patients out again, does without codecs: only freezing looks at pixels.
        from readingroom.imaging.decode import decode_frame

        pixels = decode_frame(source)
    except ReadingRoomError:
        return False
    return bool((pixels == pixels.flat[0]).all())
