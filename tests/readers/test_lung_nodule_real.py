"""The one real chest CT with marks: for testing only, nothing is tuned on it (its SOURCE.md says what is known)."""

from pathlib import Path

import numpy as np
import pytest

from readingroom.findings.model import PatientPlace, ReaderState
from readingroom.intake.study import load_study
from readingroom.readers.contract import ReadingRequest
from readingroom.readers.lung_nodule.reader import LungNoduleReader
from readingroom.readers.runner import run_reader

CENTRE_LPS_MM = (-57.27, 131.30, -520.56)


@pytest.mark.data
@pytest.mark.slow
def test_finds_the_marked_nodule(shared_data: Path) -> None:
    files = sorted((shared_data / "lung_ct_lidc_0314").glob("*.dcm"))
    intake = load_study({"1.3.6.1.4.1.14519.5.2.1.6279.6001.154677396354641150280013275227": files})
    request = ReadingRequest("1.2", intake.series, intake.context, bool(intake.partial))
    reading, _ = run_reader(LungNoduleReader(), request, lambda step, fraction: None)
    assert reading.state is ReaderState.FOUND, reading.reason
    hits = [
        f
        for f in reading.findings
        if isinstance(f.place, PatientPlace)
        and np.linalg.norm(np.subtract(f.place.position_lps_mm, CENTRE_LPS_MM)) < 3.0
    ]
    assert len(hits) == 1, [f.place for f in reading.findings]
    volume = next(m.value for m in hits[0].measurements if m.code.meaning == "Volume")
    assert 1500 <= volume <= 2600
    assert hits[0].side is not None
    assert hits[0].side.value == "right"
    assert hits[0].side.agree
    print(
        f"{len(reading.findings) - 1} other marks; probability {hits[0].probability}; {volume} mm3; {reading.seconds}"
    )
    assert len(reading.findings) - 1 <= 40
