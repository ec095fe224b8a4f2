"""A house with studies, consents, readings and verdicts, as tests of cohorts need it: real rows, our own code."""

import io
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from sqlalchemy import select
from sqlalchemy.orm import Session
from support import ct_series

from readingroom.access.accounts import create_account
from readingroom.access.actor import OPERATOR, Actor, actor_of
from readingroom.access.consent import Kind, Statement, decide
from readingroom.access.projects import create_project
from readingroom.archive.receive import Archive
from readingroom.archive.revisions import make_revision
from readingroom.archive.store import LocalStore
from readingroom.archive.tables import Study
from readingroom.core.config import Settings
from readingroom.core.database import Database
from readingroom.core.permissions import ProjectKind, Role
from readingroom.core.purposes import Purpose
from readingroom.core.secrets import load_secrets
from readingroom.findings.codes import code
from readingroom.findings.model import Axis, Finding, PatientPlace, ReaderState, Reading
from readingroom.learning import cohorts
from readingroom.learning.model import Folder, Query, Shares, Workshop
from readingroom.learning.tables import Cohort, CohortMember, CohortVersion
from readingroom.readers.tables import ReadingRow
from readingroom.review.label_inputs import DECIDED
from readingroom.review.model import VerdictInput
from readingroom.review.verdicts import give

READER = "tiny"
HALVES = Shares(validation=0.25, test=0.4)


def nodule(name: str, z: float = 0.0, **changes: Any) -> Finding:
    """A nodule of 10 mm."""
    values: dict[str, Any] = {
        "id": name, "code": code("nodule"), "probability": 0.8,
        "place": PatientPlace(frame_of_reference_uid="1.2.3.4", position_lps_mm=(50.0, 0.0, z)),
        "axes": (Axis(role="long", start_lps_mm=(45, 0, z), end_lps_mm=(55, 0, z)),),
    }  # fmt: skip
    return Finding(**(values | changes))


class Place:
    """The archive with what stands around it."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings, self.database = settings, database
        store = LocalStore(settings.store_folder)
        self.archive = Archive(settings, database, store)
        self.workshop = Workshop(settings.purposes, load_secrets(settings), store.source, DECIDED)
        self._pixels = 0

    def send(self, patient: str, *, like: list[Dataset] | None = None, blank: bool = False, **attributes: Any) -> str:
        """A study of two slices (pixels of its own, or those of ``like``) with its revision; its id.

        ``blank`` adds a slice without content.
        """
        series = ct_series(2 + blank, patient_id=patient, **attributes)
        for number, ds in enumerate(series):
            self._pixels += 1
            values = np.full((ds.Rows, ds.Columns), 0 if blank and number == 2 else self._pixels, np.uint16)
            if not (blank and number == 2):
                values[0, 0] = 0
            ds.PixelData = like[number].PixelData if like else values.tobytes()
        self.sent = series
        for ds in series:
            buffer = io.BytesIO()
            ds.save_as(buffer, enforce_file_format=True)
            received = self.archive.put_file(buffer.getvalue(), source="test")
            assert received.ok, received.message
        with self.database.write() as session:
            study = session.scalars(select(Study).where(Study.StudyInstanceUID == series[0].StudyInstanceUID)).one()
            make_revision(session, study.id, "request")
            return study.id

    def say(self, study_id: str, kind: Kind = Kind.GIVEN, purpose: Purpose = Purpose.TRAINING) -> None:
        """The study's patient decides."""
        with self.database.write() as session:
            patient = session.scalars(select(Study.patient_pk).where(Study.id == study_id)).one()
            decide(session, patient, Statement(kind, (purpose,), reference="form 1"), actor="rada")

    def willing(self, patient: str, **attributes: Any) -> str:
        """A study whose patient allows training."""
        study_id = self.send(patient, **attributes)
        self.say(study_id)
        return study_id

    def add(self, name: str = "lungs", definition: Query | Folder | None = None, **more: Any) -> Cohort:
        values = {"project": "care", "purpose": Purpose.TRAINING, "actor": OPERATOR, "shares": HALVES} | more
        with self.database.write() as session:
            return cohorts.add(session, name, definition=definition or Query(), workshop=self.workshop, **values)

    def freeze(self, cohort: Cohort, actor: Actor = OPERATOR) -> CohortVersion:
        return cohorts.freeze(self.database, cohort.id, self.workshop, actor)

    def members(self, version: CohortVersion) -> list[CohortMember]:
        with self.database.read() as session:
            return cohorts.members_of(session, version)

    def studies(self, version: CohortVersion) -> set[str | None]:
        return {member.study_id for member in self.members(version)}

    def account(self, name: str, role: Role, project: str = "care") -> Actor:
        with self.database.write() as session:
            account = create_account(session, name, "correct horse battery", role, projects={project: role})
            return actor_of(session, account, web_session="s")

    def project(self, name: str) -> None:
        with self.database.write() as session:
            create_project(session, name, ProjectKind.RESEARCH, actor="test")

    def read(self, study_id: str, *findings: Finding, state: ReaderState | None = None, **more: Any) -> None:
        """The reader (``READER`` unless named) has read the study's newest revision."""
        reader = str(more.pop("reader", READER))
        state = state or (ReaderState.FOUND if findings else ReaderState.NOTHING_FOUND)
        version = str(more.pop("version", "1"))
        body = Reading(reader=reader, version=version, state=state, findings=findings, weights_sha256="w" * 64, **more)
        with self.database.write() as session:
            study = session.get_one(Study, study_id)
            row = ReadingRow(
                study_id=study_id, revision=study.revision, reader=reader, version=version, state=state,
                body=body.model_dump(mode="json"), summary={"findings": [f.id for f in findings]},
            )  # fmt: skip
            session.add(row)

    def judge(self, study_id: str, kind: str, finding: str = "", **more: Any) -> None:
        with self.database.write() as session:
            revision = session.get_one(Study, study_id).revision
            verdict = VerdictInput(kind=kind, revision=revision, finding_id=finding, **more)  # type: ignore[arg-type]
            give(session, study_id, verdict, "rada")

    def finish(self, study_id: str) -> None:
        """Somebody looked at all of it."""
        self.judge(study_id, "no-further-findings")


def withdraw(session: Session, patient_id: int) -> list[str]:
    """Take a patient out, as the worker does; the versions they were in."""
    return [made.ref for made in cohorts.remove(session, patient_id, Purpose.TRAINING)]
