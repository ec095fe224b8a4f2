"""The index transaction of receiving: what one instance changes in the tables, and the same-UID rules.

Core SQL rather than mapped objects: this runs once for every image, before the sender is answered. Everything
happens in the caller's transaction; two receivers that insert the same patient or study at once meet at the
unique constraints, and the loser runs again.
"""

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, insert, or_, select, update

from readingroom.archive.filing import Filing
from readingroom.archive.header_scan import Header
from readingroom.archive.identity import patient_key, settle
from readingroom.archive.rejection import KEY_OBJECT_SELECTION, NO_EFFECT, Effect, Note, hidden_code, take_effect
from readingroom.archive.tables import Instance, InstanceVersion, Patient, Series, Study
from readingroom.archive.visibility import inherit
from readingroom.core.errors import BadInput, NotFound
from readingroom.core.ids import new_id

_DATE = re.compile(r"[0-9]{8}")
_CACHE_SIZE = 20_000


@dataclass(frozen=True)
class Incoming:
    """One instance, its bytes durable under ``store_key``, about to be indexed."""

    header: Header
    StudyInstanceUID: str
    SeriesInstanceUID: str
    SOPInstanceUID: str
    SOPClassUID: str
    TransferSyntaxUID: str
    store_key: str
    size: int
    dataset_sha256: str
    pixel_sha256: str
    origin: str
    source: str
    note: Note | None
    received_at: datetime
    filing: Filing

    def may_change(self, project_id: int) -> bool:
        """Whether it may be added to a study of this project; what we write ourselves always may."""
        return self.origin != "received" or self.filing.may_add_to is None or project_id in self.filing.may_add_to


@dataclass(frozen=True)
class Indexed:
    """``outcome`` as in ``statuses``; ``effect``: of a rejection note; ``held``: the study has just been held."""

    outcome: str
    study_id: str
    instance_pk: int
    effect: Effect = NO_EFFECT
    held: bool = False
    released: bool = False


@dataclass
class KeyCache:
    """Keys of rows known to be committed. Rows are never deleted while a process runs; a stale key would fail its
    foreign key, which empties the cache."""

    series: dict[tuple[str, str], int] = field(default_factory=dict)
    patients: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def clear(self) -> None:
        self.series.clear()
        self.patients.clear()

    def take(self, other: "KeyCache") -> None:
        if len(self.series) > _CACHE_SIZE or len(self.patients) > _CACHE_SIZE:
            self.clear()
        self.series.update(other.series)
        self.patients.update(other.patients)


_FIND_INSTANCE = (
    select(
        Instance.id,
        Instance.SOPClassUID,
        Instance.version,
        Instance.store_key,
        Instance.size,
        Instance.TransferSyntaxUID,
        Instance.dataset_sha256,
        Instance.pixel_sha256,
        Instance.origin,
        Instance.hidden,
        Instance.received_at,
        Instance.series_pk,
        Series.SeriesInstanceUID,
        Study.StudyInstanceUID,
        Study.id.label("study_id"),
        Study.project_id,
    )
    .join(Series, Series.id == Instance.series_pk)
    .join(Study, Study.id == Series.study_id)
    .where(Instance.SOPInstanceUID == bindparam("uid"))
)
_FIND_STUDY = (
    select(Study.id, Study.patient_pk, Study.held, Study.state, Study.project_id)
    .where(Study.StudyInstanceUID == bindparam("uid"))
    # Two receivers of one study take turns, so that each sees the other's images when it looks at identity.
    .with_for_update(key_share=True)
)
_FIND_SERIES = select(Series.id, Series.study_id).where(Series.SeriesInstanceUID == bindparam("uid"))
_INSERT_INSTANCE = insert(Instance).returning(Instance.id)
TOUCH_STUDY = (
    update(Study)
    .where(Study.id == bindparam("study_key"))
    .values(changed=Study.changed + 1, state="receiving", last_received_at=bindparam("moment"))
)


