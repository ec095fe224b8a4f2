"""From files to volumes: geometry, order, gaps, duplicates, and each refusal by its name."""

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from readingroom.imaging.series import SeriesResult, read_series

Make = Callable[..., list[Dataset]]


def _write(folder: Path, datasets: Sequence[Dataset]) -> list[Path]:
    paths = []
    for n, ds in enumerate(datasets):
        paths.append(folder / f"{n:03}.dcm")
        ds.save_as(paths[-1], enforce_file_format=True)
    return paths


def _codes(result: SeriesResult) -> dict[str, bool]:
    return {p.code: p.fatal for p in result.problems}


@pytest.mark.parametrize("seed", range(3))
def test_file_order_and_numbers_are_not_trusted(make_series: Make, tmp_path: Path, seed: int) -> None:
    series = make_series(slices=7, PixelSpacing=[2.0, 3.0])
    for ds in series:
        ds.InstanceNumber = random.Random(seed).randint(1, 99)
    expected = np.stack([ds.pixel_array.astype(int) - 1024 for ds in series])
    random.Random(seed).shuffle(series)
    result = read_series(_write(tmp_path, series))
    volume = result.volume
    assert volume is not None
    assert result.problems == ()
    np.testing.assert_array_equal(volume.array, expected)
    assert volume.array.dtype == np.int16
    assert volume.unit == "HU"
    # PixelSpacing is rows, columns; the volume's order is slice, row, column.
    np.testing.assert_allclose(volume.spacing_mm, (3.0, 2.0, 3.0))
    np.testing.assert_allclose(volume.to_lps(np.array([2.0, 5.0, 7.0])), (-160 + 21, -160 + 10, 6.0))
    np.testing.assert_allclose(volume.to_index(np.array([-139.0, -150.0, 6.0])), (2, 5, 7))


def test_affine_matches_each_slice_of_an_oblique_stack(make_series: Make, tmp_path: Path) -> None:
    row, column = np.array([0.8, 0.6, 0.0]), np.array([0.36, -0.48, 0.8])
    normal = np.cross(row, column)
    series = make_series(slices=5, ImageOrientationPatient=[*row, *column])
    for k, ds in enumerate(series):
        ds.ImagePositionPatient = [round(float(v), 6) for v in np.array([10, 20, 30]) + k * 2.5 * normal]
    volume = read_series(_write(tmp_path, series[::-1])).volume
    assert volume is not None
    assert np.linalg.det(volume.affine[:3, :3]) > 0
    for k, uid in enumerate(volume.sop_instance_uids):
        ds = next(d for d in series if uid == d.SOPInstanceUID)
        # PS3.3 C.7.6.2.1-1, written out.
        expected = np.array(ds.ImagePositionPatient) + row * 10.0 * 4 + column * 10.0 * 3
        np.testing.assert_allclose(volume.to_lps(np.array([k, 3, 4])), expected, atol=1e-5)


def test_a_gap_is_named_and_nothing_is_invented(make_series: Make, tmp_path: Path) -> None:
    series = make_series(slices=9)
    del series[4:6]
    result = read_series(_write(tmp_path, series))
    volume = result.volume
    assert volume is not None
    assert volume.array.shape[0] == 7
    assert volume.irregular
    assert volume.slice_positions_mm == (0, 3, 6, 9, 18, 21, 24)
    assert _codes(result) == {"missing-slice": False}
    assert "2 slices missing between 9.00 and 18.00 mm" in result.problems[0].detail
    # Past the gap, places are still right in both directions.
    np.testing.assert_allclose(volume.to_lps(np.array([4.0, 0, 0]))[2], 18.0)
    np.testing.assert_allclose(volume.to_index(np.array([-160, -160, 21.0]))[0], 5.0)
    points = np.array([[0.5, 3, 4], [3.5, 1, 2], [5.25, 0, 0], [-1, 0, 0], [8, 0, 0]])
    np.testing.assert_allclose(volume.to_index(volume.to_lps(points)), points, atol=1e-9)


def test_irregular_spacing_is_named(make_series: Make, tmp_path: Path) -> None:
    series = make_series(slices=5)
    for ds, z in zip(series, (0, 3, 7.2, 9, 12.9), strict=True):
        ds.ImagePositionPatient[2] = z
    result = read_series(_write(tmp_path, series))
    assert _codes(result) == {"irregular-spacing": False}
    assert result.volume is not None
    assert result.volume.irregular


def test_positions_win_over_declared_spacing(make_series: Make, tmp_path: Path) -> None:
    result = read_series(_write(tmp_path, make_series(slices=4, SpacingBetweenSlices=99.0, SliceThickness=42.0)))
    assert result.volume is not None
    assert result.volume.spacing_mm[0] == pytest.approx(3.0)
    assert result.problems == ()


