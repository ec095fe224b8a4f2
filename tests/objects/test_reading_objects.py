"""A reading to SEG and SR: valid, the same bytes each time, read back by highdicom where they should lie."""

import io
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from content_support import AT, SmallSeries, box_mask, nodule, reading, save_series, small_series, validate
from pydicom import dcmread
from pydicom.dataset import Dataset
from support import ct_series

from readingroom.core.errors import BadInput
from readingroom.core.ids import is_uid
from readingroom.findings.codes import code
from readingroom.findings.model import (
    ImagePlace,
    Measurement,
    PatientPlace,
    ReaderState,
    Reading,
    SegmentMask,
    StudyPlace,
)
from readingroom.objects.reading_objects import encode_reading


def encode(made: Reading, series: SmallSeries, segments: dict[str, SegmentMask] | None = None, **values: Any) -> dict:
    given = {"read_at": AT, "title": "Lung nodules", "revision": 3, **values}
    return dict(encode_reading(made, segments or {}, series.paths, series.digests, **given))


def open_sr(data: bytes) -> hd.sr.Comprehensive3DSR:
    return hd.sr.srread(io.BytesIO(data))


def texts(ds: Dataset) -> list[str]:
    """All text values of an SR, in document order."""
    found = [str(ds.TextValue)] if "TextValue" in ds else []
    return found + [text for item in ds.get("ContentSequence", []) for text in texts(item)]


def world(ds: Dataset, row: int, column: int) -> np.ndarray:
    """LPS mm of a pixel by PS3.3 equation C.7.6.2.1-1, written out here on its own."""
    position = np.array(ds.ImagePositionPatient, float)
    along_row, along_column = np.array(ds.ImageOrientationPatient, float).reshape(2, 3)
    row_step, column_step = map(float, ds.PixelSpacing)
    return position + along_row * column_step * column + along_column * row_step * row


def voxels(series: SmallSeries, mask: SegmentMask) -> set[tuple[float, ...]]:
    by_uid = {ds.SOPInstanceUID: ds for ds in series.images}
    return {
        tuple(np.round(world(by_uid[mask.sop_instance_uids[k]], j + mask.offset[1], i + mask.offset[2]), 2))
        for k, j, i in np.argwhere(mask.mask)
    }


def read_back(data: bytes, number: int) -> set[tuple[float, ...]]:
    """Places of a segment's voxels as highdicom sees them."""
    segmentation = hd.seg.segread(io.BytesIO(data))
    volume = segmentation.get_volume(segment_numbers=[number], combine_segments=True, allow_missing_positions=True)
    indices = np.argwhere(volume.array)
    return {tuple(np.round(point, 2)) for point in volume.map_indices_to_reference(indices)}


@pytest.mark.parametrize(
    "geometry",
    [
        {},
        {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1], "sagittal": True},
        {"ImageOrientationPatient": [-1, 0, 0, 0, 1, 0]},
        {"PixelSpacing": [0.7, 0.9], "rows": 24, "columns": 40},
        # A frame that does not end on a byte: the next begins in the middle of one.
        {"rows": 27, "columns": 41},
    ],
)
def test_segments_lie_where_the_mask_lay(tmp_path: Path, geometry: dict[str, Any]) -> None:
    sagittal = geometry.pop("sagittal", False)
    images = ct_series(9, **geometry)
    if sagittal:
        for number, ds in enumerate(images):
            ds.ImagePositionPatient = [3.0 * number, -100.0, 50.0]
    series = save_series(tmp_path / "ct", images)
    # Far apart: the empty slices between them are not written.
    masks = {"a": box_mask(series, 0, 2, 3, 5, 4, 2), "b": box_mask(series, 6, 3, 10, 20, 2, 5)}
    made = reading(ReaderState.FOUND, [nodule("f1", segment="a"), nodule("f22", segment="b")])
    objects = encode(made, series, masks)
    validate(objects["seg"], tmp_path)
    written = dcmread(io.BytesIO(objects["seg"]))
    assert (int(written.NumberOfFrames), written.SegmentsOverlap) == (5, "NO")
    assert (written.Rows, written.Columns) == (images[0].Rows, images[0].Columns)
    assert read_back(objects["seg"], 1) == voxels(series, masks["a"])
    assert read_back(objects["seg"], 2) == voxels(series, masks["b"])


