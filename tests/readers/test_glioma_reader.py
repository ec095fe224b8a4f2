"""The glioma reader with its weights: what it takes and declines, when it abstains, and a whole head as DICOM."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from mr_support import FLAIR, T1_POST, head, mr_series
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from readingroom.cli.main import main
from readingroom.core.errors import BadInput
from readingroom.evaluation.segmentation import dice
from readingroom.findings.codes import code
from readingroom.findings.heat_map import check_heat_map
from readingroom.findings.model import ReaderState, Reading
from readingroom.imaging.simulate import write_chest_ct
from readingroom.imaging.volume import SeriesProblem
from readingroom.intake.study import load_study
from readingroom.readers.contract import ReadingOutput, ReadingRequest, SeriesType, TypedSeries
from readingroom.readers.glioma import card, volumes
from readingroom.readers.glioma.reader import HERE, GliomaReader
from readingroom.readers.glioma.slices import part_of, read_slices
from readingroom.readers.runner import run_reader

CASE = "glioma_brats2015/brats_2013_pat0005_1"


@pytest.fixture(scope="module")
def reader() -> GliomaReader:
    return GliomaReader()


def saved(folder: Path, *series: Sequence[Dataset]) -> dict[str, list[Path]]:
    found = {}
    for number, images in enumerate(series):
        paths = []
        for n, ds in enumerate(images):
            paths.append(folder / f"{number}-{n:03}.dcm")
            ds.save_as(paths[-1], enforce_file_format=True)
        found[images[0].SeriesInstanceUID] = paths
    return found


def read(reader: GliomaReader, series: Sequence[TypedSeries]) -> tuple[Reading, ReadingOutput]:
    return run_reader(reader, ReadingRequest("1.2.3", tuple(series)), lambda step, done: None)


def typed(sequence: str = "FLAIR", **changes: object) -> TypedSeries:
    kind = {"modality": "MR", "kind": "mr-volume", "region": "head", "plane": "axial", "sequence": sequence} | changes
    return TypedSeries(generate_uid(), SeriesType(**kind), None)  # type: ignore[arg-type]


# Which series


@pytest.mark.parametrize(
    ("series", "words"),
    [
        ([], "no MR volume"),
        ([typed(modality="CT", kind="ct-volume")], "no MR volume"),
        ([typed(region="limb")], "shows the head"),
        ([typed("T1"), typed("T2"), typed("")], "is a FLAIR"),
        ([replace(typed(), problems=(SeriesProblem("mixed-orientation", "", True),))], "mixed-orientation"),
    ],
)
def test_what_is_not_its_own_is_declined_with_the_reason(
    reader: GliomaReader, series: list[TypedSeries], words: str
) -> None:
    found = reader.applies(tuple(series))
    assert not found.applies
    assert words in found.reason


def test_it_takes_the_best_flair_and_the_series_after_contrast(reader: GliomaReader) -> None:
    sagittal, thick, thin = typed(plane="sagittal"), typed(slice_thickness_mm=6.0), typed(slice_thickness_mm=3.0)
    before, after = typed("T1"), typed("T1-post")
    found = reader.applies((sagittal, thick, before, after, thin))
    assert found.series_instance_uids == (thin.series_instance_uid, after.series_instance_uid)
    alone = reader.applies((sagittal, before))
    assert alone.series_instance_uids == (sagittal.series_instance_uid,)
    assert "FLAIR alone" in alone.reason


# When it abstains


@pytest.mark.parametrize(
    ("shape", "spacing", "words"),
    [
        ((16, 160, 130), (10.0, 1.0, 1.0), "10.0 mm apart"),
        ((24, 80, 70), (5.0, 3.0, 3.0), "3.0 mm apart"),
        ((8, 240, 200), (5.0, 1.0, 1.0), "cover 40 mm"),
        ((24, 90, 80), (5.0, 1.0, 1.0), "does not look like a head"),
    ],
)
def test_it_abstains_where_geometry_is_not_a_head_s(
    reader: GliomaReader, tmp_path: Path, shape: tuple[int, int, int], spacing: tuple[float, float, float], words: str
) -> None:
    stack = np.full(shape, 30, np.int16)
    stack[:, 5:-5, 5:-5] = 500
    intake = load_study(saved(tmp_path, mr_series(stack, spacing, **FLAIR)))
    reading, output = read(reader, intake.series)
    assert reading.state is ReaderState.ABSTAINED
    assert words in reading.reason
    assert not output.findings


STRANGE = {
    "noise": lambda stack: np.random.default_rng(0).integers(0, 900, stack.shape).astype(np.int16),
    "a box": lambda stack: np.where(stack > -1, 0, 0).astype(np.int16) + np.pad(
        np.full((24, 160, 140), 700, np.int16), ((0, 0), (40, 40), (30, 30))
    ),
    "empty": lambda stack: np.zeros_like(stack),
    "inverted": lambda stack: (1500 - stack).clip(0).astype(np.int16),
}  # fmt: skip


@pytest.mark.parametrize("what", sorted(STRANGE))
def test_it_abstains_from_what_is_called_flair_and_is_none(reader: GliomaReader, tmp_path: Path, what: str) -> None:
    intake = load_study(saved(tmp_path, mr_series(STRANGE[what](head()), (5.0, 1.0, 1.0), **FLAIR)))
    reading, output = read(reader, intake.series)
    assert reading.state is ReaderState.ABSTAINED, (reading.state, reading.out_of_domain_score)
    assert reading.reason
    assert not output.segments


def test_a_chest_is_not_its_own(reader: GliomaReader, tmp_path: Path) -> None:
    study = write_chest_ct(tmp_path, rows=96, slices=40)
    intake = load_study({study.series_instance_uid: study.files})
    reading, _ = read(reader, intake.series)
    assert reading.state is ReaderState.NOT_APPLICABLE


# Weights


def test_weights_that_are_not_the_card_s_are_refused(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    for path in (HERE / "weights").iterdir():
        (tmp_path / "weights" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "card.yaml").write_bytes((HERE / "card.yaml").read_bytes())
    assert GliomaReader(tmp_path).configuration_sha256 == GliomaReader().configuration_sha256
    with (tmp_path / "weights" / "calibration.json").open("a") as file:
        file.write(" ")
    with pytest.raises(BadInput, match="SHA-256"):
        GliomaReader(tmp_path)


def test_the_card_says_what_ran() -> None:
    evaluation = json.loads((HERE / "weights" / "evaluation.json").read_text("utf-8"))
    assert yaml.safe_load((HERE / "card.yaml").read_text("utf-8")) == card.build(HERE / "weights", evaluation)
    log = json.loads((HERE / "weights" / "training.json").read_text("utf-8"))
    assert log["commit"]
    assert not log["commit"].endswith("+"), "trained from a clean tree"
    assert sum(path.stat().st_size for path in (HERE / "weights").iterdir()) < 20e6


@pytest.mark.data
def test_each_patient_is_measured_by_a_network_that_has_not_seen_them(shared_data: Path) -> None:
    patients, problems = read_slices(shared_data / "glioma_lgg_slices")
    log = json.loads((HERE / "weights" / "training.json").read_text("utf-8"))
    assert not problems
    assert log["folds"] == {p.fingerprint: part_of(p.patient) for p in patients}


# A whole head


@pytest.fixture(scope="module")
def case(shared_data: Path) -> volumes.Case:
    """The head of another source, every third slice: 3 mm."""
    whole = volumes.read_case(shared_data / CASE)
    return volumes.Case(whole.flair[::3], whole.post[::3], whole.tumour[::3])


def head_study(case: volumes.Case, study_uid: str = "") -> tuple[list[Dataset], list[Dataset]]:
    study = study_uid or generate_uid()
    flair = mr_series(case.flair, (3.0, 1.0, 1.0), study_uid=study, **FLAIR)
    post = mr_series(case.post, (3.0, 1.0, 1.0), study_uid=study, **T1_POST)
    return flair, post


@pytest.mark.data
def test_a_whole_head_of_another_source(reader: GliomaReader, case: volumes.Case, tmp_path: Path) -> None:
    intake = load_study(saved(tmp_path, *head_study(case)))
    assert sorted(s.type.sequence for s in intake.series) == ["FLAIR", "T1-post"]
    reading, output = read(reader, intake.series)
    assert reading.state is ReaderState.FOUND, reading.reason
    assert reading.input_statistics["post_contrast"] == "same frame"
    first = reading.findings[0]
    assert first.code == code("flair-abnormality")
    assert first.side is not None
    x = np.argwhere(case.tumour)[:, 2].mean()
    middle = np.argwhere(case.flair > 0)[:, 2].mean()
    assert first.side.value == ("left" if x > middle else "right")
    assert first.side.agree
    drawn = np.zeros(case.tumour.shape, bool)
    for finding in reading.findings:
        segment = output.segments[finding.segment]
        box = tuple(slice(o, o + n) for o, n in zip(segment.offset, segment.mask.shape, strict=True))
        drawn[box] |= segment.mask
        check_heat_map(output.heat_maps[finding.evidence.heat_map], segment.mask.shape)
        said = {m.code.value: m.value for m in finding.measurements}
        assert said["118565006"] == pytest.approx(segment.mask.sum() * 3 / 1000, abs=0.01)
        assert said["diameter-product"] == pytest.approx(said["103339001"] * said["103340004"], rel=0.02)
    print(f"Dice {dice(case.tumour, drawn):.3f}; {len(reading.findings)} findings; {reading.seconds}")


@pytest.mark.data
def test_the_command_reads_it_and_writes_objects(
    case: volumes.Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    saved(tmp_path / "in", *head_study(case))
    out = tmp_path / "out"
    assert main(["read", str(tmp_path / "in"), "--reader", "glioma", "--json", "--out", str(out)]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[0])
    assert said["state"] == "found", said["reason"]
    assert sorted(dcmread(path).Modality for path in out.rglob("*.dcm")) == ["SEG", "SR"]
