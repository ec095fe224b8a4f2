"""Resampled grids and directions keep their places in the patient."""

import numpy as np
import pytest

from readingroom.imaging.geometry import direction_letters, mirrored_display, plane_of, slice_normal
from readingroom.imaging.resample import along_patient, resample_box
from readingroom.imaging.volume import Volume

_ORIENTATIONS = {
    "axial": [1, 0, 0, 0, 1, 0],
    "axial mirrored": [-1, 0, 0, 0, 1, 0],
    "axial prone": [-1, 0, 0, 0, -1, 0],
    "coronal": [1, 0, 0, 0, 0, -1],
    "sagittal": [0, 1, 0, 0, 0, -1],
    "oblique": [0.8, 0.6, 0, 0.36, -0.48, 0.8],
}


def _linear_volume(orientation: list[float], irregular: bool = False) -> Volume:
    """A volume whose value is a linear function of the place: v = 2 x + 3 y - 4 z + 100."""
    positions = np.array([0, 2, 4, 6, 12, 14, 16, 18, 20, 22.0]) if irregular else np.arange(10) * 2.0
    affine = np.eye(4)
    affine[:3, 0] = np.array(orientation[:3]) * 1.5
    affine[:3, 1] = np.array(orientation[3:]) * 1.25
    affine[:3, 2] = slice_normal(orientation) * 2.0
    affine[:3, 3] = (-7, 11, 5)
    empty = Volume(
        array=np.zeros((10, 14, 16), np.float32),
        affine=affine,
        frame_of_reference_uid="1.2",
        series_instance_uid="1.3",
        study_instance_uid="1.4",
        modality="CT",
        unit="HU",
        sop_instance_uids=tuple(f"1.{n}" for n in range(10)),
        frames=(1,) * 10,
        irregular=irregular,
        slice_positions_mm=tuple(positions) if irregular else (),
    )
    places = empty.to_lps(np.stack(np.meshgrid(*map(np.arange, empty.array.shape), indexing="ij"), axis=-1))
    empty.array[...] = places @ (2, 3, -4) + 100
    return empty


@pytest.mark.parametrize("name", _ORIENTATIONS)
@pytest.mark.parametrize("irregular", [False, True])
def test_resampling_a_linear_field_gives_it_back(name: str, irregular: bool) -> None:
    volume = _linear_volume(_ORIENTATIONS[name], irregular)
    centre = volume.to_lps(np.array([4.3, 6.2, 7.1]))
    region = resample_box(volume, centre, 6.0, 0.75)
    assert region.array.shape == (8, 8, 8)
    assert region.spacing_mm == pytest.approx((0.75,) * 3)
    index = np.stack(np.meshgrid(*map(np.arange, region.array.shape), indexing="ij"), axis=-1)
    places = region.to_lps(index)
    np.testing.assert_allclose(places.reshape(-1, 3).mean(axis=0), centre, atol=1e-9)
    np.testing.assert_allclose(region.array, places @ (2, 3, -4) + 100, atol=1e-2)
    np.testing.assert_allclose(region.to_index(places), index, atol=1e-9)


def test_outside_is_filled() -> None:
    volume = _linear_volume(_ORIENTATIONS["axial"])
    assert (resample_box(volume, np.array([500.0, 0, 0]), 5.0).array == -1024).all()
    edge = resample_box(volume, np.asarray(volume.affine[:3, 3]), 8.0).array
    assert (edge == -1024).any()
    assert (edge != -1024).any()


@pytest.mark.parametrize("name", _ORIENTATIONS)
def test_along_patient_grows_to_head_back_and_left(name: str) -> None:
    volume = _linear_volume(_ORIENTATIONS[name])
    coarse = along_patient(volume, 3.0)
    index = np.stack(np.meshgrid(*map(np.arange, coarse.array.shape), indexing="ij"), axis=-1)
    np.testing.assert_allclose(coarse.array, coarse.to_lps(index) @ (2, 3, -4) + 100, atol=1e-3)
    for axis, patient_axis in enumerate((2, 1, 0)):
        assert coarse.to_lps_affine[patient_axis, axis] > 0


def test_directions_have_the_standards_letters() -> None:
    assert direction_letters([1, 0, 0]) == "L"
    assert direction_letters([-1, 0, 0]) == "R"
    assert direction_letters([0, 0.9, 0.43]) == "PS"
    assert [plane_of(slice_normal(_ORIENTATIONS[n])) for n in ("axial", "coronal", "sagittal")] == [
        "axial", "coronal", "sagittal"]  # fmt: skip
    assert mirrored_display(_ORIENTATIONS["axial mirrored"])
    assert not any(mirrored_display(_ORIENTATIONS[n]) for n in ("axial", "axial prone", "coronal", "sagittal"))
