"""What a series is: real chests and prostates right, lying headers seen through, everything else named."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from readingroom.imaging.series import SeriesResult, read_series
from readingroom.imaging.simulate import write_chest_ct
from readingroom.imaging.volume import Volume
from readingroom.intake.content import describe
from readingroom.intake.typing import region_of_text, rules, sequence_of, type_series

Make = Callable[..., list[Dataset]]


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> SeriesResult:
    study = write_chest_ct(tmp_path_factory.mktemp("chest"), rows=96, slices=50)
    return read_series(study.files)


def test_content_and_header_agree_on_a_chest(chest: SeriesResult) -> None:
    found = type_series((), chest)
    assert (found.kind, found.region, found.plane) == ("ct-volume", "chest", "axial")
    assert found.region_by == ("content", "BodyPartExamined")
    assert found.confidence > 0.9
    assert found.slice_thickness_mm == 6.0


@pytest.mark.parametrize("lie", ["ABDOMEN", "HEAD", "KNEE"])
def test_a_lying_header_is_seen_through_and_said(chest: SeriesResult, lie: str) -> None:
    headers = {**chest.headers, "BodyPartExamined": lie}
    found = type_series((), replace(chest, headers=headers))
    assert found.region == "chest"
    assert found.region_by == ("content",)
    assert found.confidence <= 0.8
    assert "BodyPartExamined says" in found.reason


def test_a_chest_without_any_header_is_still_a_chest(chest: SeriesResult) -> None:
    found = type_series((), replace(chest, headers={"Modality": "CT"}))
    assert (found.region, found.region_by) == ("chest", ("content",))


def _ct(array: np.ndarray, spacing: float) -> Volume:
    affine = np.diag([spacing, spacing, spacing, 1.0])
    n = array.shape[0]
    return Volume(array.astype(np.int16), affine, "1.2", "1.3", "1.4", "CT", "HU",
                  tuple(f"1.{k}" for k in range(n)), (1,) * n)  # fmt: skip


def test_a_skull_with_brain_is_a_head_and_a_trunk_without_lungs_is_none() -> None:
    z, y, x = np.mgrid[-80:80:4, -120:120:4, -120:120:4]
    radius = np.sqrt((x / 75) ** 2 + (y / 95) ** 2 + (z / 120) ** 2)
    head = np.where(radius < 1, 35, np.where(radius < 1.08, 900, np.where(radius < 1.15, 30, -1000)))
    found = describe(_ct(head, 4.0))
    assert found is not None
    assert found.region == "head"
    z, y, x = np.mgrid[-80:80:4, -200:200:4, -200:200:4]
    trunk = np.where((x / 165) ** 2 + (y / 110) ** 2 < 1, 40, -1000)
    found = describe(_ct(trunk, 4.0))
    assert found is not None
    assert found.region == "abdomen"
    leg = np.where((x / 60) ** 2 + (y / 60) ** 2 < 1, 40, -1000)
    found = describe(_ct(leg, 4.0))
    assert found is not None
    assert found.region == ""
    assert describe(_ct(np.full((10, 20, 20), -1000), 4.0)) is not None
    two = describe(_ct(trunk[:2], 4.0))
    assert two is not None
    assert two.body_width_mm > 300


def test_coverage_is_seen_where_the_lungs_are_cut(chest: SeriesResult) -> None:
    volume = chest.volume
    assert volume is not None
    whole = describe(volume)
    assert whole is not None
    assert (whole.lung_cut_top, whole.lung_cut_bottom) == (False, False)

    def part(low: int, high: int) -> Volume:
        affine = volume.affine.copy()
        affine[:3, 3] = volume.to_lps(np.array([low, 0, 0]))
        uids, frames = volume.sop_instance_uids[low:high], volume.frames[low:high]
        return replace(volume, array=volume.array[low:high], affine=affine, sop_instance_uids=uids, frames=frames)

    top_missing, bottom_missing = describe(part(0, 35)), describe(part(22, 50))
    assert top_missing is not None
    assert bottom_missing is not None
    assert (top_missing.lung_cut_top, top_missing.lung_cut_bottom) == (True, False)
    assert (bottom_missing.lung_cut_top, bottom_missing.lung_cut_bottom) == (False, True)


@pytest.mark.parametrize(
    ("keywords", "kind"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localizer"),
        ({"ImageType": ["DERIVED", "SECONDARY", "MIP"]}, "derived"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "derived"),
        ({"Modality": "CR"}, "projection"),
        ({"Modality": "RTDOSE"}, "object"),
        ({"Modality": "PT"}, "unsupported"),
        ({"Modality": "MR"}, "mr-volume"),
        ({}, "ct-volume"),
    ],
)
def test_kinds(make_series: Make, tmp_path: Path, keywords: dict[str, object], kind: str) -> None:
    paths = []
    for n, ds in enumerate(make_series(slices=4, **keywords)):
        paths.append(tmp_path / f"{n}.dcm")
        ds.save_as(paths[-1], enforce_file_format=True)
    assert type_series(paths, read_series(paths)).kind == kind


@pytest.mark.parametrize(
    ("agent", "description", "contrast"),
    [
        ("Ultravist 370", "", True),
        ("", "CT chest with contrast", True),
        ("", "Thorax nativ", False),
        ("NONE", "", False),
        ("", "Thorax", None),
    ],
)
def test_contrast(chest: SeriesResult, agent: str, description: str, contrast: bool | None) -> None:
    headers = {**chest.headers, "ContrastBolusAgent": agent, "SeriesDescription": description}
    assert type_series((), replace(chest, headers=headers)).contrast is contrast


@pytest.mark.parametrize(
    ("name", "times", "contrast", "sequence"),
    [
        ("AX FLAIR", "", None, "FLAIR"),
        ("t2_tirm_tra_dark-fluid", "9000 90 2500", None, "FLAIR"),
        ("AX T1 FLAIR", "2200 9 860", None, "T1"),
        ("Ax FLAIR", "2200 9 860", None, ""),
        ("MPRAGE +C", "2000 3 900", None, "T1-post"),
        ("t1_mprage_sag", "2000 3 900", None, "T1"),
        ("T1 SE", "", True, "T1-post"),
        ("T1 pre Gd", "", True, "T1"),
        ("T2 TSE", "4500 100", None, "T2"),
        ("T2 FLAIR", "9000 120", None, "FLAIR"),
        ("AX T2* GRE", "700 20", None, "T2*"),
        ("T1 axial", "9000 120 2500", None, ""),
        ("ep2d_diff_ADC", "3000 80", None, "DWI"),
        ("series 4", "9000 120 2500", None, "FLAIR"),
        ("series 4", "600 12", None, "T1"),
        ("series 4", "600 18", None, ""),
        ("series 4", "", None, ""),
    ],
)
def test_mr_sequences(name: str, times: str, contrast: bool | None, sequence: str) -> None:
    keywords = ("RepetitionTime", "EchoTime", "InversionTime")
    headers = {"SeriesDescription": name} | dict(zip(keywords, times.split(), strict=False))
    found, doubt = sequence_of(headers, contrast)
    assert found == sequence
    assert bool(doubt) == (not sequence and name.startswith(("Ax", "T1")))


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("CT Thorax", "chest"),
        ("POUMONS", "chest"),
        ("Schädel nativ", "head"),
        ("t2_tse_sag LSPINE", "abdomen"),
        ("BÄCKEN FRONTAL", "pelvis"),
        ("Knie links", "limb"),
        ("HEADNECK", "neck"),
        ("series 4", ""),
    ],
)
def test_words_in_several_languages(text: str, region: str) -> None:
    assert region_of_text(text) == region
    assert rules()["version"]


def test_real_series(shared_data: Path) -> None:
    for name in ("lung_ct_lidc_0314", "lung_ct_cptac_c3n00247", "lung_ct_rtstruct_lung1_001"):
        paths = [p for p in sorted((shared_data / name).glob("*.dcm")) if p.name != "rtstruct.dcm"]
        found = type_series(paths, read_series(paths))
        assert (found.kind, found.region, found.plane) == ("ct-volume", "chest", "axial")
        assert found.confidence >= 0.95
    rtstruct = [shared_data / "lung_ct_rtstruct_lung1_001" / "rtstruct.dcm"]
    assert type_series(rtstruct, read_series(rtstruct)).kind == "object"
    for folder in (f for f in sorted((shared_data / "prostate_mr_prostatex").glob("*/*")) if f.is_dir()):
        paths = sorted(folder.glob("*.dcm"))
        result = read_series(paths)
        found = type_series(paths, result)
        assert (found.kind, found.region, found.plane) == ("mr-volume", "pelvis", "axial")
        assert found.sequence == ("T2" if "t2tse" in folder.name else "DWI")
        assert result.volume is not None
        assert result.volume.unit == ("ADC" if "ADC" in folder.name else "arbitrary")


def test_interop_series_never_crash_and_are_named(shared_data: Path) -> None:
    series = defaultdict(list)
    for path in sorted((shared_data / "dicom_interop").rglob("*.dcm")):
        try:
            ds = dcmread(path, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"])
        except InvalidDicomError:
            continue
        series[(ds.get("SeriesInstanceUID"), path.parent)].append(path)
    kinds = defaultdict(int)
    for paths in series.values():
        found = type_series(paths, read_series(paths))
        assert found.kind in ("ct-volume", "mr-volume", "localizer", "derived", "projection", "object", "unsupported")
        assert found.kind.endswith("volume") or found.reason
        kinds[found.kind] += 1
    assert min(kinds[k] for k in ("ct-volume", "mr-volume", "localizer", "derived", "projection", "object")) >= 1


def test_brainix_is_a_head(shared_data: Path) -> None:
    paths = sorted((shared_data / "dicom_interop/orthanc/Brainix/Flair").glob("*.dcm"))
    found = type_series(paths, read_series(paths))
    assert (found.kind, found.region, found.plane) == ("mr-volume", "head", "axial")
    assert found.sequence == "FLAIR"
