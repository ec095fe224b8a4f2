"""The lung-nodule reader on the simulated chest: place, side however the patient lies, abstention, the same twice."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from readingroom.core.errors import BadInput
from readingroom.findings.codes import code
from readingroom.findings.model import Finding, PatientPlace, ReaderState, Reading
from readingroom.findings.rules import characteristics_of
from readingroom.imaging.simulate import SimulatedStudy, write_chest_ct
from readingroom.intake.study import load_study
from readingroom.readers.contract import ReadingOutput, ReadingRequest, SeriesType, TypedSeries
from readingroom.readers.lung_nodule.card import WEIGHTS, build
from readingroom.readers.lung_nodule.reader import HERE, LungNoduleReader
from readingroom.readers.runner import run_reader

SIZE = {"slices": 150, "rows": 256}


@pytest.fixture(scope="module")
def reader() -> LungNoduleReader:
    return LungNoduleReader()


def ignore(step: str, fraction: float) -> None: ...


def request_for(study: SimulatedStudy) -> ReadingRequest:
    intake = load_study({study.series_instance_uid: study.files})
    return ReadingRequest(study.study_instance_uid, intake.series, intake.context, bool(intake.partial))


def nearest(findings: tuple[Finding, ...], lps_mm: tuple[float, float, float]) -> tuple[float, Finding]:
    def away(finding: Finding) -> float:
        assert isinstance(finding.place, PatientPlace)
        return float(np.linalg.norm(np.subtract(finding.place.position_lps_mm, lps_mm)))

    best = min(findings, key=away)
    return away(best), best


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[SimulatedStudy, ReadingRequest]:
    study = write_chest_ct(tmp_path_factory.mktemp("plain"), **SIZE)  # type: ignore[arg-type]
    return study, request_for(study)


Once = tuple[Reading, ReadingOutput, list[float]]


@pytest.fixture(scope="module")
def read_once(reader: LungNoduleReader, plain: tuple[SimulatedStudy, ReadingRequest]) -> Once:
    """One reading of the simulated chest, with the progress it told."""
    steps: list[float] = []
    reading, output = run_reader(reader, plain[1], lambda step, fraction: steps.append(fraction))
    return reading, output, steps


def test_finds_measures_and_explains(
    reader: LungNoduleReader, plain: tuple[SimulatedStudy, ReadingRequest], read_once: Once
) -> None:
    study, request = plain
    reading, output, steps = read_once
    assert reading.state is ReaderState.FOUND, reading.reason
    assert steps == sorted(steps)
    assert steps[-1] == 1.0
    solid = max(study.nodules, key=lambda n: n.hu)
    distance, finding = nearest(reading.findings, solid.lps_mm)
    assert distance < 3.0
    values = {m.code.meaning: m.value for m in finding.measurements}
    assert values["Volume"] == pytest.approx(np.pi / 6 * solid.diameter_mm**3, rel=0.5)
    assert values["Long axis"] >= values["Short axis"]
    assert {m.unit.value for m in finding.measurements} >= {"mm", "mm3", "[hnsf'U]"}
    said = characteristics_of(finding)
    assert said["density-type"] == "solid"
    assert said["calcification"] == "finding-absent"
    suspicion = next(c for c in finding.characteristics if c.concept == code("malignancy"))
    assert 0 < suspicion.probability < 1  # type: ignore[operator]
    assert {a.table for a in finding.assessments} == {"Lung-RADS", "Fleischner"}
    assert {a.table for a in reading.assessments} == {"Lung-RADS", "Fleischner"}
    assert len(finding.evidence.similar) == 3
    heat = output.heat_maps[finding.evidence.heat_map]
    assert heat.shape == output.segments[finding.segment].mask.shape
    assert finding.site is not None
    assert finding.site.meaning == "Lung"
    logit = np.log(finding.probability / (1 - finding.probability))  # type: ignore[operator]
    assert "operating point" in finding.evidence.rule
    assert sum(c.weight for c in finding.evidence.contributions) == pytest.approx(logit, abs=0.1)
    assert all(f.probability >= reader.card.operating_point - 1e-4 for f in reading.findings)  # type: ignore[operator]
    assert reading.out_of_domain_score is not None
    assert reading.input_statistics["Manufacturer"]
    mask = output.segments[finding.segment]
    volume = request.series[0].volume
    assert volume is not None
    first = mask.offset[0]
    assert mask.sop_instance_uids == volume.sop_instance_uids[first : first + mask.mask.shape[0]]
    centre = volume.to_lps(np.argwhere(mask.mask).mean(axis=0) + mask.offset)
    assert np.linalg.norm(centre - solid.lps_mm) < 3.0


def test_the_same_twice(read_once: Once, plain: tuple[SimulatedStudy, ReadingRequest]) -> None:
    (first, arrays, _), (second, again) = read_once, run_reader(LungNoduleReader(), plain[1], ignore)
    assert first.findings == second.findings
    assert all((again.segments[n].mask == s.mask).all() for n, s in arrays.segments.items())
    assert first.configuration_sha256 == second.configuration_sha256


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [{"position": "FFS"}, {"position": "HFP"}, {"mirrored_rows": True}],
    ids=["feet-first", "prone", "mirrored"],
)
def test_side_is_right_however_the_patient_lies(
    reader: LungNoduleReader, tmp_path: Path, how: dict[str, object]
) -> None:
    study = write_chest_ct(tmp_path, **SIZE, **how)  # type: ignore[arg-type]
    reading, _ = run_reader(reader, request_for(study), ignore)
    seen = 0
    for nodule in study.nodules:
        distance, finding = nearest(reading.findings, nodule.lps_mm)
        if distance < 4.0:
            seen += 1
            assert finding.side is not None
            assert finding.side.value == nodule.side
            assert len(finding.side.witnesses) == 3
    assert seen >= 1


@pytest.mark.slow
def test_a_missing_slice_makes_it_partial_never_negative(reader: LungNoduleReader, tmp_path: Path) -> None:
    study = write_chest_ct(tmp_path, slices=100, rows=160, missing=(50,))
    reading, _ = run_reader(reader, request_for(study), ignore)
    assert reading.state is ReaderState.PARTIAL
    assert "incomplete" in reading.reason
    for nodule in study.nodules[:1]:
        assert nearest(reading.findings, nodule.lps_mm)[0] < 4.0, "places past the gap have not moved"


def test_abstains_with_a_reason(reader: LungNoduleReader, plain: tuple[SimulatedStudy, ReadingRequest]) -> None:
    series = plain[1].series[0]
    assert series.volume is not None
    cases = {
        "apart": replace(
            series.volume, array=series.volume.array[::4], affine=series.volume.affine @ np.diag([1, 1, 4, 1])
        ),
        "cover": replace(series.volume, array=series.volume.array[:20]),
        "Hounsfield": replace(series.volume, unit="arbitrary"),
        "lung": replace(series.volume, array=np.where(series.volume.array < -300, 30, series.volume.array)),
    }  # fmt: skip
    for word, volume in cases.items():
        request = replace(plain[1], series=(replace(series, volume=volume),))
        reading, output = run_reader(reader, request, ignore)
        assert reading.state is ReaderState.ABSTAINED, word
        assert word in reading.reason
        assert not output.findings


def typed(**kind: object) -> TypedSeries:
    known = {"modality": "CT", "kind": "ct-volume", "region": "chest", "plane": "axial", **kind}
    return TypedSeries(str(kind.get("kernel", "1.2")), SeriesType.model_validate(known), None)


@pytest.mark.parametrize(
    ("series", "word"),
    [
        (typed(modality="MR", kind="mr-volume"), "no CT volume"),
        (typed(region="head"), "chest"),
        (typed(plane="coronal"), "axial"),
        (typed(kind="localizer"), "no CT volume"),
    ],
)
def test_does_not_apply(reader: LungNoduleReader, series: TypedSeries, word: str) -> None:
    says = reader.applies((series,))
    assert not says.applies
    assert word in says.reason


def test_the_thinnest_chest_series_is_read(reader: LungNoduleReader) -> None:
    series = (
        typed(kernel="1.5", slice_thickness_mm=5.0),
        typed(kernel="1.1", slice_thickness_mm=1.0),
        typed(kernel="1.0", slice_thickness_mm=0.5, region=""),
    )
    assert reader.applies(series).series_instance_uids == ("1.1",)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    (tmp_path / "weights").mkdir()
    shutil.copy(HERE / "card.yaml", tmp_path)
    for path in (HERE / "weights").iterdir():
        shutil.copy(path, tmp_path / "weights")
    return tmp_path


@pytest.mark.parametrize("name", [name for name in WEIGHTS if name != "training.json"])
def test_changed_weights_are_refused(copy: Path, name: str) -> None:
    LungNoduleReader(copy)
    path = copy / "weights" / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(BadInput, match="SHA-256"):
        LungNoduleReader(copy)


def test_the_configuration_hash_follows_the_weights(copy: Path) -> None:
    path = copy / "weights" / "calibration.json"
    path.write_bytes(path.read_bytes() + b"\n")
    card = yaml.safe_load((copy / "card.yaml").read_text("utf-8"))
    card["weights"]["calibration.json"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (copy / "card.yaml").write_text(yaml.safe_dump(card), "utf-8")
    assert LungNoduleReader(copy).configuration_sha256 != LungNoduleReader().configuration_sha256


def test_the_card_is_what_training_and_evaluation_gave() -> None:
    evaluation = json.loads((HERE / "weights" / "evaluation.json").read_text("utf-8"))
    assert yaml.safe_load((HERE / "card.yaml").read_text("utf-8")) == build(HERE / "weights", evaluation)
    assert sum(path.stat().st_size for path in (HERE / "weights").iterdir()) < 20 << 20
    assert "CC BY 3.0" in (HERE / "weights" / "LICENSE").read_text("utf-8")
