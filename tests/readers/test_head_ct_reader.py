"""The reader head-ct-triage: what it declines, what it abstains from, and what it says of a head that bleeds."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from head_support import Bleed, head_hu, head_series, of_windowed, save
from pydicom.dataset import Dataset

from readingroom.findings.codes import code
from readingroom.findings.model import PatientPlace, ReaderState, Reading
from readingroom.imaging.simulate import write_chest_ct
from readingroom.intake.study import load_study
from readingroom.readers.contract import ReadingOutput, ReadingRequest, SeriesType, TypedSeries
from readingroom.readers.head_ct_triage.card import build
from readingroom.readers.head_ct_triage.evaluate import evaluate
from readingroom.readers.head_ct_triage.reader import HERE, HeadCtTriageReader
from readingroom.readers.head_ct_triage.slices import CLASSES, Patient, read_patients
from readingroom.readers.registry import load_card
from readingroom.readers.runner import run_reader
from readingroom.readers.splits import TEST


@pytest.fixture(scope="module")
def reader() -> HeadCtTriageReader:
    return HeadCtTriageReader()


def request_for(folder: Path, made: list[Dataset]) -> ReadingRequest:
    intake = load_study({str(made[0].SeriesInstanceUID): save(folder, made)})
    return ReadingRequest(str(made[0].StudyInstanceUID), intake.series, intake.context, bool(intake.partial))


def read(reader: HeadCtTriageReader, request: ReadingRequest) -> tuple[Reading, ReadingOutput]:
    return run_reader(reader, request, lambda step, fraction: None)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ({"modality": "MR", "kind": "mr-volume", "region": "head"}, "no CT volume"),
        ({"modality": "CT", "kind": "ct-volume", "region": "chest"}, "shows the head"),
        ({"modality": "CT", "kind": "ct-volume", "region": "head", "contrast": True}, "contrast agent"),
        ({"modality": "CT", "kind": "ct-volume", "region": "head", "kernel": "H60s"}, "kernel for bone"),
        ({"modality": "CT", "kind": "ct-volume", "region": "head", "kernel": "BONE"}, "kernel for bone"),
        ({"modality": "CT", "kind": "ct-volume", "region": "head", "plane": "coronal"}, "axial"),
    ],
)
def test_declines_what_is_not_its_own(reader: HeadCtTriageReader, kind: dict[str, object], why: str) -> None:
    said = reader.applies((TypedSeries("1.2", SeriesType(**kind), None),))  # type: ignore[arg-type]
    assert not said.applies
    assert why in said.reason


def test_takes_the_soft_thick_series_of_the_head(reader: HeadCtTriageReader) -> None:
    def one(uid: str, **values: object) -> TypedSeries:
        return TypedSeries(uid, SeriesType(modality="CT", kind="ct-volume", region="head", **values), None)  # type: ignore[arg-type]

    said = reader.applies(
        (
            one("1", kernel="H60s", slice_thickness_mm=5.0),
            one("2", kernel="H31s", slice_thickness_mm=0.6),
            one("3", kernel="H31s", slice_thickness_mm=4.8),
        )
    )
    assert said.series_instance_uids == ("3",)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda hu: hu[:15], "cover 70 mm"),
        (lambda hu: head_hu(40)[:22], "top of the head"),
        (lambda hu: np.full_like(hu, -1000), "No head"),
        (lambda hu: np.roll(hu, 70, axis=1), "cut by the edge"),
        (lambda hu: np.random.default_rng(1).normal(30, 400, hu.shape).astype(np.int16), ""),
        (lambda hu: np.where(hu > -500, 60 - hu, hu), ""),
        (lambda hu: hu[::-1].copy(), "top of the head"),
    ],
)
def test_abstains_from_what_is_no_whole_head(
    reader: HeadCtTriageReader, tmp_path: Path, change: object, why: str
) -> None:
    request = request_for(tmp_path, head_series(change(head_hu())))  # type: ignore[operator]
    series = tuple(replace(s, type=s.type.model_copy(update={"region": "head"})) for s in request.series)
    reading, _ = read(reader, replace(request, series=series))
    assert reading.state is ReaderState.ABSTAINED
    assert why in reading.reason
    assert reading.findings == ()


def test_declines_a_chest(reader: HeadCtTriageReader, tmp_path: Path) -> None:
    study = write_chest_ct(tmp_path, slices=60, rows=128)
    intake = load_study({study.series_instance_uid: study.files})
    reading, _ = read(reader, ReadingRequest("1.2", intake.series, intake.context, False))
    assert reading.state is ReaderState.NOT_APPLICABLE
    assert "head" in reading.reason


def test_the_card_is_what_ran() -> None:
    card = load_card(HERE / "card.yaml")
    evaluation = json.loads((HERE / "weights" / "evaluation.json").read_text("utf-8"))
    assert yaml.safe_load((HERE / "card.yaml").read_text("utf-8")) == build(HERE / "weights", evaluation)
    assert evaluation["weights_sha256"] == HeadCtTriageReader().weights_sha256
    assert sum(path.stat().st_size for path in (HERE / "weights").iterdir()) < 20e6
    said = " ".join(card.limits)
    assert "shadow" in said
    assert "height of a slice alone" in said
    out_of_fold = card.metrics["out_of_fold"]
    assert isinstance(out_of_fold, dict)
    for name in ("hemorrhage", "fracture"):
        for row in ("slice", "slice_position_matched", "position_only"):
            assert out_of_fold[f"auc_{name}_{row}"]["ci95"][0] is not None


@pytest.fixture(scope="module")
def patients(shared_data: Path) -> list[Patient]:
    return read_patients(shared_data / "head_ct_ich")[0]


@pytest.mark.data
def test_no_locked_patient_was_trained_on(patients: list[Patient]) -> None:
    log = json.loads((HERE / "weights" / "training.json").read_text("utf-8"))
    for one in patients:
        assert (one.fingerprint in log["trained_on"]) == (one.part != TEST)
        assert log["folds"].get(one.fingerprint, TEST) == one.part
    assert sum(one.part == TEST for one in patients) == log["locked_test_patients"]


def request_of(patient: Patient, folder: Path, **attributes: object) -> ReadingRequest:
    return request_for(folder, head_series(of_windowed(patient.brain), **attributes))


@pytest.mark.data
def test_a_head_that_bleeds_as_dicom(reader: HeadCtTriageReader, patients: list[Patient], tmp_path: Path) -> None:
    """Windowed slices made DICOM again: the same numbers as from the slices, and a finding in its place."""
    one = max((p for p in patients if p.truth[0]), key=lambda p: int(p.labels[:, 0].sum()))
    chance = reader.probabilities(reader.look(one.brain, None))[CLASSES[0]]
    request = request_of(one, tmp_path)
    reading, output = read(reader, request)
    assert reading.state is ReaderState.FOUND, reading.reason
    assert reading.out_of_domain_score is not None
    assert reading.out_of_domain_score <= 1
    (finding,) = reading.findings
    assert finding.code == code("intracranial-hemorrhage")
    assert finding.probability == pytest.approx(chance, abs=0.05)
    assert isinstance(finding.place, PatientPlace)
    volume = request.series[0].volume
    assert volume is not None
    where = volume.to_index(np.array(finding.place.position_lps_mm))
    assert one.labels[round(where[0]), 0], "the strongest slice is one that people marked"
    assert 45 < where[1] < 210
    assert finding.characteristics
    assert all(c.concept == code("hemorrhage-type") for c in finding.characteristics)
    heat, mask = output.heat_maps["heat"], output.segments["hemorrhage"]
    assert heat.shape == mask.mask.shape
    assert mask.mask.any()
    assert "fracture" not in reading.model_dump_json(include={"findings", "study_measurements", "assessments"})
    assert isinstance(reading.input_statistics["fracture_shadow_probability"], float)
    again, _ = read(reader, request)
    assert again.findings == reading.findings


@pytest.mark.data
def test_clear_heads_and_heads_upside_down(reader: HeadCtTriageReader, patients: list[Patient], tmp_path: Path) -> None:
    clear = [p for p in patients if not p.truth.any() and p.part != TEST][:3]
    looked = [reader.look(p.brain, None) for p in clear]
    one = clear[int(np.argmin([reader.probabilities(each)[CLASSES[0]] for each in looked]))]
    reading, _ = read(reader, request_of(one, tmp_path / "clear"))
    assert reading.state is ReaderState.NOTHING_FOUND, reading.reason
    for p, each in zip(clear, looked, strict=True):
        assert reader.unlike(reader.look(p.brain[:, ::-1].copy(), None)) > reader.unlike(each)


@pytest.mark.data
def test_evaluation_leaves_out_what_was_trained_on(
    reader: HeadCtTriageReader, shared_data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "some"
    source = shared_data / "head_ct_ich"
    lines = (source / "labels.csv").read_text("utf-8").splitlines()
    patients = {p.number: p for p in read_patients(source)[0]}
    locked = [p for p in patients.values() if p.part == TEST]
    chosen = [next(p for p in locked if p.truth[0]), next(p for p in locked if not p.truth[0])]
    chosen.append(next(p for p in patients.values() if p.part != TEST))
    (folder / "brain").mkdir(parents=True)
    numbers = {p.number for p in chosen}
    (folder / "labels.csv").write_text(
        "\n".join([lines[0], *(line for line in lines[1:] if line.split(",")[0] in numbers)])
    )
    for p in chosen:
        for path in (source / "brain").glob(f"{int(p.number):03d}_*.jpg"):
            (folder / "brain" / path.name).symlink_to(path)
    result = evaluate(reader, folder, "", lambda step, fraction: None)
    assert (result["n_patients"], result["n_positive"]) == (2, 1)
    assert "1 used in training left out" in result["data"]
    assert "human" not in result
    kept = json.loads((HERE / "weights" / "evaluation.json").read_text("utf-8"))
    assert kept["n_patients"] == len(locked)


def test_a_made_head_is_read_through(reader: HeadCtTriageReader, tmp_path: Path) -> None:
    """A head made of formulas is unlike any patient: it is looked at, and abstained from with the reason."""
    reading, _ = read(reader, request_for(tmp_path, head_series(head_hu(bleed=Bleed((40.0, 12.0, 80.0))))))
    assert reading.state in (ReaderState.ABSTAINED, ReaderState.FOUND)
    assert reading.out_of_domain_score is not None