def test_overlapping_segments_both_stay_whole(tmp_path: Path) -> None:
    series = small_series(tmp_path / "ct")
    masks = {"a": box_mask(series, 1, 3, 3, 3, 6, 6), "b": box_mask(series, 2, 3, 5, 5, 6, 6)}
    made = reading(ReaderState.FOUND, [nodule("f1", segment="a"), nodule("f22", segment="b")])
    objects = encode(made, series, masks)
    validate(objects["seg"], tmp_path)
    assert dcmread(io.BytesIO(objects["seg"])).SegmentsOverlap == "YES"
    assert read_back(objects["seg"], 1) == voxels(series, masks["a"])
    assert read_back(objects["seg"], 2) == voxels(series, masks["b"])


def test_segments_side_by_side_on_one_image_do_not_overlap(tmp_path: Path) -> None:
    series = small_series(tmp_path / "ct")
    masks = {"a": box_mask(series, 1, 3, 3, 3, 6, 6), "b": box_mask(series, 2, 3, 3, 9, 6, 6)}
    objects = encode(reading(ReaderState.FOUND, [nodule("f1", segment="a"), nodule("f22", segment="b")]), series, masks)
    assert dcmread(io.BytesIO(objects["seg"])).SegmentsOverlap == "NO"
    assert read_back(objects["seg"], 2) == voxels(series, masks["b"])


def test_a_segment_on_one_slice_and_one_of_nothing(tmp_path: Path) -> None:
    series = small_series(tmp_path / "ct")
    one = box_mask(series, 4, 1, 3, 3, 3, 3)
    empty = SegmentMask(series.uid, (2, 0, 0), np.zeros((1, 2, 2), bool), (str(series.images[2].SOPInstanceUID),))
    made = reading(ReaderState.FOUND, [nodule("f1", segment="a"), nodule("f22", segment="b")])
    objects = encode(made, series, {"a": one, "b": empty})
    validate(objects["seg"], tmp_path)
    validate(objects["sr"], tmp_path)
    ds = dcmread(io.BytesIO(objects["seg"]))
    assert (int(ds.NumberOfFrames), len(ds.SegmentSequence)) == (1, 1)
    groups = open_sr(objects["sr"]).content
    assert len(groups.get_volumetric_roi_measurement_groups()) == 1
    assert len(groups.get_planar_roi_measurement_groups()) == 1


def test_segments_on_two_series_are_two_objects(tmp_path: Path) -> None:
    first = small_series(tmp_path / "a", study_uid="1.2.3.9", series_uid="1.2.3.9.1")
    second = small_series(tmp_path / "b", study_uid="1.2.3.9", series_uid="1.2.3.9.2")
    both = SmallSeries(first.images + second.images, first.paths + second.paths, {**first.digests, **second.digests})
    masks = {"a": box_mask(first, 1, 2, 3, 3, 3, 3), "b": box_mask(second, 2, 2, 4, 4, 3, 3)}
    made = reading(ReaderState.FOUND, [nodule("f1", segment="a"), nodule("f22", segment="b")])
    objects = encode(made, both, masks)
    assert list(objects) == ["seg", "seg-2", "sr"]
    assert read_back(objects["seg-2"], 1) == voxels(second, masks["b"])
    validate(objects["sr"], tmp_path)
    referred = {group.referenced_segment.referenced_sop_instance_uid for group in _volumetric(objects["sr"])}
    assert referred == {dcmread(io.BytesIO(objects[role])).SOPInstanceUID for role in ("seg", "seg-2")}


def _volumetric(data: bytes) -> list[Any]:
    return list(open_sr(data).content.get_volumetric_roi_measurement_groups())


