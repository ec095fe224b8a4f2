"""Receiving: bytes in, durable and indexed, then an answer. The only way data gets into the archive.

In this order: look at the header, write the bytes and sync file and folder, one index transaction, return (which
is what acknowledges). What cannot be accepted is kept in quarantine with its reason; nothing a stranger sends
raises out of here.
"""

import hashlib
import logging
import re
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from io import BytesIO

from pydicom.dataset import Dataset
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from readingroom.archive import quarantine
from readingroom.archive.filing import HOME, Filing, filing_of_project
from readingroom.archive.gather import gathered
from readingroom.archive.header_scan import Buffer, Header, scan
from readingroom.archive.index import Incoming, Indexed, KeyCache, add
from readingroom.archive.part10 import Wrapping, file_meta, unwrap
from readingroom.archive.quick_index import QuickIndex
from readingroom.archive.rejection import KEY_OBJECT_SELECTION, NO_EFFECT, Note, read_note
from readingroom.archive.statuses import ANSWERS
from readingroom.archive.store import Store
from readingroom.core.audit import AuditCode, record
from readingroom.core.clock import utc_now
from readingroom.core.config import Settings
from readingroom.core.database import Database
from readingroom.core.errors import BadInput, Conflict, NotFound, OutOfResources
from readingroom.core.outbox import emit

log = logging.getLogger(__name__)

# Looser than PS3.5 9.1: real archives hold UIDs with leading zeros. Digits and dots can do no harm.
_UID = re.compile(r"[0-9]{1,64}(\.[0-9]{1,64})+")
_ATTEMPTS = 6


@dataclass(frozen=True)
class Received:
    """What became of one instance and what its sender is told (see ``statuses``).

    ``outcome``: ``stored``, ``duplicate``, ``corrected``, ``rejected-note``, ``quarantined`` or ``refused``.
    ``code``: the outcome, or why it was quarantined or refused. ``failure_reason``: of STOW-RS, 0 for a success.
    """

    outcome: str
    code: str
    message: str
    study_id: str | None = None
    instance_pk: int | None = None
    SOPInstanceUID: str = ""
    SOPClassUID: str = ""
    StudyInstanceUID: str = ""
    SeriesInstanceUID: str = ""
    quarantine_id: str = ""

    @property
    def ok(self) -> bool:
        return self.outcome not in ("quarantined", "refused")

    @property
    def dimse_status(self) -> int:
        return ANSWERS[self.code].dimse

    @property
    def failure_reason(self) -> int:
        return ANSWERS[self.code].stow


@dataclass(frozen=True)
class _Checked:
    """An instance whose header has been read and found usable."""

    header: Header
    StudyInstanceUID: str
    SeriesInstanceUID: str
    SOPInstanceUID: str
    SOPClassUID: str
    note: Note | None


class _CommitUnknown(Exception):
    """The database failed while committing: the row may be there or not."""


