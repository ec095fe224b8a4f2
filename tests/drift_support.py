"""Constructed readings for the drift watch: what a reader says on a scanner, in a real index, and signed verdicts."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from sqlalchemy.orm import Session

from readingroom.archive.tables import Patient, Study, StudyRevision
from readingroom.core.ids import new_id
from readingroom.findings.codes import code
from readingroom.findings.model import Finding, PatientPlace, ReaderState, Reading
from readingroom.readers.tables import ReadingRow
from readingroom.report.tables import ReportRow
from readingroom.review.tables import VerdictRow
from readingroom.workflow.read_step import summary_of

START = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
SCANNER = {"Manufacturer": "ACME", "ManufacturerModelName": "CT-9", "ConvolutionKernel": "Br40"}
PLANTED = "Planted^Drift"

Draw = Callable[[np.random.Generator], float]


@dataclass
class Season:
    """How things are for a while: ``score`` draws the top probability of a study, ``accepted`` how often it stands."""

    score: Draw = lambda rng: float(rng.beta(8, 4))
    found: float = 0.7
    abstained: float = 0.03
    accepted: float = 0.8
    noise_hu: float = 20.0
    spacing_mm: float = 1.0


class House:
    """Writes readings one after the other, half an hour apart, as the workflow leaves them."""

    def __init__(self, session: Session, *, seed: int = 0, scanner: dict[str, str] = SCANNER) -> None:
        self.session, self.scanner = session, scanner
        self.rng = np.random.default_rng(seed)
        self.at = START
        self.patient = Patient(PatientID=f"DRIFT-{seed}", PatientName=PLANTED)
        session.add(self.patient)
        session.flush()

    def read(self, studies: int, season: Season, *, signed: bool = False) -> None:
        for _ in range(studies):
            self.at += timedelta(minutes=30)
            row = self._reading(season)
            if signed and row.state == ReaderState.FOUND:
                self._sign(row, season)
        self.session.flush()

    def _study(self) -> Study:
        number = int(self.rng.integers(1, 2**62))
        study = Study(
            id=new_id(), patient_pk=self.patient.id, StudyInstanceUID=f"1.2.{number}", revision=1, state="read"
        )
        self.session.add_all([study, StudyRevision(study_id=study.id, number=1, digest="", instances=[])])
        return study

    def _reading(self, season: Season) -> ReadingRow:
        rng = self.rng
        state, findings = ReaderState.NOTHING_FOUND, []
        if rng.random() < season.abstained:
            state = ReaderState.ABSTAINED
        elif rng.random() < season.found:
            state = ReaderState.FOUND
            place = PatientPlace(frame_of_reference_uid="1.2.3.4", position_lps_mm=(50.0, 0.0, 0.0))
            findings = [Finding(id="A", code=code("nodule"), place=place, probability=season.score(rng))]
        reading = Reading(
            reader="lung-nodule", version="2.0", state=state, findings=tuple(findings),
            out_of_domain_score=None if state == ReaderState.ABSTAINED else float(rng.chisquare(4) ** 0.5),
            input_statistics={
                **self.scanner, "KVP": "120", "slice_spacing_mm": season.spacing_mm,
                "noise_hu": float(rng.normal(season.noise_hu, 3.0)),
            },
        )  # fmt: skip
        row = ReadingRow(
            id=new_id(), study_id=self._study().id, revision=1, reader="lung-nodule", version="2.0", state=state,
            body=reading.model_dump(mode="json"), summary=summary_of(reading), finished_at=self.at,
        )  # fmt: skip
        self.session.add(row)
        return row

    def _sign(self, row: ReadingRow, season: Season) -> None:
        kind = "accept" if self.rng.random() < season.accepted else "reject"
        self.session.add(
            VerdictRow(
                number=1, study_id=row.study_id, revision=1, reading_id=row.id, finding_id="A", kind=kind,
                actor="rada", decided_at=self.at, reason_code="" if kind == "accept" else "vessel",
            )
        )  # fmt: skip
        self.session.add(
            ReportRow(study_id=row.study_id, revision=1, state="final", body={}, signed_by="rada", signed_at=self.at)
        )
