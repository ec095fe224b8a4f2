"""A constructed head from its last image to the signed report: hippocampi found, SEG, volumes in the text."""

from pathlib import Path
from typing import Any

from hippocampus_support import DRAWN, body
from mr_head_support import head, write_dicom
from pydicom import dcmread
from sqlalchemy import select

from readingroom.archive.tables import Study
from readingroom.review.report_inputs import report_inputs


def test_from_the_last_image_to_the_report(hippocampus_story: Any, tmp_path: Path) -> None:
    story = hippocampus_story
    _, files = write_dicom(tmp_path / "head", head((4, 3, -5), step_mm=(1.8, 1.6, 1.6)))
    story.send(*(dcmread(path) for path in files))
    story.work()
    assert story.states() == {DRAWN: "found"}, [r.reason for r in story.page().readings]
    shown = sorted((v.finding.code.meaning, v.finding.side.value) for v in story.page().findings)
    assert shown == [(f"{part} hippocampus", side) for part in ("Anterior", "Posterior") for side in ("left", "right")]
    objects = [story.stored(uid) for uid in story.own_objects()]
    (seg,) = (ds for ds in objects if ds.Modality == "SEG")
    assert [s.SegmentedPropertyCategoryCodeSequence[0].CodeMeaning for s in seg.SegmentSequence] == [
        "Anatomical Structure"
    ] * 4  # fmt: skip
    with story.rooms.database.read() as session:
        assert not report_inputs(session, session.scalars(select(Study)).one()).measured, (
            "nobody has accepted anything yet"
        )
    story.sign()
    story.work()
    text = story.report().body["sections"]["findings"]
    assert f"volume of the left hippocampus {(body() > 0).sum() / 1000:.2f} ml" in text
    assert "asymmetry of the hippocampi" in text
    assert "Anterior hippocampus, left, volume" in text