def test_sr_tells_all_of_a_finding(tmp_path: Path) -> None:
    series = small_series(tmp_path / "ct")
    mask = box_mask(series, 1, 2, 3, 3, 3, 3)
    made = reading(ReaderState.FOUND, [nodule("f1", segment="a"), nodule("f22")])
    objects = encode(made, series, {"a": mask})
    validate(objects["sr"], tmp_path)
    document = open_sr(objects["sr"])
    assert (document.CompletionFlag, document.VerificationFlag, document.PreliminaryFlag) == (
        "COMPLETE",
        "UNVERIFIED",
        "PRELIMINARY",
    )
    (group,) = document.content.get_volumetric_roi_measurement_groups()
    assert (group.tracking_identifier, group.tracking_uid) == ("track f1", "2.25.1002")
    assert group.finding_type.value == "27925004"
    (site,) = group.finding_sites
    assert (site.value.value, site.laterality.value) == ("39607008", "24028007")
    measured = {m.name.meaning: (m.value, m.unit.value) for m in group.get_measurements()}
    assert measured == {
        "Volume": (2245.12346, "mm3"),
        "Attenuation Coefficient": (-12.5, "[hnsf'U]"),
        "Long axis": (20.6, "mm"),
        "Short axis": (15.5, "mm"),
        "Certainty of Finding": (87.34, "%"),
    }
    (point,) = document.content.get_planar_roi_measurement_groups()
    assert np.allclose(point.roi.value, [[-40.25, 12.5, 9.75]])
    assert point.roi.frame_of_reference_uid == "1.2.3.4"
    said = "\n".join(texts(document))
    for expected in ("research use only", "no person has verified", "lung-nodule", "ab" * 32, "Evidence level 1"):
        assert expected in said.replace("Lung nodules", "lung-nodule")
    evidence = document.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    referred = {item.ReferencedSOPInstanceUID for one in evidence for item in one.ReferencedSOPSequence}
    assert {ds.SOPInstanceUID for ds in series.images} < referred


def test_an_axis_that_is_measured_is_not_written_twice(tmp_path: Path) -> None:
    series = small_series(tmp_path / "ct")
    own = Measurement(code=code("long-axis"), value=21.4, unit=code("mm"))
    objects = encode(reading(ReaderState.FOUND, [nodule(measurements=(own,))]), series)
    (group,) = open_sr(objects["sr"]).content.get_planar_roi_measurement_groups()
    measured = [(m.name.meaning, m.value) for m in group.get_measurements()]
    assert measured == [("Long axis", 21.4), ("Short axis", 15.5), ("Certainty of Finding", 87.34)]


def test_points_on_images_and_findings_without_place(tmp_path: Path) -> None:
    series = small_series(tmp_path / "ct")
    place = ImagePlace(sop_instance_uid=str(series.images[2].SOPInstanceUID), column=4, row=7)
    made = reading(ReaderState.FOUND, [nodule("f1", place=place), nodule("f22", place=StudyPlace(), site=None)])
    objects = encode(made, series)
    validate(objects["sr"], tmp_path)
    document = open_sr(objects["sr"])
    (point,) = document.content.get_planar_roi_measurement_groups()
    assert np.allclose(point.roi.value, [[4.5, 7.5]])
    (plain,) = document.content.get_image_measurement_groups()
    evaluations = {e.name.meaning: e.value.meaning for e in plain.get_qualitative_evaluations()}
    assert evaluations["Laterality"] == "Right"


@pytest.mark.parametrize(
    ("state", "reason", "expected"),
    [
        (ReaderState.NOTHING_FOUND, "", "read, nothing found"),
        (ReaderState.ABSTAINED, "not a chest CT", "abstained: not a chest CT"),
        (ReaderState.FAILED, "ran out of memory", "failed: ran out of memory"),
        (ReaderState.PARTIAL, "4 slices are missing", "read an incomplete study: 4 slices are missing"),
    ],
)
def test_every_state_is_written(tmp_path: Path, state: ReaderState, reason: str, expected: str) -> None:
    series = small_series(tmp_path / "ct")
    objects = encode(reading(state, reason=reason), series, partial="4 slices are missing.")
    assert list(objects) == ["sr"]
    validate(objects["sr"], tmp_path)
    said = "\n".join(texts(open_sr(objects["sr"])))
    assert expected in said
    assert "Partial study: 4 slices are missing." in said
    # No reader says that nothing is there.
    assert "Absent" not in str(dcmread(io.BytesIO(objects["sr"])))


