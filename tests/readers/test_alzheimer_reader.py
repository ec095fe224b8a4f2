"""``alzheimer``: made from tables by its recipe, measures carried by a structured report, and when it says nothing."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from content_support import small_series, validate
from freesurfer_support import HEAD_MM3, stats_files, typical, write_tables

from readingroom.cli.main import main
from readingroom.core.errors import BadInput
from readingroom.evaluation.leaks import check_no_leak
from readingroom.findings.model import ReaderState
from readingroom.intake.study import load_study
from readingroom.learning.engine.recipe import TableRecipe, read_recipe
from readingroom.learning.engine.table import train_table
from readingroom.objects.measures_sr import encode_measures
from readingroom.readers.alzheimer import card
from readingroom.readers.alzheimer.assess import HERE
from readingroom.readers.alzheimer.evaluate import evaluate
from readingroom.readers.alzheimer.people import IXI, OASIS, read_people
from readingroom.readers.alzheimer.reader import AlzheimerReader
from readingroom.readers.alzheimer.regions import HEAD_SIZE, SCHEME
from readingroom.readers.alzheimer.train import examples_for, fingerprint, part
from readingroom.readers.contract import ClinicalContext, ReadingRequest, SeriesType, TypedSeries
from readingroom.readers.runner import run_reader
from readingroom.readers.splits import TEST


def ignore(step: str, done: float) -> None: ...


def with_measures(measured: dict[str, float]) -> TypedSeries:
    named = {f"{SCHEME} {name}": value for name, value in measured.items()}
    return TypedSeries("1.2.3", SeriesType(modality="SR", kind="object"), None, measured=named)


def asked(measured: dict[str, float], age: float | None = 75, sex: str | None = "F") -> ReadingRequest:
    context = ClinicalContext(age_years=age, sex=sex)  # type: ignore[arg-type]
    return ReadingRequest("1.2", (with_measures(measured),), context)


@pytest.fixture(scope="module")
def reader() -> AlzheimerReader:
    return AlzheimerReader()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Tables of made-up people, and a run of the recipe on them."""
    folder = tmp_path_factory.mktemp("alzheimer")
    tables = write_tables(folder / "tables")
    recipe = read_recipe(HERE / "recipe.yaml")
    assert isinstance(recipe, TableRecipe)
    train_table(recipe, tables, folder / "run", 1, ignore)
    return tables, folder / "run"


def test_native_volumes_are_the_tables_by_the_scaling_factor(made: tuple[Path, Path]) -> None:
    everyone = read_people(made[0])
    first = everyone[0]
    rows = (made[0] / "freesurfer_features_hejazizo_data.csv").read_text().splitlines()
    about = (made[0] / "oasis_cross-sectional.csv").read_text().splitlines()
    value = float(rows[1].split(",")[rows[0].split(",").index("Left-Hippocampus")])
    scale, head = float(about[1].split(",")[5]), float(about[1].split(",")[4])
    assert first.measured["Left-Hippocampus"] == pytest.approx(value / scale)
    assert first.head == 1000 * head
    assert {p.source for p in everyone} == {OASIS, IXI}
    assert {p.dementia for p in everyone if p.source == IXI} == {None}
    (made[0] / "IXI_age_gender.csv").rename(made[0] / "gone.csv")
    with pytest.raises(BadInput, match="cannot be read"):
        read_people(made[0])
    (made[0] / "gone.csv").rename(made[0] / "IXI_age_gender.csv")


def test_the_locked_part_is_in_no_example_and_nobody_is_on_two_sides(made: tuple[Path, Path]) -> None:
    everyone = read_people(made[0])
    data = examples_for(made[0], 0, 1, ignore)
    locked = {f"{p.source} {p.subject}" for p in everyone if part(p) == TEST}
    assert locked
    check_no_leak({"locked": locked, "examples": data.group.tolist()})
    data.check(5)
    log = json.loads((made[1] / "training.json").read_text())
    assert not set(log["trained_on"]) & {fingerprint(p) for p in everyone if part(p) == TEST}
    assert len(log["trained_on"]) + log["people"]["locked"] == len(everyone)


def test_the_recipe_makes_weights_that_tell_and_the_run_says_how(made: tuple[Path, Path], tmp_path: Path) -> None:
    tables, run = made
    facts = json.loads((run / "run.json").read_text())
    assert (facts["state"], facts["seed"], facts["recipe"]["kind"]) == ("done", 1, "table")
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["fold"] for line in lines] == [0, 1, 2, 3, 4]
    folder = tmp_path / "made"
    (folder / "weights").mkdir(parents=True)
    for name in card.WEIGHTS:
        (folder / "weights" / name).write_bytes((run / name).read_bytes())
    card.write(folder / "card.yaml", folder / "weights", None)
    result = evaluate(AlzheimerReader(folder), tables, "readingroom evaluate alzheimer", ignore)
    assert result["metrics"]["auc_dementia_60_and_older"]["value"] > 0.7, "more than an SD everywhere"
    assert 0.85 < result["metrics"]["z_volume_coverage"]["value"] <= 1
    card.write(folder / "card.yaml", folder / "weights", result)
    assert "Locked part" in AlzheimerReader(folder).card.evidence
    (folder / "weights" / "norms.json").write_text("{}")
    with pytest.raises(BadInput, match="SHA-256"):
        AlzheimerReader(folder)