class Archive:
    """The archive of one process. Safe for threads; several processes may share a store and an index."""

    def __init__(self, settings: Settings, database: Database, store: Store) -> None:
        self.settings, self.database, self.store = settings, database, store
        self._known = KeyCache()
        self._quick = QuickIndex(database.engine)
        self._filings: dict[str, Filing] = {}

    def put_stream(
        self,
        data: Buffer | Iterable[bytes],
        *,
        transfer_syntax_uid: str,
        sop_class_uid: str,
        sop_instance_uid: str,
        source: str,
        calling_aet: str = "",
        project: str = "",
    ) -> Received:
        """Take a data set without file meta information (C-STORE); the Part 10 file is built around its bytes.

        ``project``: that of the sender, which the receiver has looked up before.
        """
        try:
            with gathered(data, self.settings.max_object_bytes, self.settings.work_folder) as buffer:
                meta = file_meta(
                    SOPClassUID=sop_class_uid[:64],
                    SOPInstanceUID=sop_instance_uid[:64],
                    TransferSyntaxUID=transfer_syntax_uid[:64],
                    source_aet=calling_aet,
                )
                wrapping = Wrapping(0, transfer_syntax_uid, False)
                command = (sop_class_uid, sop_instance_uid)
                return self._take(buffer, wrapping, meta, command, source, "received", self._filing_of(project))
        except (BadInput, OutOfResources) as error:
            return _refused(error.code, error.message)

    def put_file(self, data: Buffer | Iterable[bytes], *, source: str, filing: Filing = HOME) -> Received:
        """Take a whole Part 10 file (STOW-RS, import); it is stored as it is."""
        try:
            with gathered(data, self.settings.max_object_bytes, self.settings.work_folder) as buffer:
                return self._take_file(buffer, source, "received", filing)
        except (BadInput, OutOfResources) as error:
            return _refused(error.code, error.message)

    def put_own(self, data: Dataset | bytes, *, origin: str) -> Received:
        """Store an object we wrote: ``origin`` is ``reader`` or ``report``. It never makes a study revision.

        Identical bytes again are a success. Raises Conflict when the UID is taken with other bytes, BadInput for an
        unusable object, NotFound when its study is not here, OutOfResources when the disk is full.
        """
        if isinstance(data, Dataset):
            buffer = BytesIO()
            data.save_as(buffer, enforce_file_format=True)
            data = buffer.getvalue()
        received = self._take_file(data, origin, origin, HOME)
        if received.outcome == "refused":
            raise OutOfResources(received.message)
        return received

    def sweep_orphans(self, older_than_seconds: float = 86_400, *, elsewhere: Collection[str]) -> int:
        """Delete stored bytes that no row names: what a crash between write and index leaves. Returns how many.

        ``elsewhere``: the keys other rooms keep in the same store (segments and maps of readings).
        """
        with self.database.read() as session:
            named = quarantine.named_keys(session)
        orphans = [key for key in self.store.keys(older_than_seconds) if key not in named and key not in elsewhere]
        for key in orphans:
            # Looked up again one by one: a long listing may be older than what has been indexed since.
            with self.database.read() as session:
                if not quarantine.is_named(session, key):
                    self.store.delete(key)
        return len(orphans)

    def _filing_of(self, project: str) -> Filing:
        if project not in self._filings:
            with self.database.read() as session:
                self._filings[project] = filing_of_project(session, project)
        return self._filings[project]

    def _take_file(self, buffer: Buffer, source: str, origin: str, filing: Filing) -> Received:
        try:
            wrapping = unwrap(buffer)
        except BadInput as error:
            if origin != "received":
                raise
            return self._quarantine(buffer, b"", error, source)
        return self._take(buffer, wrapping, b"", None, source, origin, filing)

    def _take(
        self,
        buffer: Buffer,
        wrapping: Wrapping,
        meta: bytes,
        command: tuple[str, str] | None,
        source: str,
        origin: str,
        filing: Filing,
    ) -> Received:
        """The steps of receiving. ``command``: SOP class and instance the C-STORE command named."""
        checked: _Checked | None = None
        try:
            header = scan(buffer, wrapping.dataset_start, wrapping.TransferSyntaxUID)
            if not wrapping.has_meta and not meta:
                meta = file_meta(
                    SOPClassUID=header.text("SOPClassUID"),
                    SOPInstanceUID=header.text("SOPInstanceUID"),
                    TransferSyntaxUID=wrapping.TransferSyntaxUID,
                )
            checked = _check(header, command, buffer, meta)
        except BadInput as error:
            if origin != "received":
                raise
            kept_meta = meta if command else b""
            return self._quarantine(buffer, kept_meta, error, source, sop_uid=command[1] if command else "")
        dataset = memoryview(buffer)[wrapping.dataset_start :]
        pieces = (meta, dataset) if meta else (memoryview(buffer),)
        key = self.store.put(pieces, project=filing.project_id)
        dataset_sha256, pixel_sha256 = _digests(buffer, wrapping.dataset_start, header)
        incoming = Incoming(
            header=checked.header,
            StudyInstanceUID=checked.StudyInstanceUID,
            SeriesInstanceUID=checked.SeriesInstanceUID,
            SOPInstanceUID=checked.SOPInstanceUID,
            SOPClassUID=checked.SOPClassUID,
            TransferSyntaxUID=wrapping.TransferSyntaxUID,
            store_key=key,
            size=len(meta) + len(dataset) if meta else len(buffer),
            dataset_sha256=dataset_sha256,
            pixel_sha256=pixel_sha256,
            origin=origin,
            source=source,
            note=checked.note,
            received_at=utc_now(),
            filing=filing,
        )
        try:
            indexed = self._index(incoming)
        except BadInput as error:
            if origin != "received":
                self.store.delete(key)
                raise Conflict("An object of this UID with other bytes is already stored.") from error
            return self._quarantine(buffer, meta, error, source, sop_uid=checked.SOPInstanceUID, stored=key)
        except NotFound:
            self.store.delete(key)
            raise
        except _CommitUnknown:
            log.error("indexing failed: whether it was committed is not known")
            # The row may be there, so the bytes stay. Sent again, it is stored or known; else they are swept.
            return _refused("out-of-resources", "The index could not be written.")
        except Exception as error:
            # The text of a database error may hold values of the row, so only its kind is logged.
            log.error("indexing failed: %s", type(error).__name__)
            self.store.delete(key)
            busy = isinstance(error, DBAPIError | OutOfResources)
            return _refused("out-of-resources" if busy else "failed", "The index could not be written.")
        if indexed.outcome == "duplicate":
            self.store.delete(key)
        return Received(
            indexed.outcome,
            indexed.outcome,
            ANSWERS[indexed.outcome].meaning,
            indexed.study_id,
            indexed.instance_pk,
            SOPInstanceUID=checked.SOPInstanceUID,
            SOPClassUID=checked.SOPClassUID,
            StudyInstanceUID=checked.StudyInstanceUID,
            SeriesInstanceUID=checked.SeriesInstanceUID,
        )

    def _index(self, incoming: Incoming) -> Indexed:
        quick = self._quick.add(incoming, self._known)
        if quick is not None:
            return quick
        for attempt in range(_ATTEMPTS):
            fresh = KeyCache()
            committing = False
            try:
                with self.database.engine.begin() as connection:
                    indexed = add(connection, incoming, self._known, fresh)
                    if indexed.held or indexed.released or indexed.effect != NO_EFFECT or incoming.note:
                        _tell(Session(connection), incoming, indexed)
                    committing = True
                self._known.take(fresh)
                return indexed
            except DBAPIError as error:
                # Another receiver inserted the same row first, or a deadlock was broken: look again.
                self._known.clear()
                retry = isinstance(error, IntegrityError) or getattr(error.orig, "sqlstate", "") in ("40P01", "40001")
                if not retry or attempt == _ATTEMPTS - 1:
                    if committing:
                        raise _CommitUnknown from None
                    raise
                time.sleep(0.005 * (attempt + 1))
        raise AssertionError("unreachable")

    def _quarantine(
        self, buffer: Buffer, meta: bytes, error: BadInput, source: str, *, sop_uid: str = "", stored: str = ""
    ) -> Received:
        try:
            kept = quarantine.keep(
                self.database, self.store, buffer, meta, error, source, sop_uid=sop_uid, stored=stored
            )
        except (OutOfResources, DBAPIError) as failure:
            # Bytes already stored stay: whether their row was committed is not known, and they are swept if not.
            log.error("quarantine failed: %s", type(failure).__name__)
            return _refused("out-of-resources", "No room to keep what could not be accepted.")
        return Received("quarantined", error.code, error.message, SOPInstanceUID=sop_uid[:64], quarantine_id=kept)


