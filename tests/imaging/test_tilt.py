"""A tilted gantry is straightened: known marks come back to their places, voxels to the pixels they came from."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
import SimpleITK as sitk
from content_support import AT, save_series
from pydicom import dcmread
from pydicom.dataset import Dataset
from scipy import ndimage

from readingroom.findings.codes import code
from readingroom.findings.model import Evidence, Finding, PatientPlace, ReaderState, SegmentMask
from readingroom.imaging.resample import along_patient, resample_box
from readingroom.imaging.series import SeriesResult, read_series
from readingroom.imaging.volume import Volume
from readingroom.objects.reading_objects import encode_reading
from readingroom.readers.contract import (
    Applicability,
    Card,
    Progress,
    ReadingOutput,
    ReadingRequest,
    SeriesType,
    TypedSeries,
)
from readingroom.readers.runner import run_reader

Make = Callable[..., list[Dataset]]

MARKS = np.array([[-22.3, -15.1, 21.4], [18.8, -21.6, 30.2], [3.7, 20.9, 41.5], [-9.0, 5.5, 55.0]])
"""Middles of balls, LPS mm."""
PIXEL = (1.1, 0.9)
"""Between rows, between columns; mm."""
SIZE = 96
STEP = 2.5


def _directions(tilt_degrees: float, swivel_degrees: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Row and column direction of an axial slice turned about x, then swivelled about y."""
    a, b = np.radians([tilt_degrees, swivel_degrees])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    return about_y @ [1, 0, 0], about_y @ [0, np.cos(a), np.sin(a)]


def _tilted(
    make_series: Make, row: np.ndarray, column: np.ndarray, heights: Sequence[float], value: Callable[..., np.ndarray],
    **keywords: Any,
) -> list[Dataset]:  # fmt: skip
    """A series whose table moves along z; every pixel holds ``value(its place, LPS mm)``, by PS3.3 C.7.6.2.1-1."""
    images = make_series(slices=len(heights), rows=SIZE, columns=SIZE, **keywords)
    j, i = np.mgrid[:SIZE, :SIZE][..., None]
    middle = (SIZE - 1) / 2
    for ds, z in zip(images, heights, strict=True):
        corner = np.array([0, 0, z]) - middle * PIXEL[0] * column - middle * PIXEL[1] * row
        ds.PixelSpacing = list(PIXEL)
        ds.ImageOrientationPatient = [round(float(v), 9) for v in (*row, *column)]
        ds.ImagePositionPatient = [round(float(v), 7) for v in corner]
        places = corner + i * PIXEL[1] * row + j * PIXEL[0] * column
        ds.PixelData = np.rint(value(places) + 1024).astype("<u2").tobytes()
    return images


def _balls(places: np.ndarray) -> np.ndarray:
    away = np.linalg.norm(places[..., None, :] - MARKS, axis=-1)
    return np.asarray(-100 + 900 * np.exp(-((away / 6.0) ** 2)).max(axis=-1))


def _read(folder: Path, images: list[Dataset]) -> SeriesResult:
    return read_series(save_series(folder, images).paths)


def _marks_of(volume: Volume) -> np.ndarray:
    """Middles of the balls, weighted by what lies above the ground, found in the voxels of the volume; LPS mm."""
    labels, count = ndimage.label(volume.array > 200)
    assert count == len(MARKS)
    found = volume.to_lps(
        np.array(ndimage.center_of_mass(np.maximum(volume.array + 100.0, 0), labels, range(1, count + 1)))
    )
    away = np.linalg.norm(found[:, None] - MARKS, axis=-1)
    return np.asarray(found[away.argmin(axis=0)])


@pytest.mark.parametrize(
    ("tilt", "swivel", "turned", "tag"),
    [
        (18.0, 0.0, False, 18.0),
        (-25.0, 0.0, False, None),
        # The tag's sign lies, or the tag does.
        (12.0, 0.0, False, -12.0),
        (30.0, 0.0, True, 0.0),
        (0.0, 14.0, False, None),
        (15.0, -10.0, True, 3.0),
    ],
)
def test_marks_come_back_to_their_places(
    make_series: Make, tmp_path: Path, tilt: float, swivel: float, turned: bool, tag: float | None
) -> None:
    row, column = _directions(tilt, swivel)
    if turned:
        row, column = -row, column
    keywords = {} if tag is None else {"GantryDetectorTilt": tag}
    result = _read(tmp_path, _tilted(make_series, row, column, np.arange(0, 65, STEP), _balls, **keywords))
    volume = result.volume
    assert volume is not None
    problem = next(p for p in result.problems if p.code == "tilted-gantry")
    degrees = np.degrees(np.arccos(abs(np.cross(row, column)[2])))
    assert not problem.fatal
    assert f"{degrees:.1f} degrees" in problem.detail
    # Upright: perpendicular axes, slices their distance along the normal apart.
    axes = volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-6)
    assert volume.spacing_mm == pytest.approx((STEP * np.cos(np.radians(degrees)), *PIXEL), abs=1e-6)
    # Far below a voxel: 0.1 mm.
    assert np.linalg.norm(_marks_of(volume) - MARKS, axis=1).max() < 0.1