def add(connection: Connection, incoming: Incoming, known: KeyCache, fresh: KeyCache) -> Indexed:
    """Index one instance. ``known`` are committed keys; those this transaction makes go into ``fresh``.

    Raises BadInput with a code of ``statuses`` when the same-UID rules refuse it, NotFound for an object of our
    own whose study is not here.
    """
    existing = connection.execute(_FIND_INSTANCE, {"uid": incoming.SOPInstanceUID}).first()
    if existing is not None:
        return _again(connection, incoming, existing, known, fresh)
    received = incoming.origin == "received"
    study = connection.execute(_FIND_STUDY, {"uid": incoming.StudyInstanceUID}).first()
    if study is None:
        if not received:
            raise NotFound("The study this object belongs to is not in the archive.")
        study_id = new_id()
        patient_pk = _patient(connection, incoming.header, study_id, known, fresh)
        _update_patient(connection, incoming.header, patient_pk)
        connection.execute(insert(Study).values(id=study_id, patient_pk=patient_pk, **_new_study(incoming)))
        inherit(connection, study_id, patient_pk)
        study_patient, held = patient_pk, ""
    else:
        _check_project(incoming, study.project_id)
        study_id, study_patient, held = study.id, study.patient_pk, study.held
        patient_pk = _patient(connection, incoming.header, study_id, known, fresh) if received else study_patient
    series_pk = _series(connection, incoming, study_id, known, fresh)
    code = _hidden(connection, incoming)
    instance_pk = connection.execute(
        _INSERT_INSTANCE,
        {
            **instance_columns(incoming),
            "series_pk": series_pk,
            "SOPInstanceUID": incoming.SOPInstanceUID,
            "origin": incoming.origin,
            "hidden": code,
            "version": 1,
            "patient_pk": patient_pk,
        },
    ).scalar_one()
    if not received:
        return Indexed("stored", study_id, instance_pk)
    effect = NO_EFFECT
    if incoming.note is not None:
        effect = take_effect(connection, incoming.SOPInstanceUID, incoming.note, study_id, incoming.StudyInstanceUID)
    # An image that is hidden when it comes changes nothing anyone may look at.
    if not code or effect.images:
        connection.execute(TOUCH_STUDY, {"study_key": study_id, "moment": incoming.received_at})
    _announce(connection, study_id, incoming.header)
    verdict = "same"
    if held or effect.images or patient_pk != study_patient:
        verdict = _settle(connection, study_id)
    return Indexed(
        "rejected-note" if incoming.note else "stored",
        study_id,
        instance_pk,
        effect,
        held=verdict == "held",
        released=verdict == "released",
    )


def _again(connection: Connection, incoming: Incoming, existing: Any, known: KeyCache, fresh: KeyCache) -> Indexed:
    """The same SOP Instance UID again."""
    if existing.store_key == incoming.store_key:
        # Our own transaction, which was thought to have failed and had not.
        return Indexed("stored", existing.study_id, existing.id)
    _check_project(incoming, existing.project_id)
    if (existing.StudyInstanceUID, existing.SeriesInstanceUID) != (
        incoming.StudyInstanceUID,
        incoming.SeriesInstanceUID,
    ):
        raise BadInput("The SOP Instance UID is already taken in another study or series.", code="uid-conflict")
    if existing.dataset_sha256 == incoming.dataset_sha256:
        if incoming.origin == "received":
            _announce(connection, existing.study_id, incoming.header)
        return Indexed("duplicate", existing.study_id, existing.id)
    if existing.origin != "received" or incoming.origin != "received":
        raise BadInput("The SOP Instance UID is that of an object written here, with other content.", code="own-object")
    if existing.pixel_sha256 != incoming.pixel_sha256:
        raise BadInput("The SOP Instance UID is already taken by an image with other pixels.", code="pixels-differ")
    return _correct(connection, incoming, existing, known, fresh)


