"""The site that the tests of the web room share, and a study on it with a finding to judge."""

import io

import numpy as np
import pytest
from support import ct_series
from web_support import Site, make_site

from readingroom.archive.receive import Archive
from readingroom.archive.revisions import make_revision
from readingroom.archive.store import LocalStore
from readingroom.core.config import Settings
from readingroom.core.database import Database
from readingroom.findings.heat_map import heat_map_to_bytes
from readingroom.findings.model import (
    Code,
    Evidence,
    Finding,
    PatientPlace,
    ReaderState,
    Reading,
    SegmentMask,
)
from readingroom.readers.tables import ReadingRow

HEAT = np.linspace(0, 1, 16, dtype=np.float32).reshape(1, 4, 4)
"""The heat map of the finding."""
NODULE = Code(value="27925004", scheme="SCT", meaning="Nodule")


@pytest.fixture
def site(sqlite_database: Database, settings: Settings) -> Site:
    return make_site(sqlite_database, settings)


@pytest.fixture
def study_id(site: Site) -> str:
    """A study received, with a revision and a reading of one finding with a segment and a heat map."""
    store = LocalStore(site.settings.store_folder)
    archive = Archive(site.settings, site.database, store)
    series = ct_series(3)
    received = None
    for ds in series:
        buffer = io.BytesIO()
        ds.save_as(buffer, enforce_file_format=True)
        received = archive.put_file(buffer.getvalue(), source="test")
        assert received.ok, received.message
    assert received is not None
    assert received.study_id is not None
    mask = np.zeros((1, 4, 4), bool)
    mask[0, 1:3, 1:3] = True
    segment = SegmentMask(series[0].SeriesInstanceUID, (1, 0, 0), mask, (series[1].SOPInstanceUID,))
    finding = Finding(
        id="f1",
        code=NODULE,
        place=PatientPlace(frame_of_reference_uid="1.2.3.4", position_lps_mm=(-100.0, -100.0, 3.0)),
        probability=0.8,
        segment="s1",
        evidence=Evidence(heat_map="h1"),
        series_instance_uid=series[0].SeriesInstanceUID,
        tracking_id="f1",
        tracking_uid="1.2.3.5",
    )
    body = Reading(reader="tiny", version="1", state=ReaderState.FOUND, findings=(finding,))
    with site.database.write() as session:
        assert make_revision(session, received.study_id, "request") is not None
        session.add(
            ReadingRow(
                id="r1",
                study_id=received.study_id,
                revision=1,
                reader="tiny",
                version="1",
                card_title="Tiny",
                state="found",
                body=body.model_dump(mode="json"),
                summary={"findings": ["f1"], "top_probability": 0.8, "triage": 0, "reason": ""},
                arrays={"s1": store.put(segment.to_bytes()), "h1": store.put(heat_map_to_bytes(HEAT))},
            )
        )
    return received.study_id