def test_every_pixel_of_every_image_has_its_voxel_and_back(make_series: Make, tmp_path: Path) -> None:
    row, column = _directions(17.0, 5.0)
    images = _tilted(make_series, row, column, np.arange(0, 40, STEP), lambda p: p @ (2.0, 3.0, -4.0) + 300)
    volume = _read(tmp_path, images).volume
    assert volume is not None
    assert volume.source is not None
    random = np.random.default_rng(3)
    by_uid = {ds.SOPInstanceUID: ds for ds in images}
    for k, uid in enumerate(volume.sop_instance_uids):
        corner = np.array(by_uid[uid].ImagePositionPatient, float)
        pixels = random.uniform(0, SIZE - 1, (20, 2))
        places = corner + pixels[:, :1] * PIXEL[0] * column + pixels[:, 1:] * PIXEL[1] * row
        index = volume.to_index(places)
        np.testing.assert_allclose(index[:, 0], k, atol=1e-4)
        np.testing.assert_allclose(index[:, 1:] + volume.source.to_pixel[k], pixels, atol=1e-4)
        told, i, j = volume.to_pixel(index[0])
        assert told == uid
        assert (j, i) == pytest.approx(tuple(pixels[0]), abs=1e-4)
        # A linear field is the same after linear interpolation; all of it is there, and nothing else but air.
        inside = volume.array[k] != -1024
        assert (SIZE - 1) ** 2 <= inside.sum() <= SIZE**2
        here = np.argwhere(inside)
        places = volume.to_lps(np.column_stack([np.full(len(here), k), here]))
        np.testing.assert_allclose(volume.array[k][inside], places @ (2.0, 3.0, -4.0) + 300, atol=1.01)
    with pytest.raises(IndexError):
        volume.to_pixel(np.array([len(images), 0, 0]))
    for grid in (resample_box(volume, np.array([0, 0, 20.0]), 20.0), along_patient(volume, 4.0)):
        index = np.argwhere(grid.array > -1000)
        np.testing.assert_allclose(grid.array[tuple(index.T)], grid.to_lps(index) @ (2.0, 3.0, -4.0) + 300, atol=1.01)


def test_as_simpleitk_resamples_the_sheared_block(make_series: Make, tmp_path: Path) -> None:
    row, column = _directions(20.0)
    images = _tilted(make_series, row, column, np.arange(0, 65, STEP), _balls)
    volume = _read(tmp_path, images).volume
    assert volume is not None
    _same_as_simpleitk(volume, [np.array(ds.pixel_array, float) - 1024 for ds in images], images)


def _same_as_simpleitk(volume: Volume, planes: list[np.ndarray], images: list[Dataset]) -> None:
    """The published way (dicom2nifti): one sheared affine for the block, resampled on the upright grid."""
    first, last = (np.array(images[n].ImagePositionPatient, float) for n in (0, -1))
    row, column = np.array(images[0].ImageOrientationPatient, float).reshape(2, 3)
    row_mm, column_mm = map(float, images[0].PixelSpacing)
    sheared = np.eye(4)
    sheared[:3, :3] = np.column_stack([row * column_mm, column * row_mm, (last - first) / (len(images) - 1)])
    sheared[:3, 3] = first
    to_block = np.linalg.inv(sheared) @ volume.affine
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(to_block[:3, :3].ravel().tolist())
    transform.SetTranslation(to_block[:3, 3].tolist())
    block = sitk.GetImageFromArray(np.stack(planes).astype(np.float32))
    size = [int(n) for n in volume.array.shape[::-1]]
    one = [1.0, 1.0, 1.0]
    done = sitk.Resample(
        block, size, transform, sitk.sitkLinear, [0.0, 0.0, 0.0], one, np.eye(3).ravel().tolist(), -1024.0
    )
    theirs = sitk.GetArrayFromImage(done)
    both = (theirs != -1024) & (volume.array != -1024)
    assert both.mean() > 0.5
    assert np.abs(theirs - volume.array)[both].max() <= 1.0