def _correct(connection: Connection, incoming: Incoming, existing: Any, known: KeyCache, fresh: KeyCache) -> Indexed:
    """Same pixels, changed header: the old version goes to the history, the index follows the new header.

    A rejection note too: what it says now takes effect.
    """
    # The study's row is locked first, in the order of ``add``: two corrections cannot wait for each other.
    connection.execute(_FIND_STUDY, {"uid": incoming.StudyInstanceUID})
    patient_pk = _patient(connection, incoming.header, existing.study_id, known, fresh)
    connection.execute(
        insert(InstanceVersion).values(
            instance_pk=existing.id,
            version=existing.version,
            store_key=existing.store_key,
            TransferSyntaxUID=existing.TransferSyntaxUID,
            size=existing.size,
            dataset_sha256=existing.dataset_sha256,
            received_at=existing.received_at,
            replaced_at=incoming.received_at,
        )
    )
    connection.execute(
        update(Instance)
        .where(Instance.id == existing.id)
        .values(**instance_columns(incoming), version=existing.version + 1, patient_pk=patient_pk)
    )
    effect, code = NO_EFFECT, existing.hidden
    if KEY_OBJECT_SELECTION in (existing.SOPClassUID, incoming.SOPClassUID):
        effect = take_effect(
            connection, incoming.SOPInstanceUID, incoming.note, existing.study_id, incoming.StudyInstanceUID
        )
        code = _hidden(connection, incoming)
        connection.execute(update(Instance).where(Instance.id == existing.id).values(hidden=code))
    _update_patient(connection, incoming.header, patient_pk)
    connection.execute(update(Study).where(Study.id == existing.study_id).values(**_study_columns(incoming.header)))
    connection.execute(update(Series).where(Series.id == existing.series_pk).values(**_series_columns(incoming.header)))
    if not (existing.hidden and code) or effect.images:
        connection.execute(TOUCH_STUDY, {"study_key": existing.study_id, "moment": incoming.received_at})
    _announce(connection, existing.study_id, incoming.header)
    verdict = _settle(connection, existing.study_id)
    return Indexed(
        "corrected",
        existing.study_id,
        existing.id,
        effect,
        held=verdict == "held",
        released=verdict == "released",
    )


def _hidden(connection: Connection, incoming: Incoming) -> str:
    """Return the code that hides what comes in: its own, of a rejection note, or that of a note that names it."""
    if incoming.note is not None:
        return incoming.note.code
    return hidden_code(connection, incoming.StudyInstanceUID, incoming.SOPInstanceUID)


def _check_project(incoming: Incoming, project_id: int) -> None:
    if not incoming.may_change(project_id):
        raise BadInput("The study belongs to a project that this sender may not store into.", code="other-project")


def _settle(connection: Connection, study_id: str) -> str:
    verdict = settle(connection, study_id)
    if verdict == "moved":
        patient_pk = connection.execute(select(Study.patient_pk).where(Study.id == study_id)).scalar_one()
        inherit(connection, study_id, patient_pk)
    return verdict


def _patient(connection: Connection, header: Header, study_id: str, known: KeyCache, fresh: KeyCache) -> int:
    key = patient_key(header, study_id)
    found = known.patients.get(key)
    if found is not None:
        return found
    PatientID, IssuerOfPatientID, own_study = key
    found = connection.scalar(
        select(Patient.id).where(
            Patient.PatientID == PatientID,
            Patient.IssuerOfPatientID == IssuerOfPatientID,
            Patient.own_study == own_study,
        )
    )
    if found is None:
        found = connection.execute(
            insert(Patient)
            .values(
                PatientID=PatientID,
                IssuerOfPatientID=IssuerOfPatientID,
                own_study=own_study,
                **_patient_columns(header),
            )
            .returning(Patient.id)
        ).scalar_one()
    fresh.patients[key] = found
    return int(found)


def _update_patient(connection: Connection, header: Header, patient_pk: int) -> None:
    values = {name: value for name, value in _patient_columns(header).items() if value}
    if values:
        connection.execute(update(Patient).where(Patient.id == patient_pk).values(**values))


