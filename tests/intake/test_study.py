"""Whole studies: complete or partial, quality with known truth, the little context and nothing more."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from readingroom.imaging.simulate import write_chest_ct
from readingroom.intake.age import age_years
from readingroom.intake.quality import MEASURES
from readingroom.intake.study import load_study

Make = Callable[..., list[Dataset]]


def test_a_complete_study(tmp_path: Path) -> None:
    chest = write_chest_ct(tmp_path, rows=128, slices=60, noise_hu=20.0)
    loaded = load_study({chest.series_instance_uid: chest.files})
    (series,) = loaded.series
    assert loaded.partial == ""
    assert series.series_instance_uid == chest.series_instance_uid
    assert series.volume is not None
    assert series.problems == ()
    assert series.quality["coverage"] == "complete"
    assert series.quality["slice_spacing_mm"] == 5.0
    assert series.quality["missing_slices"] == 0
    assert series.quality["noise_hu"] == pytest.approx(20, rel=0.25)
    assert set(series.quality) <= {m.name for m in MEASURES}
    assert (loaded.context.sex, loaded.context.age_years) == ("O", 66.0)
    assert loaded.context.indication == ""


def test_noise_is_measured_in_proportion(tmp_path: Path) -> None:
    found = []
    for sd in (10.0, 30.0):
        chest = write_chest_ct(tmp_path / f"{sd}", rows=128, slices=40, noise_hu=sd)
        found.append(float(load_study({"1": chest.files}).series[0].quality["noise_hu"]))
    assert found[1] / found[0] == pytest.approx(3, rel=0.3)


def test_gaps_and_missing_images_make_a_study_partial(tmp_path: Path) -> None:
    chest = write_chest_ct(tmp_path, rows=64, slices=30, missing=(10, 11, 20))
    loaded = load_study({"1": chest.files})
    assert loaded.partial == "3 slices are missing inside a series."
    assert loaded.series[0].quality["missing_slices"] == 3
    assert loaded.series[0].volume is not None


def test_a_file_that_cannot_be_read_makes_a_study_partial(tmp_path: Path) -> None:
    chest = write_chest_ct(tmp_path, rows=64, slices=12)
    chest.files[5].write_bytes(chest.files[5].read_bytes()[:3000])
    loaded = load_study({"1": chest.files})
    assert "cannot be decoded" in loaded.partial or "not readable" in loaded.partial
    assert loaded.series[0].volume is not None


def test_a_screen_capture_does_not_make_a_study_partial(make_series: Make, tmp_path: Path) -> None:
    capture = make_series(slices=1, ImageType=["DERIVED", "SECONDARY", "SCREEN SAVE"])[0]
    del capture.ImagePositionPatient
    capture.save_as(tmp_path / "one.dcm", enforce_file_format=True)
    loaded = load_study({"1": [tmp_path / "one.dcm"]})
    assert (loaded.series[0].type.kind, loaded.partial) == ("derived", "")


def test_refused_series_are_kept_with_their_reason(make_series: Make, tmp_path: Path) -> None:
    shifted = make_series(slices=4)
    for n, ds in enumerate(shifted):
        ds.ImagePositionPatient[0] += 40 * (n % 2)
        ds.save_as(tmp_path / f"shifted{n}.dcm", enforce_file_format=True)
    alone = make_series(slices=1)[0]
    alone.save_as(tmp_path / "one.dcm", enforce_file_format=True)
    loaded = load_study({"shifted": sorted(tmp_path.glob("s*.dcm")), "alone": [tmp_path / "one.dcm"], "empty": []})
    assert [s.series_instance_uid for s in loaded.series] == ["shifted", "alone", "empty"]
    assert [s.volume for s in loaded.series] == [None, None, None]
    assert [s.problems[0].code for s in loaded.series] == ["shifted-slices", "single-slice", "unreadable"]
    assert all(s.type.reason for s in loaded.series)


def test_volumes_beyond_the_memory_limit_are_left_out_by_name(tmp_path: Path) -> None:
    big = write_chest_ct(tmp_path / "a", rows=64, slices=20)
    small = write_chest_ct(tmp_path / "b", rows=64, slices=10, seed=1)
    loaded = load_study({"small": small.files, "big": big.files}, max_volume_bytes=20 * 64 * 64 * 2 + 100)
    assert loaded.series[1].volume is not None
    assert loaded.series[0].volume is None
    assert "not-loaded" in {p.code for p in loaded.series[0].problems}
    assert loaded.series[0].type.region == "chest"


def test_nothing_identifies_the_patient(make_series: Make, tmp_path: Path) -> None:
    paths = []
    for n, ds in enumerate(make_series(slices=4, patient_name="Secret^Name", patient_id="SECRET-1")):
        paths.append(tmp_path / f"{n}.dcm")
        ds.save_as(paths[-1], enforce_file_format=True)
    loaded = load_study({"1": paths})
    text = repr([(s.type, s.problems, s.quality, s.headers) for s in loaded.series]) + repr(loaded.context)
    assert "secret" not in text.lower()
    assert (loaded.context.sex, loaded.context.age_years) == ("F", pytest.approx(76.0, abs=0.1))


def test_quality_measures_say_what_they_mean() -> None:
    assert len({m.name for m in MEASURES}) == len(MEASURES)
    assert all(m.meaning and m.citation and m.better in ("lower", "higher", "none") for m in MEASURES)


@pytest.mark.parametrize(
    ("age", "born", "studied", "years"),
    [
        ("063Y", "", "", 63.0),
        ("006M", "", "", 0.5),
        ("063Y", "19500101", "20200101", 70.0),
        ("063Y", "20300101", "20200101", 63.0),
        ("junk", "x", "", None),
        ("", "", "", None),
    ],
)
def test_ages(age: str, born: str, studied: str, years: float | None) -> None:
    assert age_years(age, born, studied) == years


def test_real_quality(shared_data: Path) -> None:
    paths = sorted((shared_data / "lung_ct_cptac_c3n00247").glob("*.dcm"))
    quality = load_study({"1": paths}).series[0].quality
    assert quality["coverage"] == "complete"
    assert quality["slice_spacing_mm"] == 3.0
    # A sharp kernel (B70f) at 3 mm is noisy.
    assert 40 < float(quality["noise_hu"]) < 120
    assert np.isfinite(float(quality["lung_air_ml"]))


def test_a_series_that_fails_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from readingroom.intake import study as module

    chest = write_chest_ct(tmp_path, rows=64, slices=12)
    real = module.read_series

    def breaking(paths: list[Path], *, threads: int) -> object:
        if len(paths) == 2:
            raise ZeroDivisionError("Secret^Name")
        return real(paths, threads=threads)

    monkeypatch.setattr(module, "read_series", breaking)
    loaded = load_study({"bad": chest.files[:2], "good": chest.files})
    assert loaded.series[1].volume is not None
    assert [p.code for p in loaded.series[0].problems] == ["intake-failed"]
    assert "could not be taken in" in loaded.partial
    assert "Secret" not in repr(loaded.series[0]) + loaded.partial
