"""What happens to a study in its life, from the first image to what is sent on: the stories of the architecture."""

import base64
import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from sqlalchemy import func, select
from support import rejection_note

from readingroom.archive.tables import Delivery, Instance
from readingroom.readers.tables import ReadingRow
from readingroom.review.heat_maps import keys_of, levels_of

Series = Callable[..., list[Dataset]]
TINY = "tiny-brightest"


def kinds(story: Any) -> list[str]:
    return [task.kind for task in story.page().tasks]


def test_from_the_last_image_to_the_destination(story: Any, make_series: Series) -> None:
    story.send(*make_series(slices=5))
    story.work()
    page = story.page()
    assert page.state == "read"
    assert story.states()[TINY] == "found"
    assert [view.finding.code.meaning for view in page.findings] == ["Nodule"]
    assert [series.type["kind"] for series in page.series] == ["ct-volume"]
    assert len(page.series[0].images) == 5
    inside = story.own_objects()
    assert len(inside) == 2, "SEG and SR of the reading"
    with story.rooms.database.read() as session:
        assert session.scalar(select(func.count(Delivery.id))) == 0, "nothing leaves before somebody signs"
    story.sign()
    story.work()
    report = story.report()
    assert report.state == "written"
    assert set(report.objects) == {"seg", "sr", "pdf", "fhir"}
    assert story.rooms.store.read(report.objects["fhir"])[:1] == b"{"
    written = story.own_objects()
    with story.rooms.database.read() as session:
        queued = session.scalars(
            select(Instance.SOPInstanceUID).join(Delivery, Delivery.instance_pk == Instance.id)
        ).all()
    assert sorted(queued) == sorted(report.objects[role] for role in ("seg", "sr", "pdf"))
    assert set(inside) < set(written)