def test_same_input_same_bytes_whenever(tmp_path: Path) -> None:
    series = small_series(tmp_path / "ct")
    made = reading(ReaderState.FOUND, [nodule("f1", segment="a", tracking_uid="")])
    masks = {"a": box_mask(series, 1, 2, 3, 3, 3, 3)}
    first = encode(made, series, masks)
    time.sleep(1.1)
    turned = SmallSeries(series.images, series.paths[::-1], series.digests)
    assert encode(made, turned, masks) == first


def test_other_input_other_uids(tmp_path: Path) -> None:
    series = small_series(tmp_path / "ct")
    made = reading(ReaderState.FOUND, [nodule()])

    def uids(**values: Any) -> set[str]:
        given = {"made": made, "series": series, **values}
        ds = dcmread(io.BytesIO(encode(**given)["sr"]))
        return {ds.SOPInstanceUID, ds.SeriesInstanceUID}

    base = uids()
    assert all(is_uid(uid) for uid in base)
    changed_pixels = SmallSeries(series.images, series.paths, {uid: "11" for uid in series.digests})
    for other in (
        {"series": changed_pixels},
        {"made": made.model_copy(update={"weights_sha256": "ef" * 32})},
        {"made": made.model_copy(update={"configuration_sha256": "ef" * 32})},
        {"made": made.model_copy(update={"findings": ()})},
        {"read_at": AT + timedelta(seconds=1)},
    ):
        assert not base & uids(**other)