def test_a_gap_in_a_tilted_stack_is_named_and_places_hold(make_series: Make, tmp_path: Path) -> None:
    row, column = _directions(18.0)
    heights = [z for n, z in enumerate(np.arange(0, 65, STEP)) if n not in (2, 3)]
    result = _read(tmp_path, _tilted(make_series, row, column, heights, _balls))
    assert {p.code: p.fatal for p in result.problems} == {"missing-slice": False, "tilted-gantry": False}
    assert result.volume is not None
    assert result.volume.irregular
    assert np.linalg.norm(_marks_of(result.volume) - MARKS, axis=1).max() < 0.4


def test_what_no_gantry_does_is_refused(make_series: Make, tmp_path: Path) -> None:
    heights = np.arange(0, 30, STEP)
    row, column = _directions(15.0)

    def code_of(name: str, images: list[Dataset]) -> str:
        result = _read(tmp_path / name, images)
        assert result.volume is None
        return next(p.code for p in result.problems if p.fatal)

    zigzag = _tilted(make_series, row, column, heights, _balls)
    for ds in zigzag[::2]:
        ds.ImagePositionPatient[1] += 3
    assert code_of("zigzag", zigzag) == "shifted-slices"
    # The tilt changed half-way: the second half has another orientation.
    uid = zigzag[0].SeriesInstanceUID
    varying = _tilted(make_series, *_directions(15.0), heights[:6], _balls, series_uid=uid)
    varying += _tilted(make_series, *_directions(20.0), heights[6:], _balls, series_uid=uid)
    assert code_of("varying", varying) == "mixed-orientation"
    # One orientation, but the table's way bends.
    bent = _tilted(make_series, row, column, heights, _balls)
    for n, ds in enumerate(bent[6:]):
        ds.ImagePositionPatient[1] += n
    assert code_of("bent", bent) == "shifted-slices"
    assert code_of("askew", _tilted(make_series, *_directions(55.0), heights, _balls)) == "shifted-slices"


