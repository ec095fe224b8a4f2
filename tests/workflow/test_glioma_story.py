"""A brain MR of two series arrives and goes through the house: read, shown, signed, written."""

from pathlib import Path
from typing import Any

import highdicom as hd
import pytest
from mr_support import FLAIR, T1_POST, mr_series
from pydicom.uid import generate_uid

from readingroom.readers.glioma import volumes

CASE = "glioma_brats2015/brats_2013_pat0005_1"


@pytest.mark.data
def test_from_dicom_to_a_signed_report(brain_story: Any, shared_data: Path) -> None:
    case = volumes.read_case(shared_data / CASE)
    study = generate_uid()
    story = brain_story
    story.send(*mr_series(case.flair[::5], (5.0, 1.0, 1.0), study_uid=study, **FLAIR))
    story.send(*mr_series(case.post[::5], (5.0, 1.0, 1.0), study_uid=study, **T1_POST))
    story.work()
    page = story.page()
    assert story.states() == {"glioma": "found"}, [reading.reason for reading in page.readings]
    finding = page.findings[0].finding
    assert finding.code.meaning == "FLAIR abnormality suspicious for glioma"
    assert finding.evidence.heat_map
    story.sign()
    story.work()
    report = story.report()
    assert report.state == "written"
    text = report.body["sections"]["findings"]
    for words in ("FLAIR abnormality suspicious for glioma in the ", "mL", "product of perpendicular diameters", "mm2"):
        assert words in text
    assert "No findings" not in text
    seg = hd.seg.Segmentation.from_dataset(story.stored(report.objects["seg"]))
    assert seg.number_of_segments == len(page.findings)
    assert seg.segment_numbers
    millilitres = next(m.value for m in finding.measurements if m.unit.value == "mL")
    assert 1 < millilitres < 300