def _series(connection: Connection, incoming: Incoming, study_id: str, known: KeyCache, fresh: KeyCache) -> int:
    key = (incoming.StudyInstanceUID, incoming.SeriesInstanceUID)
    found = known.series.get(key)
    if found is not None:
        return found
    row = connection.execute(_FIND_SERIES, {"uid": incoming.SeriesInstanceUID}).first()
    if row is not None and row.study_id != study_id:
        raise BadInput("The Series Instance UID is already taken in another study.", code="uid-conflict")
    series_pk = row.id if row is not None else connection.execute(
        insert(Series)
        .values(
            study_id=study_id, SeriesInstanceUID=incoming.SeriesInstanceUID, **_series_columns(incoming.header)
        )
        .returning(Series.id)
    ).scalar_one()  # fmt: skip
    fresh.series[key] = series_pk
    return int(series_pk)


def announced_by(header: Header) -> int | None:
    """Return how many instances the header says its study has (0020,1208), or None."""
    number = header.number("NumberOfStudyRelatedInstances")
    return number if number is not None and number > 0 else None


def _announce(connection: Connection, study_id: str, header: Header) -> None:
    """Keep the largest number that a header names: a modality that counts as it goes names smaller ones first."""
    number = announced_by(header)
    if number is not None:
        smaller = or_(Study.announced_instances.is_(None), Study.announced_instances < number)
        connection.execute(update(Study).where(Study.id == study_id, smaller).values(announced_instances=number))


def instance_columns(incoming: Incoming) -> dict[str, Any]:
    """What a new version of an instance sets."""
    header = incoming.header
    frames = header.number("NumberOfFrames")
    return {
        "SOPClassUID": incoming.SOPClassUID,
        "TransferSyntaxUID": incoming.TransferSyntaxUID,
        "InstanceNumber": header.number("InstanceNumber"),
        "NumberOfFrames": frames if frames is not None and frames > 0 else 1,
        "Rows": header.number("Rows"),
        "Columns": header.number("Columns"),
        "store_key": incoming.store_key,
        "size": incoming.size,
        "dataset_sha256": incoming.dataset_sha256,
        "pixel_sha256": incoming.pixel_sha256,
        "received_at": incoming.received_at,
        "received_from": incoming.source[:64],
    }


def _patient_columns(header: Header) -> dict[str, Any]:
    return {
        "PatientName": header.text("PatientName", 400),
        "PatientBirthDate": _date(header.text("PatientBirthDate")),
        "PatientSex": header.text("PatientSex", 16),
    }


def _new_study(incoming: Incoming) -> dict[str, Any]:
    return {
        "StudyInstanceUID": incoming.StudyInstanceUID,
        **_study_columns(incoming.header),
        "project_id": incoming.filing.project_id,
        "restricted": False,
        "priority": 0,
        "held": "",
        "state": "receiving",
        "announced_instances": None,
        "ready_requested": False,
        "created_at": incoming.received_at,
        "last_received_at": incoming.received_at,
        "changed": 0,
        "revision": 0,
        "revised_changed": 0,
    }


def _study_columns(header: Header) -> dict[str, Any]:
    return {
        "AccessionNumber": header.text("AccessionNumber", 64),
        "StudyID": header.text("StudyID", 64),
        "StudyDate": _date(header.text("StudyDate")),
        "StudyTime": header.text("StudyTime", 16),
        "StudyDescription": header.text("StudyDescription", 256),
        "ReferringPhysicianName": header.text("ReferringPhysicianName", 400),
        "simulated": _is_simulated(header),
    }


def _series_columns(header: Header) -> dict[str, Any]:
    return {
        "Modality": header.text("Modality", 16),
        "SeriesNumber": header.number("SeriesNumber"),
        "SeriesDescription": header.text("SeriesDescription", 256),
        "BodyPartExamined": header.text("BodyPartExamined", 64),
    }


def _is_simulated(header: Header) -> bool:
    """Whether this is one of our own simulated images (``imaging/simulate.py`` marks them so)."""
    texts = (header.text(keyword).upper() for keyword in ("PatientName", "StudyDescription", "SeriesDescription"))
    return any(text.startswith("SIMULATED") for text in texts)


def _date(text: str) -> str:
    # ACR-NEMA wrote dates with dots.
    text = text.replace(".", "")[:8]
    return text if _DATE.fullmatch(text) else ""