def test_a_tilted_series_beyond_the_memory_of_this_machine_is_refused(
    make_series: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = _tilted(make_series, *_directions(30.0), np.arange(0, 65, STEP), _balls)
    # Room for the images as they are, not for the upright grid.
    monkeypatch.setattr("readingroom.imaging.series._LARGEST_VOLUME", 2 * len(images) * SIZE * SIZE + 100)
    result = _read(tmp_path, images)
    assert [(p.code, p.fatal) for p in result.problems] == [("too-large", True)]


class Threshold:
    """A reader that marks what is brighter than 500 HU, ball by ball, with the brightness as heat map."""

    card = Card(
        name="threshold", version="1", title="t", question="q", takes="x", finds=(), evidence_level=0,
        evidence="none", operating_point=0.5, limits=(), weights_licence="none", data=(),
    )  # fmt: skip
    weights_sha256 = "w"
    configuration_sha256 = "c"

    def applies(self, series: tuple[TypedSeries, ...]) -> Applicability:
        return Applicability(applies=True, reason="")

    def read(self, request: ReadingRequest, progress: Progress) -> ReadingOutput:
        volume = request.series[0].volume
        assert volume is not None
        findings, segments, heat_maps = [], {}, {}
        for n, box in enumerate(ndimage.find_objects(ndimage.label(volume.array > 500)[0])):
            middle = [(side.start + side.stop - 1) / 2 for side in box]
            x, y, z = (float(v) for v in volume.to_lps(np.array(middle)))
            segments[f"s{n}"] = SegmentMask(
                volume.series_instance_uid, tuple(side.start for side in box), volume.array[box] > 500,
                volume.sop_instance_uids[box[0]],
            )  # fmt: skip
            heat_maps[f"h{n}"] = (volume.array[box] > 700).astype(np.float32)
            place = PatientPlace(frame_of_reference_uid=volume.frame_of_reference_uid, position_lps_mm=(x, y, z))
            findings.append(
                Finding(
                    id="any", code=code("nodule"), place=place, segment=f"s{n}", evidence=Evidence(heat_map=f"h{n}")
                )
            )
        return ReadingOutput(findings=tuple(findings), segments=segments, heat_maps=heat_maps)


@pytest.mark.parametrize(("tilt", "swivel"), [(22.0, 0.0), (-12.0, 9.0)])
def test_findings_lie_on_the_images_they_were_seen_on(
    make_series: Make, tmp_path: Path, tilt: float, swivel: float
) -> None:
    row, column = _directions(tilt, swivel)
    series = save_series(tmp_path, _tilted(make_series, row, column, np.arange(0, 65, STEP), _balls))
    result = read_series(series.paths)
    typed = TypedSeries(series.uid, SeriesType(modality="CT", kind="ct-volume"), result.volume)
    reading, output = run_reader(Threshold(), ReadingRequest("1.2", (typed,)), lambda step, fraction: None)
    assert reading.state is ReaderState.FOUND, reading.reason
    assert len(reading.findings) == len(MARKS)
    by_uid = {str(ds.SOPInstanceUID): ds for ds in series.images}
    wrong = total = 0
    for finding in output.findings:
        segment, heat = output.segments[finding.segment or ""], output.heat_maps[finding.evidence.heat_map or ""]
        assert heat.shape == segment.mask.shape
        assert ((heat > 0) <= segment.mask).all()
        for uid, mask, hot in zip(segment.sop_instance_uids, segment.mask, heat, strict=True):
            image = np.array(by_uid[uid].pixel_array, int) - 1024
            box = image[segment.offset[1] :, segment.offset[2] :][: mask.shape[0], : mask.shape[1]]
            assert box.shape == mask.shape
            # Only at the rim, where half a pixel decides, may the image say otherwise.
            assert box[mask].min(initial=999) > 300
            wrong += int((mask != (box > 500)).sum())
            total += int(mask.sum())
            assert box[hot > 0].min(initial=999) > 550
    assert wrong < 0.25 * total
    objects = dict(
        encode_reading(reading, output.segments, series.paths, series.digests, read_at=AT, title="Balls", revision=1)
    )
    _segments_lie_on_the_marks(objects["seg"], tmp_path)


def _segments_lie_on_the_marks(data: bytes, folder: Path) -> None:
    """Each segment's middle, by the positions written in the SEG itself, is that of a ball."""
    path = folder / "seg.dcm"
    path.write_bytes(data)
    seg = hd.seg.segread(path)
    points: dict[int, list[np.ndarray]] = {}
    orientation = seg.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient
    row, column = np.array(orientation, float).reshape(2, 3)
    for group, plane in zip(seg.PerFrameFunctionalGroupsSequence, seg.pixel_array, strict=True):
        position = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        source = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        original = next(ds for ds in map(dcmread, folder.glob("[0-9]*.dcm")) if ds.SOPInstanceUID == source)
        np.testing.assert_allclose(position, np.array(original.ImagePositionPatient, float), atol=1e-5)
        j, i = np.nonzero(plane)
        number = int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        places = position + j[:, None] * PIXEL[0] * column + i[:, None] * PIXEL[1] * row
        points.setdefault(number, []).append(places)
    middles = np.array([np.concatenate(found).mean(axis=0) for found in points.values()])
    assert len(middles) == len(MARKS)
    away = np.linalg.norm(middles[:, None] - MARKS, axis=-1).min(axis=1)
    # Whole pixels of about a millimetre and slices of 2.5.
    assert away.max() < 0.6


@pytest.mark.data
def test_the_real_tilted_series(shared_data: Path) -> None:
    """Its geometry is a scanner's; its pixels were replaced by noise by those who published it."""
    paths = sorted((shared_data / "dicom_interop/dicom2nifti/failing/gantrytilting/001").glob("*.dcm"))
    result = read_series(paths)
    volume = result.volume
    assert volume is not None
    assert {p.code: p.fatal for p in result.problems} == {"tilted-gantry": False, "no-frame-of-reference": False}
    assert "14.0 degrees" in result.problems[0].detail
    assert volume.source is not None
    # Four slices 5 mm apart along the table, each 5 sin(14) / 0.418 = 2.89 rows past the one below.
    assert volume.spacing_mm == pytest.approx((5 * np.cos(np.radians(14)), 0.41796875, 0.41796875), abs=1e-4)
    assert volume.array.shape == (4, 512 + 9, 512)
    np.testing.assert_allclose(np.diff(volume.source.to_pixel[:, 0]), 2.894, atol=0.001)
    images = [dcmread(path) for path in paths]
    planes = [ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept) for ds in images]
    _same_as_simpleitk(volume, planes, images)