def test_a_reader_s_heat_map_reaches_the_page_and_a_broken_one_fails_alone(
    sqlite_story: Any, make_series: Series, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = sqlite_story
    images = make_series(slices=4)
    story.send(*images[:3])
    story.work()
    (view,) = story.page().findings
    assert view.heat_map_url == f"/api/v1/studies/{story.page().study_id}/heat-maps/{view.reading_id}/{view.finding.id}"
    with story.rooms.database.read() as session:
        row = session.get_one(ReadingRow, view.reading_id)
    levels = levels_of(keys_of(row, view.finding.id), story.rooms.store.read)
    assert levels.shape == tuple(np.minimum(levels.shape, 3))
    assert set(base64.b64decode(levels.levels)) <= {0, 255}
    assert view.finding.evidence.similar[0].case == "made-up-1"
    monkeypatch.setenv("TINY_READER_MODE", "heat")
    story.send(images[3])
    story.work()
    assert story.states()[TINY] == "failed"
    (reading,) = story.page().readings
    assert "within 0 and 1" in reading.reason


def test_the_signed_report_takes_up_what_the_reader_wrote(sqlite_story: Any, make_series: Series) -> None:
    story = sqlite_story
    story.send(*make_series(slices=4))
    story.work()
    story.sign()
    story.work()
    with story.rooms.database.read() as session:
        (objects,) = session.scalars(select(ReadingRow.objects).where(ReadingRow.reader == TINY)).all()
    assert set(objects) == {"seg", "sr"}
    sr = story.stored(story.report().objects["sr"])
    (series,) = sr.PredecessorDocumentsSequence[0].ReferencedSeriesSequence
    assert [item.ReferencedSOPInstanceUID for item in series.ReferencedSOPSequence] == [objects["sr"]]
    reading = story.stored(objects["sr"])
    assert series.SeriesInstanceUID == reading.SeriesInstanceUID
    (finding,) = story.page().findings
    (verdict,) = story.report().body["verdicts"]
    assert (verdict["decision"], verdict["by"], verdict["tracking_uid"]) == (
        "accepted", "rada", finding.finding.tracking_uid,
    )  # fmt: skip
    assert str(reading).count(finding.finding.tracking_uid) == 1
    assert str(sr).count(finding.finding.tracking_uid) == 2, "in its group, and with the verdict on it"


def test_an_addendum_is_written_stored_and_sent_like_the_report(story: Any, make_series: Series) -> None:
    story.send(*make_series(slices=4))
    story.work()
    story.sign()
    # Before anything is written: its set follows the first one.
    story.add("Seen again.")
    story.work()
    first = story.report()
    assert set(first.objects) == {
        "seg", "sr", "pdf", "fhir", "sr-addendum-1", "pdf-addendum-1", "fhir-addendum-1",
    }  # fmt: skip
    stored = story.own_objects()
    story.add("And again.")
    story.work()
    report = story.report()
    assert {role: uid for role, uid in report.objects.items() if not role.endswith("-2")} == first.objects
    assert len(report.objects) == 10
    after = story.own_objects()
    assert {uid: after[uid] for uid in stored} == stored, "what was written stays as it was"
    assert len(after) == len(stored) + 2
    assert b'"appended"' in story.rooms.store.read(report.objects["fhir-addendum-2"])
    sr = story.stored(report.objects["sr-addendum-2"])
    assert len(sr.VerifyingObserverSequence) == 3
    named = {
        item.ReferencedSOPInstanceUID
        for series in sr.PredecessorDocumentsSequence[0].ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    assert report.objects["sr-addendum-1"] in named
    with story.rooms.database.read() as session:
        queued = session.scalars(
            select(Instance.SOPInstanceUID).join(Delivery, Delivery.instance_pk == Instance.id)
        ).all()
    dicom = [uid for role, uid in report.objects.items() if not role.startswith("fhir")]
    assert sorted(queued) == sorted(dicom), "each of them once, to the one peer"
    # The steps again, as after a kill: nothing is doubled.
    for payload in ({"addendum": 1}, {"addendum": 2}):
        story._run("report.addendum", "", {"report_id": report.id, **payload})
    assert story.own_objects() == after
    assert story.report().objects == report.objects


def test_steps_that_run_again_store_nothing_twice(sqlite_story: Any, make_series: Series) -> None:
    story = sqlite_story
    story.send(*make_series(slices=4))
    story.work()
    story.sign()
    story.work()
    before, report = story.own_objects(), story.report()
    payload = {"study_id": report.study_id, "revision": 1, "report_id": report.id}
    for topic in ("study.revision", "report.signed"):
        story._run(topic, "", payload)
    assert story.own_objects() == before
    assert story.report().objects == report.objects


def test_a_late_image_makes_a_new_revision(sqlite_story: Any, make_series: Series) -> None:
    story = sqlite_story
    images = make_series(slices=5)
    story.send(*images[:4])
    story.work()
    story.send(images[4])
    story.work()
    page = story.page()
    assert page.revision == 2
    assert story.states()[TINY] == "found"
    assert kinds(story) == []
    story.sign()
    story.work()
    story.send(_next_slice(images))
    story.work()
    page = story.page()
    assert (page.revision, page.report_state) == (3, "written"), "the signed report stays"
    assert kinds(story) == ["late-images"]
    assert "late-images" in [flag.code for flag in page.flags]
    assert story.states()[TINY] == "found", "the new images are read all the same"


def _next_slice(images: list[Dataset]) -> Dataset:
    late = copy.deepcopy(images[-1])
    late.SOPInstanceUID = late.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    late.InstanceNumber += 1
    late.ImagePositionPatient = [-160.0, -160.0, float(images[-1].ImagePositionPatient[2]) + 3.0]
    return late


def test_a_rejected_image_is_taken_out(sqlite_story: Any, make_series: Series) -> None:
    story = sqlite_story
    images = make_series(slices=5)
    story.send(*images)
    story.work()
    story.sign()
    story.work()
    assert story.send(rejection_note(images[-1:]))[0].outcome == "rejected-note"
    story.work()
    page = story.page()
    assert page.revision == 2
    assert len(page.series[0].images) == 4
    assert kinds(story) == ["image-rejected"]


def test_a_corrected_name_reaches_the_draft(sqlite_story: Any, make_series: Series) -> None:
    story = sqlite_story
    images = make_series(slices=4, patient_name="Wrong^Name")
    story.send(*images)
    story.work()
    for ds in images:
        ds.PatientName = "Right^Name"
    assert {received.outcome for received in story.send(*images)} == {"corrected"}
    story.work()
    page = story.page()
    assert page.patient.PatientName == "Right^Name"
    assert page.revision == 2
    story.sign()
    assert story.report().body["header"]["PatientName"] == "Right^Name"


def test_two_patients_under_one_study_are_held(sqlite_story: Any, make_series: Series) -> None:
    story = sqlite_story
    uid = generate_uid()
    first = make_series(slices=3, study_uid=uid, patient_id="ONE")
    other = make_series(slices=1, study_uid=uid, patient_id="TWO")
    story.send(*first, *other)
    story.work()
    page = story.page()
    assert page.held
    assert page.revision == 0
    assert kinds(story) == ["identity-conflict"]
    assert any(flag.code == "held" and flag.blocks_signing for flag in page.flags)
    story.send(rejection_note(other))
    story.work()
    page = story.page()
    assert not page.held
    assert kinds(story) == [], "released: nobody needs to tick it off"
    assert story.states()[TINY] == "found"


def test_a_partial_series_is_never_negative(
    sqlite_story: Any, make_series: Series, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINY_READER_MODE", "nothing")
    story = sqlite_story
    images = make_series(slices=7)
    story.send(*images[:3], *images[4:])
    story.work()
    page = story.page()
    assert page.partial
    assert story.states()[TINY] == "partial"
    (flag,) = [flag for flag in page.flags if flag.code == "partial"]
    assert flag.needs_acknowledgement
    story.send(images[3])
    story.work()
    assert story.page().partial == ""
    assert story.states()[TINY] == "read-nothing-found"


def test_a_nul_character_in_a_header_is_left_out(story: Any, make_series: Series) -> None:
    images = make_series(slices=3, StudyDescription="Ch\0est", ConvolutionKernel="B\0 70f")
    for ds in images:
        ds.ProtocolName = "Thorax\0native"
    story.send(*images)
    story.work()
    page = story.page()
    assert page.StudyDescription == "Chest"
    assert page.series[0].type["kernel"] == "B 70f"
    assert story.states()[TINY] == "found"