@pytest.mark.parametrize(
    ("charset", "name", "expected"),
    [
        ("ISO_IR 100", "Müller^Jörg", "Müller^Jörg"),
        ("ISO_IR 126", "Διονυσιος", "Διονυσιος"),
        ("ISO_IR 192", "Wang^XiaoDong=王^小东", "Wang^XiaoDong=王^小东"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    ],
)
def test_names_of_any_character_set(tmp_path: Path, charset: Any, name: str, expected: str) -> None:
    series = small_series(tmp_path / "ct", SpecificCharacterSet=charset, patient_name=name)
    made = reading(ReaderState.FOUND, [nodule(segment="a")])
    for data in encode(made, series, {"a": box_mask(series, 1, 2, 3, 3, 3, 3)}).values():
        validate(data, tmp_path)
        ds = dcmread(io.BytesIO(data))
        assert ds.SpecificCharacterSet == "ISO_IR 192"
        assert str(ds.PatientName) == expected


def test_sloppy_headers(tmp_path: Path) -> None:
    images = ct_series(5)
    for ds in images:
        for keyword in ("PatientBirthDate", "AccessionNumber", "StudyID", "StudyTime", "ReferringPhysicianName"):
            delattr(ds, keyword)
        del ds.Manufacturer
        ds.PatientSex = "female"
        ds.StudyDescription = "CT\nchest"
    series = save_series(tmp_path / "ct", images)
    # Values no library would write: a DS of more than 16 characters, a date with dots, a DS that is no number.
    for path, ds in zip(series.paths, images, strict=True):
        data = path.read_bytes()
        z = float(ds.ImagePositionPatient[2])
        for old, new in ((b"DA\x08\x0020260101", b"DA\x0a\x002026.01.01"), (b"DS\x04\x003.0 ", b"DS\x06\x003,0mm ")):
            assert old in data
            data = data.replace(old, new)
        long = f"-160.00000000000000001\\-160.0\\{z:.6f}".encode()
        long += b" " * (len(long) % 2)
        short = f"-160.0\\-160.0\\{z}".encode()
        short += b" " * (len(short) % 2)
        start = data.index(b"DS" + len(short).to_bytes(2, "little") + short)
        data = data[:start] + b"DS" + len(long).to_bytes(2, "little") + long + data[start + 4 + len(short) :]
        path.write_bytes(data)
    made = reading(ReaderState.FOUND, [nodule(segment="a")])
    mask = box_mask(series, 1, 2, 3, 3, 3, 3)
    objects = encode(made, series, {"a": mask})
    for data in objects.values():
        validate(data, tmp_path)
        written = dcmread(io.BytesIO(data))
        assert (written.StudyDate, written.PatientSex, written.AccessionNumber) == ("20260101", "", "")
    assert read_back(objects["seg"], 1) == voxels(series, mask)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    series = small_series(tmp_path / "ct")
    made = reading(ReaderState.FOUND, [nodule(segment="a")])
    outside = box_mask(series, 1, 2, 30, 3, 6, 3)
    with pytest.raises(BadInput, match="beyond"):
        encode(made, series, {"a": outside})
    sizes = ct_series(8)
    sizes[2].Rows, sizes[2].PixelData = 8, sizes[2].PixelData[: 8 * sizes[2].Columns * 2]
    mixed = save_series(tmp_path / "mixed", sizes)
    with pytest.raises(BadInput, match="one size"):
        encode(made, mixed, {"a": box_mask(mixed, 1, 2, 3, 3, 3, 3)})
    foreign = SegmentMask(series.uid, (0, 0, 0), np.ones((1, 2, 2), bool), ("1.2.3",))
    with pytest.raises(BadInput, match="not among"):
        encode(made, series, {"a": foreign})
    with pytest.raises(BadInput):
        encode_reading(made, {}, [], {}, AT)
    (tmp_path / "junk").write_bytes(b"not DICOM")
    with pytest.raises(BadInput):
        encode_reading(made, {}, [tmp_path / "junk"], {}, AT)


def test_no_library_warning_quotes_the_patient(
    tmp_path: Path, recwarn: pytest.WarningsRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    # A name of one component and an identifier too long for LO are what the libraries complain about.
    series = small_series(tmp_path / "ct", patient_name="Secretname", PatientSex="F")
    for path in series.paths:
        path.write_bytes(path.read_bytes().replace(b"DA\x08\x0019500101", b"DA\x08\x00SECRETXX"))
    recwarn.clear()
    caplog.clear()
    made = reading(ReaderState.FOUND, [nodule(segment="a")])
    objects = encode(made, series, {"a": box_mask(series, 1, 2, 3, 3, 3, 3)})
    assert b"Secretname" in objects["sr"]
    said = caplog.text + "".join(str(warning.message) for warning in recwarn)
    assert "secret" not in said.lower()


def test_images_without_frame_of_reference(tmp_path: Path) -> None:
    images = ct_series(6)
    for ds in images:
        del ds.FrameOfReferenceUID
    series = save_series(tmp_path / "ct", images)
    place = PatientPlace(frame_of_reference_uid="", position_lps_mm=(1, 2, 3))
    made = reading(
        ReaderState.FOUND,
        [nodule("f1", segment="a", place=place, tracking_uid="no UID"), nodule("f22", place=place)],
    )
    mask = box_mask(series, 1, 2, 3, 3, 3, 3)
    objects = encode(made, series, {"a": mask})
    for data in objects.values():
        validate(data, tmp_path)
    assert read_back(objects["seg"], 1) == voxels(series, mask)
    (point,) = open_sr(objects["sr"]).content.get_planar_roi_measurement_groups()
    assert point.roi.frame_of_reference_uid == dcmread(io.BytesIO(objects["seg"])).FrameOfReferenceUID


def test_a_study_with_objects_that_are_no_images(tmp_path: Path) -> None:
    series = small_series(tmp_path / "ct")
    own = tmp_path / "sr.dcm"
    own.write_bytes(encode(reading(ReaderState.NOTHING_FOUND), series)["sr"])
    both = SmallSeries(series.images, [own, *series.paths], series.digests)
    again = encode(reading(ReaderState.FOUND, [nodule()]), both)
    validate(again["sr"], tmp_path)
    assert len(open_sr(again["sr"]).content.get_planar_roi_measurement_groups()) == 1
