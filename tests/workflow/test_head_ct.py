"""A head that bleeds, as DICOM, through the house: read, raised, on the page with its heat map, signed, written."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from head_support import head_series, of_windowed
from sqlalchemy import select

from readingroom.core.config import Settings
from readingroom.core.database import Database
from readingroom.findings.codes import code
from readingroom.readers.head_ct_triage.slices import read_patients
from readingroom.workflow.rooms import Rooms
from readingroom.worklist.urgent.tables import UrgentAlert

READER = "head-ct-triage"


@pytest.fixture
def head_rooms(settings: Settings, sqlite_database: Database) -> Iterator[Rooms]:
    changes = {"database_url": str(sqlite_database.engine.url), "quiet_seconds": 0.0, "readers": (READER,)}
    opened = Rooms.open(settings.model_copy(update=changes))
    yield opened
    opened.database.close()


@pytest.mark.data
def test_a_bleed_is_raised_and_signed(head_rooms: Rooms, shared_data: Path, open_story: Any) -> None:
    patients, _ = read_patients(shared_data / "head_ct_ich")
    one = max((p for p in patients if p.truth[0]), key=lambda p: int(p.labels[:, 0].sum()))
    story = open_story(head_rooms)
    story.send(*head_series(of_windowed(one.brain)))
    story.work()
    assert story.states() == {READER: "found"}
    page = story.page()
    (view,) = page.findings
    assert view.finding.code == code("intracranial-hemorrhage")
    assert view.finding.evidence.heat_map
    assert view.finding.side is not None
    with head_rooms.database.read() as session:
        (alert,) = session.scalars(select(UrgentAlert)).all()
    assert (alert.code_value, alert.reader) == ("1386000", READER)
    story.sign()
    story.work()
    report = story.report()
    assert report.state == "written"
    fhir = head_rooms.store.read(report.objects["fhir"]).decode()
    assert "Intracranial hemorrhage" in fhir
    assert "racture" not in fhir, "in shadow means in shadow"
    assert np.isfinite(view.finding.probability or np.nan)
