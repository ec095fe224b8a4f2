"""The simulated chest: valid objects, marked everywhere, the same twice, nodules where it says they are."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from readingroom.core.ids import is_uid
from readingroom.imaging.phantom import NoduleWish
from readingroom.imaging.resample import resample_box
from readingroom.imaging.series import read_series
from readingroom.imaging.simulate import MARK, SimulatedStudy, write_chest_ct
from readingroom.imaging.volume import Volume


def _write(folder: Path, **keywords: object) -> tuple[SimulatedStudy, Volume]:
    arguments = {"rows": 128, "slices": 40, **keywords}
    study = write_chest_ct(folder, **arguments)  # type: ignore[arg-type]
    volume = read_series(study.files).volume
    assert volume is not None
    return study, volume


def test_every_file_is_marked_simulated(tmp_path: Path) -> None:
    study, _ = _write(tmp_path)
    for path in study.files:
        ds = dcmread(path, stop_before_pixels=True)
        assert str(ds.PatientName) == "Simulated^Chest"
        assert ds.PatientID.startswith("SIM-")
        assert ds.StudyDescription.startswith(MARK)
        assert ds.SeriesDescription.startswith(MARK)
        assert "SIMULATED" in ds.ImageComments
        assert ds.QualityControlImage == "YES"
        assert is_uid(ds.SOPInstanceUID)


def test_same_arguments_same_bytes_other_seed_other_everything(tmp_path: Path) -> None:
    first, _ = _write(tmp_path / "a", slices=12, rows=64)
    again, _ = _write(tmp_path / "b", slices=12, rows=64)
    other, _ = _write(tmp_path / "c", slices=12, rows=64, seed=1)
    assert [p.read_bytes() for p in first.files] == [p.read_bytes() for p in again.files]
    assert first.nodules == again.nodules
    assert other.study_instance_uid != first.study_instance_uid
    assert other.nodules != first.nodules


def test_objects_are_valid_ct_images(tmp_path: Path) -> None:
    checker = shutil.which("dciodvfy") or Path(sys.executable).parent / "dciodvfy"
    study = write_chest_ct(tmp_path, slices=5, rows=64, tilt_degrees=5.0)
    for path in study.files[::2]:
        done = subprocess.run([str(checker), str(path)], capture_output=True, text=True, check=False)
        text = done.stdout + done.stderr
        assert "CTImage" in text
        assert "Error" not in text


@pytest.mark.parametrize(
    "keywords",
    [
        {},
        {"position": "FFS"},
        {"position": "HFP"},
        {"mirrored_rows": True},
        {"position": "HFP", "mirrored_rows": True},
        {"tilt_degrees": -18.0, "position": "HFP"},
        {"tilt_degrees": 18.0, "position": "HFS", "registered_as": "FFP", "mirrored_rows": True},
    ],
)
def test_nodules_lie_where_they_are_said_to_lie(tmp_path: Path, keywords: dict[str, object]) -> None:
    wishes = (NoduleWish(30.0, 60.0, "right", 0.6), NoduleWish(24.0, 60.0, "left", 0.45))
    study, volume = _write(tmp_path, rows=192, slices=100, nodules=wishes, **keywords)
    for nodule in study.nodules:
        inside = resample_box(volume, np.array(nodule.lps_mm), nodule.diameter_mm / 3, 1.0).array
        assert inside.mean() == pytest.approx(60, abs=25)
        # Its volume, by threshold, is that of the ball it says it is.
        box = resample_box(volume, np.array(nodule.lps_mm), nodule.diameter_mm * 1.4, 1.0).array
        measured = 2 * ((box > -400).sum() * 3 / 4 / np.pi) ** (1 / 3)
        assert measured == pytest.approx(nodule.diameter_mm, rel=0.2)
        if "registered_as" not in keywords:
            assert nodule.side == ("left" if nodule.lps_mm[0] > 0 else "right")


def test_lungs_blood_and_noise_have_real_densities(tmp_path: Path) -> None:
    _, volume = _write(tmp_path, rows=256, slices=60, noise_hu=20.0)
    lung = volume.array[(volume.array > -950) & (volume.array < -700)]
    assert -880 < np.median(lung) < -820
    heart = resample_box(volume, np.array([26.0, -28.0, 105.0]), 20.0, 1.0).array
    assert heart.mean() == pytest.approx(42, abs=5)
    k, j, i = np.rint(volume.to_index(np.array([26.0, -28.0, 105.0]))).astype(int)
    assert volume.array[k, j - 8 : j + 8, i - 8 : i + 8].std() == pytest.approx(20, rel=0.3)


def test_missing_slices_and_tilt_are_there(tmp_path: Path) -> None:
    gap = write_chest_ct(tmp_path / "gap", rows=64, slices=20, missing=(9, 10))
    assert len(gap.files) == 18
    assert [p.code for p in read_series(gap.files).problems] == ["missing-slice"]
    tilted = write_chest_ct(tmp_path / "tilt", rows=128, slices=20, tilt_degrees=15.0)
    assert [(p.code, p.fatal) for p in read_series(tilted.files).problems] == [("tilted-gantry", False)]


def test_a_position_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="position"):
        write_chest_ct(tmp_path, position="HFX")
