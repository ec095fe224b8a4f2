"""A report's life: drafted, saved, signed once, then only added to. Every check is made here, on the server.

All functions work in the caller's transaction. Nothing they raise repeats a patient's name or identifier.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from readingroom.archive.tables import Instance, Series, Study
from readingroom.core.audit import AuditCode, record
from readingroom.core.clock import utc_now
from readingroom.core.errors import BadInput, Conflict, NotFound
from readingroom.core.outbox import emit
from readingroom.objects.content import AddendumText, ObjectRef, Person, Sections
from readingroom.objects.source import plain_text
from readingroom.readers.tables import ReadingRow
from readingroom.report.draft import draft
from readingroom.report.model import Flag, Report, ReportBody, ReportInputs, Signature
from readingroom.report.tables import Addendum, ReportRow

MAX_SECTION_CHARACTERS = 100_000
_INPUT_WORDS = {
    "revision": "the images",
    "header": "the patient or study header",
    "findings": "the accepted findings",
    "verdicts": "a verdict",
    "assessments": "an assessment",
    "readers": "the state of a reader",
    "series": "the series",
    "indication": "the indication",
    "comparison": "the comparison",
    "partial": "whether the study is partial",
    "no_further_findings": "the statement of no further findings",
    "simulated": "whether the study is simulated",
}


def find(session: Session, study_id: str) -> ReportRow | None:
    """Return the study's report, or None where none has been drafted."""
    return session.scalar(select(ReportRow).where(ReportRow.study_id == study_id))


def body_of(row: ReportRow) -> ReportBody:
    """Return what is kept of the report."""
    return ReportBody.model_validate(row.body)


def get_or_draft(session: Session, study_id: str, inputs: ReportInputs) -> ReportRow:
    """Return the study's report; a draft follows ``inputs`` (a new etag where they changed), a signed one stays."""
    row = _locked(session, study_id)
    if row is None:
        return _create(session, study_id, inputs)
    if row.state == "draft" and body_of(row).inputs() != inputs:
        _store(row, draft(inputs, body_of(row)))
    return row


def redraft(session: Session, study_id: str, inputs: ReportInputs, actor: str) -> ReportRow:
    """Draft anew from ``inputs``, keeping edited text. Raises Conflict once signed."""
    row = _locked(session, study_id)
    if row is None:
        return _create(session, study_id, inputs)
    _require_draft(row)
    _store(row, draft(inputs, body_of(row)))
    record(session, AuditCode.PATIENT_RECORD, "report.redraft", actor, study_id=study_id)
    return row


def save(session: Session, study_id: str, *, etag: int, sections: Mapping[str, str], actor: str) -> ReportRow:
    """Replace the text of the sections named. Raises Conflict on an older etag or once signed, BadInput on others."""
    row = _locked(session, study_id)
    if row is None:
        raise NotFound("This study has no report yet.")
    _require_draft(row)
    _require_etag(row, etag)
    unknown = set(sections) - set(Sections.model_fields)
    if unknown:
        raise BadInput("There is no such section.", f"Sections are {', '.join(Sections.model_fields)}.")
    if any(len(text) > MAX_SECTION_CHARACTERS for text in sections.values()):
        raise BadInput(f"A section may hold {MAX_SECTION_CHARACTERS} characters.")
    body = body_of(row)
    texts = {name: plain_text(text) for name, text in sections.items()}
    # Whoever saves a section has it before their eyes: it is no longer outdated.
    outdated = tuple(name for name in body.outdated if name not in sections)
    saved = body.model_copy(update={"sections": body.sections.model_copy(update=texts), "outdated": outdated})
    _store(row, saved)
    record(session, AuditCode.PATIENT_RECORD, "report.save", actor, study_id=study_id)
    return row


