"""Rejection notes (IHE RAD IOCM): Key Object Selections whose title says that the images they name are rejected.

A note hides the objects of its own study only, those here and those that come later. Received again with other
content it says what it says now: what it no longer names is shown again, unless another note names it too.
"""

import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TypeVar

from pydicom import dcmread
from pydicom.dataset import Dataset
from sqlalchemy import Connection, delete, insert, select, update

from readingroom.archive.tables import Instance, Rejection, Series
from readingroom.core.errors import BadInput

KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"
REJECTION_CODES = frozenset({"113001", "113037", "113038", "113039"})
"""Rejected for quality; for patient safety; incorrect worklist entry; data retention expired (PS3.16 CID 7011)."""
_MAX_REFERENCES = 100_000
_T = TypeVar("_T")


@dataclass(frozen=True)
class Note:
    """A rejection note: its code value and the SOP Instance UIDs it names within its own study."""

    code: str
    SOPInstanceUIDs: tuple[str, ...]


@dataclass(frozen=True)
class Effect:
    """What a note has just changed: how many objects it hid, and how many it shows again. ``images``: whether some of
    them were received, so that a revision must see it; our own objects don't count."""

    hidden: int = 0
    shown: int = 0
    images: bool = False


NO_EFFECT = Effect()


def read_note(part10: bytes, StudyInstanceUID: str) -> Note | None:
    """Return the rejection note a Key Object Selection is, or None when its title is another."""
    try:
        with warnings.catch_warnings():
            # pydicom's warnings quote values.
            warnings.simplefilter("ignore")
            ds = dcmread(BytesIO(part10), force=True)
        title = ds.get("ConceptNameCodeSequence") or [Dataset()]
        code, scheme = str(title[0].get("CodeValue", "")), str(title[0].get("CodingSchemeDesignator", ""))
        if code not in REJECTION_CODES or scheme != "DCM":
            return None
        uids: list[str] = []
        for study in ds.get("CurrentRequestedProcedureEvidenceSequence") or []:
            if str(study.get("StudyInstanceUID", "")) != StudyInstanceUID:
                continue
            for series in study.get("ReferencedSeriesSequence") or []:
                for item in series.get("ReferencedSOPSequence") or []:
                    uids.append(str(item.get("ReferencedSOPInstanceUID", ""))[:64])
        return Note(code, tuple(dict.fromkeys(uids[:_MAX_REFERENCES])))
    except Exception as error:
        # pydicom raises many kinds on hostile bytes; the note is then unreadable, whatever the kind.
        raise BadInput("The key object selection cannot be read.", code="not-dicom") from error


def take_effect(
    connection: Connection, note_uid: str, note: Note | None, study_id: str, StudyInstanceUID: str
) -> Effect:
    """Let the note of this UID say what it says now, in place of what it said before, if it did; None: it is a
    rejection note no more. Objects that are not here yet are remembered."""
    named = set(connection.scalars(select(Rejection.SOPInstanceUID).where(Rejection.note == note_uid)))
    if named:
        connection.execute(delete(Rejection).where(Rejection.note == note_uid))
    if note is not None and note.SOPInstanceUIDs:
        named.update(note.SOPInstanceUIDs)
        connection.execute(
            insert(Rejection),
            [
                {"note": note_uid, "code": note.code, "StudyInstanceUID": StudyInstanceUID, "SOPInstanceUID": uid}
                for uid in note.SOPInstanceUIDs
            ],
        )
    hidden = shown = 0
    images = False
    for part in _batches(sorted(named), 500):
        codes = _codes(connection, StudyInstanceUID, part)
        rows = connection.execute(
            select(Instance.id, Instance.SOPInstanceUID, Instance.hidden, Instance.origin)
            .join(Series, Series.id == Instance.series_pk)
            .where(Series.study_id == study_id, Instance.SOPInstanceUID.in_(part))
        ).all()
        changed: dict[str, list[int]] = defaultdict(list)
        for row in rows:
            code = codes.get(row.SOPInstanceUID, "")
            if code != row.hidden:
                changed[code].append(row.id)
                hidden += not row.hidden
                shown += not code
                images |= row.origin == "received"
        for code, keys in changed.items():
            connection.execute(update(Instance).where(Instance.id.in_(keys)).values(hidden=code))
    return Effect(hidden, shown, images)


def _codes(connection: Connection, StudyInstanceUID: str, uids: Sequence[str]) -> dict[str, str]:
    """Return SOP Instance UID -> code of the first note that hides it, of those that any note hides."""
    rows = connection.execute(
        select(Rejection.SOPInstanceUID, Rejection.code)
        .where(Rejection.SOPInstanceUID.in_(uids), Rejection.StudyInstanceUID == StudyInstanceUID)
        .order_by(Rejection.id.desc())
    )
    return {row.SOPInstanceUID: row.code for row in rows}


def hidden_code(connection: Connection, StudyInstanceUID: str, SOPInstanceUID: str) -> str:
    """Return the code of an earlier note that hides this object, or the empty string."""
    return _codes(connection, StudyInstanceUID, [SOPInstanceUID]).get(SOPInstanceUID, "")


def _batches(values: Sequence[_T], size: int) -> list[Sequence[_T]]:
    return [values[n : n + size] for n in range(0, len(values), size)]