def _check(header: Header, command: tuple[str, str] | None, buffer: Buffer, meta: bytes) -> _Checked:
    """Raise BadInput unless the identifiers every instance needs are there and are UIDs."""
    uids: dict[str, str] = {}
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"):
        value = header.values.get(keyword, "")
        if not value:
            raise BadInput(f"{keyword} is missing.", code="missing-tag")
        if len(value) > 64 or not _UID.fullmatch(value):
            raise BadInput(f"{keyword} is not a valid UID.", code="bad-uid")
        uids[keyword] = value
    if command is not None and command != (uids["SOPClassUID"], uids["SOPInstanceUID"]):
        raise BadInput("The data set and the command name different SOP classes or instances.", code="mismatch")
    note = None
    if uids["SOPClassUID"] == KEY_OBJECT_SELECTION:
        note = read_note(meta + bytes(buffer), uids["StudyInstanceUID"])
    return _Checked(header=header, note=note, **uids)


def _digests(buffer: Buffer, start: int, header: Header) -> tuple[str, str]:
    """Return the SHA-256 of the data set and of its pixel data (empty where there is none).

    Every byte is hashed once: in the data set's digest the pixel data stands as its own digest.
    """
    view = memoryview(buffer)
    if header.pixels is None:
        return hashlib.sha256(view[start:]).hexdigest(), ""
    first, last = header.pixels
    if header.inflated is not None:
        pixels = hashlib.sha256(memoryview(header.inflated)[first:last])
        return hashlib.sha256(view[start:]).hexdigest(), pixels.hexdigest()
    pixels = hashlib.sha256(view[first:last])
    dataset = hashlib.sha256(view[start:first])
    dataset.update(pixels.digest())
    dataset.update(view[last:])
    return dataset.hexdigest(), pixels.hexdigest()


def _tell(session: Session, incoming: Incoming, indexed: Indexed) -> None:
    """Audit what must be seen and hand a rejection on, in the index transaction."""
    study_id = indexed.study_id
    if indexed.held:
        record(session, AuditCode.SECURITY_ALERT, "study-held", incoming.source, study_id=study_id)
        log.warning("study %s held: its images name two patients", study_id)
    if indexed.released:
        record(session, AuditCode.PATIENT_RECORD, "study-released", incoming.source, study_id=study_id)
    effect = indexed.effect
    if effect.images:
        # The store's key is as unique as what was received, and says nothing of it: keys reach logs.
        emit(session, "images.rejected", f"rejected-{incoming.store_key}", {"study_id": study_id})
    if indexed.outcome == "rejected-note" or effect != NO_EFFECT:
        detail = {"code": incoming.note.code if incoming.note else "", "hidden": effect.hidden, "shown": effect.shown}
        record(session, AuditCode.STUDY_DELETED, "images-rejected", incoming.source, study_id=study_id, detail=detail)
    # The connection's transaction goes on; this only lets the audit be chained within it.
    session.commit()


def _refused(code: str, message: str) -> Received:
    return Received("refused", code, message)
