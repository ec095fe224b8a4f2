"""Side, proved on head-first, feet-first, prone, mirrored and wrongly registered volumes, and on real chests."""

from pathlib import Path

import numpy as np
import pytest

from readingroom.findings.model import Side
from readingroom.findings.side import look, side_in_text, side_of
from readingroom.imaging.series import SeriesResult, read_series
from readingroom.imaging.simulate import SimulatedStudy, write_chest_ct
from readingroom.imaging.volume import Volume

_Supine = tuple[SimulatedStudy, SeriesResult, Volume]


@pytest.fixture(scope="module")
def supine(tmp_path_factory: pytest.TempPathFactory) -> _Supine:
    """One head-first supine chest with right tags, for what changes headers or arrays afterwards."""
    return _study(tmp_path_factory.mktemp("supine"))


def _study(folder: Path, **keywords: object) -> _Supine:
    study = write_chest_ct(folder, rows=96, slices=40, **keywords)  # type: ignore[arg-type]
    result = read_series(study.files)
    assert result.volume is not None
    return study, result, result.volume


def _witness(side: Side, name: str) -> str | None:
    return next(w.side for w in side.witnesses if w.witness == name)


@pytest.mark.parametrize("mirrored_rows", [False, True])
@pytest.mark.parametrize(("position", "seed"), [("HFS", 0), ("FFS", 1), ("HFP", 2), ("FFP", 3)])
def test_right_tags_any_position(tmp_path: Path, position: str, mirrored_rows: bool, seed: int) -> None:
    study, result, volume = _study(tmp_path, position=position, mirrored_rows=mirrored_rows, seed=seed)
    anatomy = look(volume)
    assert (anatomy.spine, anatomy.heart, anatomy.up) == (1, 1, 1)
    for nodule in study.nodules:
        side = side_of(nodule.lps_mm, volume, result.headers, anatomy)
        assert side.value == nodule.side
        assert _witness(side, "geometry") == _witness(side, "tags") == nodule.side
        assert side.agree


@pytest.mark.parametrize(
    ("position", "told"), [("HFP", "HFS"), ("HFS", "HFP"), ("HFS", "FFS"), ("FFS", "HFS"), ("FFP", "FFS")]
)
def test_wrong_registration_is_seen_and_the_side_is_the_patients(tmp_path: Path, position: str, told: str) -> None:
    study, result, volume = _study(tmp_path, position=position, registered_as=told)
    for nodule in study.nodules:
        side = side_of(nodule.lps_mm, volume, result.headers)
        # The coordinates say the other side; the voxels know better.
        assert nodule.side == ("right" if nodule.lps_mm[0] > 0 else "left")
        assert side.value == nodule.side
        assert not side.agree


def test_mirrored_pixels_are_doubted_never_believed(supine: _Supine) -> None:
    study, result, volume = supine
    flipped = Volume(**{**volume.__dict__, "array": volume.array[:, :, ::-1]})
    side = side_of(study.nodules[0].lps_mm, flipped, result.headers)
    assert _witness(side, "geometry") is None
    assert not side.agree


def test_prone_tag_on_a_supine_patient_is_doubted_even_where_coordinates_are_right(supine: _Supine) -> None:
    study, result, volume = supine
    side = side_of(study.nodules[0].lps_mm, volume, {**result.headers, "PatientPosition": "HFP"})
    assert side.value == study.nodules[0].side
    assert not side.agree


def test_description_that_disagrees_is_heard(supine: _Supine) -> None:
    study, result, volume = supine
    right = next(n for n in study.nodules if n.side == "right")
    for text, agree in (("CT Lunge links", False), ("RIGHT lung", True), ("Thorax", True)):
        side = side_of(right.lps_mm, volume, {**result.headers, "StudyDescription": text})
        assert side.value == "right"
        assert side.agree is agree


def test_laterality_tag_that_disagrees_is_heard(supine: _Supine) -> None:
    study, result, volume = supine
    right = next(n for n in study.nodules if n.side == "right")
    assert side_of(right.lps_mm, volume, {**result.headers, "Laterality": "R"}).agree
    assert not side_of(right.lps_mm, volume, {**result.headers, "Laterality": "L"}).agree


def test_midline_follows_the_body_not_the_origin(supine: _Supine) -> None:
    study, result, volume = supine
    shift = np.array([120.0, 0, 0])
    affine = volume.affine.copy()
    affine[:3, 3] += shift
    moved = Volume(**{**volume.__dict__, "affine": affine})
    for nodule in study.nodules:
        assert side_of(np.array(nodule.lps_mm) + shift, moved, result.headers).value == nodule.side
    middle = side_of((120.0, 0.0, 150.0), moved, result.headers)
    assert middle.value == "midline"


@pytest.mark.parametrize(
    ("text", "side"),
    [
        ("CT CHEST LEFT", "left"),
        ("Knie rechts", "right"),
        ("GENOU GAUCHE", "left"),
        ("rodilla derecha", "right"),
        ("Knee R", "right"),
        ("Loc (Right)", "right"),
        ("left and right", None),
        ("T1 sag l-spine", None),
        ("bright field", None),
        ("", None),
    ],
)
def test_words_for_sides(text: str, side: str | None) -> None:
    assert side_in_text(text) == side


def test_real_chests(shared_data: Path) -> None:
    """LIDC-IDRI-0314 is feet-first with a nodule in the right lung (its SOURCE.md)."""
    for name in ("lung_ct_lidc_0314", "lung_ct_cptac_c3n00247", "lung_ct_rtstruct_lung1_001"):
        paths = [p for p in sorted((shared_data / name).glob("*.dcm")) if p.name != "rtstruct.dcm"]
        result = read_series(paths)
        assert result.volume is not None
        anatomy = look(result.volume)
        assert (anatomy.spine, anatomy.heart, anatomy.up, anatomy.x_sign) == (1, 1, 1, 1)
        if name == "lung_ct_lidc_0314":
            side = side_of((-57.27, 131.30, -520.56), result.volume, result.headers, anatomy)
            assert side.value == "right"
            assert side.agree