def sign(
    session: Session,
    *,
    study_id: str,
    etag: int,
    revision: int,
    patient_id: str,
    accession_number: str,
    acknowledged: Iterable[str],
    actor: str,
    signer: Person,
    inputs: ReportInputs,
    flags: Iterable[Flag],
    zone: str = "UTC",
    at: datetime | None = None,
) -> ReportRow:
    """Sign the draft: state ``final``, body frozen, outbox ``report.signed``, audit event.

    ``inputs`` and ``flags`` are the study's as they stand in this very transaction. ``revision``, ``patient_id`` and
    ``accession_number`` are what the signer saw. Raises Conflict naming everything that differs, without its values.
    """
    # The study row first: no new revision can slip in between the checks and the commit.
    study = session.scalar(
        select(Study).where(Study.id == study_id).with_for_update(of=Study).execution_options(populate_existing=True)
    )
    row = _locked(session, study_id)
    if study is None or row is None:
        raise NotFound("This study has no report yet.")
    _require_draft(row)
    _require_etag(row, etag)
    body = body_of(row)
    present = [*flags, *body.own_flags()]
    accepted = set(acknowledged)
    differing = _identity_differences(study, row, revision, patient_id, accession_number)
    differing += [f"{words} changed since the draft" for words in changed_inputs(body, inputs)]
    if study.held:
        differing.append("the study is held")
    differing += [f"flag {flag.code} blocks signing" for flag in present if flag.blocks_signing]
    differing += [
        f"flag {flag.code} is not acknowledged"
        for flag in present
        if flag.needs_acknowledgement and not flag.blocks_signing and flag.code not in accepted
    ]
    if differing:
        raise Conflict(
            f"The report cannot be signed: {'; '.join(differing)}.", "Load the study again, check it, and sign then."
        )
    moment = at or utc_now()
    signature = Signature(
        account=actor,
        name=signer.name or actor,
        role=signer.role,
        organization=signer.organization,
        at=moment,
        zone=zone,
        acknowledged=tuple(flag for flag in present if flag.code in accepted),
    )
    judged = _written_readings(session, study)
    _store(row, body.model_copy(update={"signature": signature, "judged": judged}))
    row.state, row.signed_by, row.signed_at = "final", actor, moment
    emit(session, "report.signed", f"report-{row.id}", {"report_id": row.id, "study_id": study_id})
    record(
        session,
        AuditCode.PATIENT_RECORD,
        "report.sign",
        actor,
        study_id=study_id,
        detail={"report_id": row.id, "revision": row.revision, "acknowledged": sorted(accepted)},
    )
    return row


def changed_inputs(body: ReportBody, inputs: ReportInputs) -> list[str]:
    """Return in words what has changed since the draft was made."""
    return [words for name, words in _INPUT_WORDS.items() if getattr(body, name) != getattr(inputs, name)]


def add_addendum(session: Session, study_id: str, text: str, *, author: str, actor: str) -> Addendum:
    """Append text to a signed report, and have its objects written anew with it.

    Raises Conflict where the report is not signed, BadInput on empty text.
    """
    row = _locked(session, study_id)
    if row is None:
        raise NotFound("This study has no report yet.")
    if row.state == "draft":
        raise Conflict("An addendum belongs to a signed report.", "Edit the draft instead.")
    text = plain_text(text).strip()
    if not text or len(text) > MAX_SECTION_CHARACTERS:
        raise BadInput(f"An addendum holds 1 to {MAX_SECTION_CHARACTERS} characters.")
    last = session.scalar(select(func.max(Addendum.number)).where(Addendum.report_id == row.id))
    addendum = Addendum(report_id=row.id, number=(last or 0) + 1, text=text, author=author, at=utc_now())
    session.add(addendum)
    session.flush()
    if row.state == "written":
        emit_addenda(session, row)
    record(session, AuditCode.PATIENT_RECORD, "report.addendum", actor, study_id=study_id)
    return addendum