def test_identical_copies_are_dropped_and_named(make_series: Make, tmp_path: Path) -> None:
    series = make_series(slices=5)
    copy = dcmread(_write(tmp_path, series)[2])
    copy.SOPInstanceUID = copy.file_meta.MediaStorageSOPInstanceUID = "1.2.3.99"
    copy.InstanceNumber = 77
    result = read_series(_write(tmp_path, [*series, copy]))
    assert result.volume is not None
    assert result.volume.array.shape[0] == 5
    assert _codes(result) == {"duplicate-slice": False}
    assert "image 77" in result.problems[0].detail


def test_different_images_at_one_position_are_refused(make_series: Make, tmp_path: Path) -> None:
    series = make_series(slices=5)
    other = make_series(slices=1, series_uid=series[0].SeriesInstanceUID, pixels=np.full((32, 32), 7, np.uint16))[0]
    result = read_series(_write(tmp_path, [*series, other]))
    assert result.volume is None
    assert _codes(result) == {"duplicate-slice": True}


@pytest.mark.parametrize("keyword", ["EchoTime", "DiffusionBValue", "TemporalPositionIdentifier", "TriggerTime"])
def test_an_extra_axis_is_named(make_series: Make, tmp_path: Path, keyword: str) -> None:
    first = make_series(slices=4, **{keyword: 10})
    second = make_series(slices=4, series_uid=first[0].SeriesInstanceUID, **{keyword: 80})
    result = read_series(_write(tmp_path, [*first, *second]))
    assert result.volume is None
    assert _codes(result) == {"extra-axis": True}
    assert keyword in result.problems[0].detail


def test_a_tilt_tag_without_shear_is_harmless(make_series: Make, tmp_path: Path) -> None:
    result = read_series(_write(tmp_path, make_series(slices=4, GantryDetectorTilt=12.0)))
    assert result.volume is not None


def test_a_localizer_in_the_series_is_left_out_and_named(make_series: Make, tmp_path: Path) -> None:
    series = make_series(slices=5)
    series += make_series(
        slices=1,
        series_uid=series[0].SeriesInstanceUID,
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
        ImageOrientationPatient=[1, 0, 0, 0, 0, -1],
    )
    result = read_series(_write(tmp_path, series))
    assert result.volume is not None
    assert result.volume.array.shape[0] == 5
    assert _codes(result) == {"localizer-in-series": False}
    assert _codes(read_series(_write(tmp_path, series[-1:]))) == {"localizer": True}


def test_few_that_differ_are_left_out_many_are_refused(make_series: Make, tmp_path: Path) -> None:
    series = make_series(slices=8)
    uid = series[0].SeriesInstanceUID
    odd = make_series(slices=1, series_uid=uid, rows=16, columns=16)
    result = read_series(_write(tmp_path, [*series, *odd]))
    assert result.volume is not None
    assert _codes(result) == {"mixed-size": False}
    turned = make_series(slices=8, series_uid=uid, ImageOrientationPatient=[0, 1, 0, 0, 0, -1])
    result = read_series(_write(tmp_path, [*series, *turned]))
    assert result.volume is None
    assert _codes(result) == {"mixed-orientation": True}


def test_no_position_single_slice_and_multi_frame_are_refused(make_series: Make, tmp_path: Path) -> None:
    series = make_series(slices=3)
    for ds in series:
        del ds.ImagePositionPatient
    assert _codes(read_series(_write(tmp_path, series))) == {"no-position": True}
    assert _codes(read_series(_write(tmp_path, make_series(slices=1)))) == {"single-slice": True}
    enhanced = make_series(slices=1)[0]
    enhanced.NumberOfFrames, enhanced.PixelData = 2, enhanced.PixelData * 2
    assert _codes(read_series(_write(tmp_path, [enhanced]))) == {"multi-frame": True}
    assert _codes(read_series([])) == {"unreadable": True}


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"1e999\\-160.0\\0.0 ", "no-position"),
        (b"-1.0e9\\-160.0\\3. ", "no-position"),
        (b"nan\\nan\\inf       ", "no-position"),
    ],
)
def test_impossible_positions_are_no_positions(make_series: Make, tmp_path: Path, raw: bytes, code: str) -> None:
    paths = _write(tmp_path, make_series(slices=4))
    paths[0].write_bytes(paths[0].read_bytes().replace(b"-160.0\\-160.0\\0.0 ", raw.ljust(18)))
    result = read_series(paths)
    assert result.volume is not None
    assert result.volume.array.shape[0] == 3
    assert _codes(result) == {code: False}