def test_a_study_with_measures_is_read(reader: AlzheimerReader) -> None:
    small = {name: -2.5 for name in ("Left_Hippocampus", "Right_Hippocampus", "Left_Amygdala", "Right_Amygdala")}
    reading, _ = run_reader(reader, asked(typical(-0.5, **small, Left_Inf_Lat_Vent=3, Right_Inf_Lat_Vent=3)), ignore)
    assert reading.state is ReaderState.FOUND, reading.reason
    (finding,) = reading.findings
    assert finding.probability is not None
    assert finding.probability >= 0.5
    assert "dementia" in finding.evidence.rule
    z = {one.code.value: one.value for one in reading.study_measurements}
    assert z["z-hippocampus-l"] == pytest.approx(-2.5, abs=1e-3)
    assert "95% interval" in reading.study_measurements[0].method
    calm, _ = run_reader(reader, asked(typical(0.5)), ignore)
    assert (calm.state, calm.findings) == (ReaderState.NOTHING_FOUND, ())


@pytest.mark.parametrize(
    ("measured", "age", "sex", "said"),
    [
        (typical(), None, "F", "age is not known"),
        (typical(), 75, "O", "by sex"),
        (typical(), 100, "F", "hold from"),
        (
            {n: 20 * v for n, v in typical().items() if n != HEAD_SIZE} | {HEAD_SIZE: HEAD_MM3},
            75,
            "F",
            "unlike anybody",
        ),
    ],
)
def test_it_says_nothing_and_why(
    reader: AlzheimerReader, measured: dict[str, float], age: float | None, sex: str, said: str
) -> None:
    reading, _ = run_reader(reader, asked(measured, age, sex), ignore)
    assert reading.state is ReaderState.ABSTAINED
    assert said in reading.reason


def test_it_does_not_apply_without_freesurfers_measures(reader: AlzheimerReader) -> None:
    other = TypedSeries("1", SeriesType(modality="SR", kind="object"), None, measured={"99OTHER Left-Hippocampus": 3.0})
    head = TypedSeries("2", SeriesType(modality="MR", kind="mr-volume", region="head"), None)
    found = reader.applies((other, head))
    assert not found.applies
    assert "no norm for other definitions" in found.reason
    chosen = reader.applies((head, with_measures(typical())))
    assert chosen.series_instance_uids == ("1.2.3",)
    twice = asked(typical())
    again = ReadingRequest(
        "1.2", (*twice.series, with_measures(typical() | {"Left-Hippocampus": 1000.0})), twice.context
    )
    assert "disagree" in reader.read(again, ignore).abstained


def test_measures_travel_as_a_structured_report_of_the_study(reader: AlzheimerReader, tmp_path: Path) -> None:
    images = small_series(tmp_path / "ct", slices=2)
    measured = {n: (v, "mm" if n.endswith("_thickness") else "mm3") for n, v in typical().items()}
    at = datetime(2026, 1, 5, 12, tzinfo=UTC)
    data = encode_measures(measured, SCHEME, "FreeSurfer", images.paths[0], at)
    assert data == encode_measures(measured, SCHEME, "FreeSurfer", images.paths[0], at)
    validate(data, tmp_path)
    (tmp_path / "sr.dcm").write_bytes(data)
    found = load_study({"sr": [tmp_path / "sr.dcm"], "ct": images.paths})
    assert found.partial == ""
    read = found.series[0].measured
    assert read.keys() == {f"{SCHEME} {name}" for name in measured}
    assert all(read[f"{SCHEME} {name}"] == pytest.approx(value, rel=1e-5) for name, (value, _) in measured.items())
    assert reader.applies(found.series).series_instance_uids == ("sr",)
    (tmp_path / "sr.dcm").write_bytes(data[: len(data) // 2])
    assert load_study({"sr": [tmp_path / "sr.dcm"]}).series[0].measured.keys() <= read.keys()


def test_the_command_tells_and_writes_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = []
    for name, text in stats_files(typical(Left_Hippocampus=-3.0)).items():
        (tmp_path / name).write_text(text, "utf-8")
        files.append(str(tmp_path / name))
    assert main(["norms", "--stats", *files, "--age", "75", "--sex", "F"]) == 0
    said = capsys.readouterr().out
    assert "left hippocampus, volume: z -3.0" in said
    assert "Probability of dementia" in said
    assert "81 people of OASIS-1" in said
    assert "PLANTED" not in said
    assert main(["norms", "--stats", *files, "--json", "--age", "55", "--sex", "M"]) == 0
    assert json.loads(capsys.readouterr().out)["probability"] is None
    images = small_series(tmp_path / "ct", slices=1)
    out = tmp_path / "out.dcm"
    given = ["--study", str(images.paths[0]), "--age", "75", "--sex", "F"]
    assert main(["norms", "--stats", *files, *given, "--dicom", str(out)]) == 0
    assert load_study({"sr": [out]}).series[0].measured
    assert main(["norms", "--stats", *files, "--age", "75", "--sex", "F", "--dicom", str(out)]) == 2
    assert main(["norms", "--stats", str(tmp_path / "none"), "--age", "75", "--sex", "F"]) == 2
    assert "error" in capsys.readouterr().err


@pytest.mark.data
def test_the_weights_are_of_the_unlocked_part(shared_data: Path) -> None:
    everyone = read_people(shared_data / "alzheimer_tables")
    assert len([p for p in everyone if p.source == OASIS]) == 199
    log = json.loads((HERE / "weights" / "training.json").read_text("utf-8"))
    assert set(log["trained_on"]) == {fingerprint(p) for p in everyone if part(p) != TEST}
    ratio = [p.measured["BrainSegVolNotVent"] / p.head for p in everyone if p.source == OASIS]
    assert np.mean(ratio) == pytest.approx(0.70, abs=0.05), "the native brain fills the native head"