def emit_addenda(session: Session, row: ReportRow) -> None:
    """Have what is not written yet with an addendum written, once the report itself is. The caller holds the row."""
    for one in addenda_of(session, row):
        payload = {"report_id": row.id, "study_id": row.study_id, "addendum": one.number}
        emit(session, "report.addendum", f"report-{row.id}-addendum-{one.number}", payload)


def addenda_of(session: Session, row: ReportRow) -> tuple[AddendumText, ...]:
    """Return the report's addenda in the order they were signed."""
    rows = session.scalars(select(Addendum).where(Addendum.report_id == row.id).order_by(Addendum.number))
    return tuple(AddendumText(number=one.number, text=one.text, author=one.author, at=one.at) for one in rows)


def present(
    session: Session, row: ReportRow, flags: Iterable[Flag] = (), deliveries: Iterable[Mapping[str, object]] = ()
) -> Report:
    """Return the report as the page gets it. ``flags``: the study's; the report's own are added."""
    body = body_of(row)
    signed = body.signature
    return Report(
        id=row.id,
        study_id=row.study_id,
        state=row.state,
        revision=row.revision,
        etag=row.etag,
        header=body.header,
        sections=body.sections,
        items=body.items,
        partial=body.partial,
        flags=signed.acknowledged if signed else (*flags, *body.own_flags()),
        signed_by=signed.name if signed else "",
        signed_at=row.signed_at,
        addenda=addenda_of(session, row),
        objects=dict(row.objects),
        deliveries=tuple(dict(delivery) for delivery in deliveries),
    )


def _written_readings(session: Session, study: Study) -> dict[str, ObjectRef]:
    """Return reading id -> SR of each reading of the study's revision whose objects are in the store."""
    rows = session.execute(
        select(ReadingRow.id, ReadingRow.objects)
        .where(ReadingRow.study_id == study.id, ReadingRow.revision == study.revision)
        .order_by(ReadingRow.reader, ReadingRow.version)
    )
    reading_of = {objects["sr"]: reading_id for reading_id, objects in rows if "sr" in objects}
    instances = session.execute(
        select(Instance.SOPClassUID, Instance.SOPInstanceUID, Series.SeriesInstanceUID)
        .join(Series, Series.id == Instance.series_pk)
        .where(Instance.SOPInstanceUID.in_(list(reading_of)))
    )
    found = {row.SOPInstanceUID: ObjectRef(**row._asdict()) for row in instances}
    return {reading_id: found[uid] for uid, reading_id in reading_of.items() if uid in found}


def _create(session: Session, study_id: str, inputs: ReportInputs) -> ReportRow:
    row = ReportRow(study_id=study_id, revision=inputs.revision, body=draft(inputs).model_dump(mode="json"))
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        # Another session drafted it at the same moment; theirs is as good.
        found = _locked(session, study_id)
        if found is None:
            raise NotFound("There is no such study.") from None
        return found
    return row


def _locked(session: Session, study_id: str) -> ReportRow | None:
    return session.scalar(
        select(ReportRow)
        .where(ReportRow.study_id == study_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )


def _store(row: ReportRow, body: ReportBody) -> None:
    row.body = body.model_dump(mode="json")
    row.revision = body.revision
    row.etag += 1
    row.updated_at = utc_now()


def _require_draft(row: ReportRow) -> None:
    if row.state != "draft":
        raise Conflict("The report is signed.", "Write an addendum instead.")


def _require_etag(row: ReportRow, etag: int) -> None:
    if row.etag != etag:
        raise Conflict("The report was changed meanwhile.", "Load it again.")


def _identity_differences(
    study: Study, row: ReportRow, revision: int, patient_id: str, accession_number: str
) -> list[str]:
    differing = []
    if revision != study.revision or row.revision != study.revision:
        differing.append("the images changed: this is not the study's current revision")
    if patient_id != study.patient.PatientID:
        differing.append("the patient identifier differs from the index")
    if accession_number != study.AccessionNumber:
        differing.append("the accession number differs from the index")
    return differing