def test_undecodable_slices_are_named_and_count_as_missing(make_series: Make, tmp_path: Path) -> None:
    series = make_series(slices=7)
    paths = _write(tmp_path, series)
    paths[3].write_bytes(paths[3].read_bytes()[:-500])
    (tmp_path / "junk.dcm").write_bytes(b"not DICOM")
    result = read_series([*paths, tmp_path / "junk.dcm"])
    assert result.volume is not None
    assert result.volume.array.shape[0] == 6
    assert _codes(result) == {"unreadable": False, "undecodable": False, "missing-slice": False}
    undecodable = next(p for p in result.problems if p.code == "undecodable")
    assert undecodable.sop_instance_uids == (str(series[3].SOPInstanceUID),)


def test_fractional_slopes_by_slice_make_a_float_volume(make_series: Make, tmp_path: Path) -> None:
    series = make_series(slices=3)
    for k, ds in enumerate(series):
        ds.RescaleSlope, ds.RescaleIntercept = 1 + k * 0.25, -1000
    volume = read_series(_write(tmp_path, series)).volume
    assert volume is not None
    assert volume.array.dtype == np.float32
    for k, ds in enumerate(series):
        np.testing.assert_allclose(volume.array[k], ds.pixel_array * (1 + k * 0.25) - 1000)


def test_mirrored_storage_is_flagged_and_places_stay_right(make_series: Make, tmp_path: Path) -> None:
    series = make_series(slices=4, ImageOrientationPatient=[-1, 0, 0, 0, 1, 0])
    result = read_series(_write(tmp_path, series))
    assert _codes(result) == {"mirrored": False}
    volume = result.volume
    assert volume is not None
    assert np.linalg.det(volume.affine[:3, :3]) > 0
    assert volume.to_lps(np.array([0, 0, 5]))[0] == pytest.approx(-160 - 50)
    assert volume.sop_instance_uids[0] == str(series[-1].SOPInstanceUID)


def test_headers_hold_no_identity(make_series: Make, tmp_path: Path) -> None:
    result = read_series(_write(tmp_path, make_series(slices=3, patient_name="Secret^Name", patient_id="SECRET-1")))
    text = repr(result.headers) + repr(result.problems)
    assert result.headers["PatientPosition"] == "HFS"
    assert "ecret" not in text
    assert "SECRET" not in text


def test_lidc_geometry(shared_data: Path) -> None:
    paths = sorted((shared_data / "lung_ct_lidc_0314").glob("*.dcm"))
    result = read_series(paths)
    volume = result.volume
    assert volume is not None
    assert result.problems == ()
    assert volume.array.shape == (275, 512, 512)
    np.testing.assert_allclose(volume.spacing_mm, (1.0, 0.78125, 0.78125), atol=1e-6)
    assert volume.array.min() == -1000
    assert volume.array.max() < 3100
    # The files descend in z: the first file is the last slice.
    first = dcmread(paths[0])
    assert volume.sop_instance_uids[-1] == str(first.SOPInstanceUID)
    np.testing.assert_array_equal(volume.array[-1], first.pixel_array.astype(int) - 1000)
    # The marked nodule (SOURCE.md) is dense tissue with lung around it.
    k, j, i = np.rint(volume.to_index(np.array([-57.27, 131.30, -520.56]))).astype(int)
    assert volume.array[k - 2 : k + 3, j - 2 : j + 3, i - 2 : i + 3].mean() > -200


def test_every_interop_series_gives_a_volume_or_a_named_refusal(shared_data: Path) -> None:
    series = defaultdict(list)
    for path in sorted((shared_data / "dicom_interop").rglob("*.dcm")):
        try:
            ds = dcmread(path, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"])
        except InvalidDicomError:
            series[path].append(path)
            continue
        series[(ds.get("SeriesInstanceUID"), path.parent)].append(path)
    refused: set[str] = set()
    volumes = 0
    for paths in series.values():
        result = read_series(paths)
        fatal = [p.code for p in result.problems if p.fatal]
        assert (result.volume is None) == (len(fatal) == 1), (paths[0].name, fatal)
        refused.update(fatal)
        volumes += result.volume is not None
    assert volumes >= 4
    assert {"multi-frame", "not-an-image", "single-slice", "localizer", "mixed-orientation"} <= refused


def test_interop_enhanced_by_name(shared_data: Path) -> None:
    folder = shared_data / "dicom_interop" / "dicom2nifti"
    enhanced = read_series(sorted((folder / "philips_enhanced/anatomical/001").glob("*.dcm")))
    assert _codes(enhanced) == {"multi-frame": True}
