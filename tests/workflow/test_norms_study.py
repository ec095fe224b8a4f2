"""FreeSurfer's measures that came with a study: read in the workflow, shown with all regions, signed into a report."""

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from freesurfer_support import typical
from pydicom import dcmread
from pydicom.dataset import Dataset
from sqlalchemy import select

from readingroom.archive.tables import Study
from readingroom.core.errors import NotFound
from readingroom.objects.measures_sr import encode_measures
from readingroom.readers.alzheimer.regions import SCHEME
from readingroom.readers.tables import ReadingRow
from readingroom.review.norms import study_norms

ILL = {name: -2.5 for name in ("Left_Hippocampus", "Right_Hippocampus", "Left_Amygdala", "Right_Amygdala")}
ILL |= {"Left_Inf_Lat_Vent": 3.0, "Right_Inf_Lat_Vent": 3.0}


def report_of(image: Dataset, folder: Path, measured: dict[str, float]) -> Dataset:
    image.save_as(folder / "image.dcm", enforce_file_format=True)
    named = {n: (v, "mm" if n.endswith("_thickness") else "mm3") for n, v in measured.items()}
    at = datetime(2026, 1, 5, 12, tzinfo=UTC)
    (folder / "sr.dcm").write_bytes(encode_measures(named, SCHEME, "FreeSurfer", folder / "image.dcm", at))
    return dcmread(folder / "sr.dcm")


def test_from_measures_to_the_signed_report(
    norms_story: Any, make_series: Callable[..., list[Dataset]], tmp_path: Path
) -> None:
    story = norms_story
    images = make_series(slices=2)
    for image in images:
        image.PatientSex, image.PatientBirthDate, image.StudyDate = "F", "19510105", "20260105"
    story.send(*images)
    story.work()
    (reading,) = story.page().readings
    assert (reading.reader, reading.state) == ("alzheimer", "not-applicable")
    assert "No FreeSurfer measures" in reading.reason
    with story.rooms.database.read() as session:
        study_id = session.scalars(select(Study.id)).one()
        with pytest.raises(NotFound, match="has not read"):
            study_norms(session, story.rooms.store, study_id)

    measured = typical(-0.5, 75, **ILL)
    story.send(report_of(copy.deepcopy(images[0]), tmp_path, measured))
    story.work()
    page = story.page()
    assert {r.reader: r.state for r in page.readings} == {"alzheimer": "found"}
    (view,) = page.findings
    assert view.finding.code.meaning == "Pattern of volumes as in dementia"
    with story.rooms.database.read() as session:
        told = study_norms(session, story.rooms.store, study_id)
        row = session.scalars(select(ReadingRow).where(ReadingRow.revision == 2)).one()
    z = {region.name: region.z for region in told.answer.regions}
    assert told.person.age_years == pytest.approx(75, abs=0.1)
    assert z["Left-Hippocampus"] == pytest.approx(-2.5, abs=0.01)
    assert told.answer.probability == pytest.approx(view.finding.probability, abs=1e-3)
    kept = {one["code"]["value"]: one["value"] for one in row.body["study_measurements"]}
    assert kept["z-hippocampus-l"] == pytest.approx(z["Left-Hippocampus"], abs=1e-3)
    story.sign()
    story.work()
    report = story.report()
    assert report.state == "written"
    assert {"sr", "pdf", "fhir"} <= set(report.objects)
