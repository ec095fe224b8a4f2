"""``readingroom read`` on folders good, mixed and bad. A fast stand-in reader keeps this about the command."""

import json
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread

from readingroom.cli import read
from readingroom.cli.main import main
from readingroom.findings.codes import code
from readingroom.findings.model import Finding, PatientPlace, SegmentMask
from readingroom.imaging.simulate import write_chest_ct
from readingroom.readers.contract import Applicability, Card, Progress, ReadingOutput, ReadingRequest, TypedSeries
from readingroom.readers.registry import LoadedReader


class Corner:
    """Marks the first voxels of the first volume."""

    card = Card(
        name="corner", version="1", title="Corner", question="q", takes="x", finds=(), evidence_level=0,
        evidence="none", operating_point=0.5, limits=(), weights_licence="none", data=(),
    )  # fmt: skip
    weights_sha256 = ""
    configuration_sha256 = "c"
    fails = False

    def applies(self, series: tuple[TypedSeries, ...]) -> Applicability:
        usable = [s for s in series if s.volume is not None]
        if not usable:
            return Applicability(applies=False, reason="no volume")
        return Applicability(applies=True, reason="yes", series_instance_uids=(usable[0].series_instance_uid,))

    def read(self, request: ReadingRequest, progress: Progress) -> ReadingOutput:
        if self.fails:
            raise RuntimeError("Doe^Jane")
        volume = request.series[0].volume
        assert volume is not None
        mask = volume.array[:2, :2, :2] > -5000
        x, y, z = (float(c) for c in volume.affine[:3, 3])
        place = PatientPlace(frame_of_reference_uid=volume.frame_of_reference_uid, position_lps_mm=(x, y, z))
        segment = SegmentMask(volume.series_instance_uid, (0, 0, 0), mask, volume.sop_instance_uids[:2])
        finding = Finding(
            id="c", code=code("nodule"), place=place, probability=0.75, segment="c", site=code("lung"),
            series_instance_uid=volume.series_instance_uid,
        )  # fmt: skip
        return ReadingOutput(findings=(finding,), segments={"c": segment})


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Corner:
    one = Corner()
    monkeypatch.setattr(read, "load_readers", lambda: [LoadedReader("corner", "1", one)])
    return one


@pytest.fixture
def chest(tmp_path: Path) -> Path:
    write_chest_ct(tmp_path / "in", slices=40, rows=64)
    return tmp_path / "in"


def test_one_json_object_a_line_and_objects(
    reader: Corner, chest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["read", str(chest), "--json", "--out", str(tmp_path / "out")]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    reading = json.loads(line)
    assert (reading["reader"], reading["version"], reading["state"]) == ("corner", "1", "found")
    (finding,) = reading["findings"]
    assert finding["code"]["value"] == "27925004"
    assert finding["probability"] == 0.75
    assert finding["place"]["type"] == "patient"
    assert finding["position_lps_mm"] == finding["place"]["position_lps_mm"]
    assert finding["measurements"] == []
    written = {dcmread(p).Modality: p.name for p in (tmp_path / "out").iterdir()}
    assert set(written) == {"SEG", "SR"}
    assert all("Chest" not in name for name in written.values())


def test_the_same_run_writes_the_same_objects(
    reader: Corner, chest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def written(name: str) -> dict[str, bytes]:
        assert main(["read", str(chest), "--json", "--out", str(tmp_path / name)]) == 0
        return {path.name: path.read_bytes() for path in sorted((tmp_path / name).iterdir())}

    def uids(objects: dict[str, bytes]) -> set[str]:
        headers = [dcmread(BytesIO(data)) for data in objects.values()]
        return {str(ds.SOPInstanceUID) for ds in headers} | {str(ds.SeriesInstanceUID) for ds in headers}

    first = written("first")
    assert len(first) == 2
    assert written("again") == first
    # Other weights, other settings or other pixels are another reading.
    reader.weights_sha256 = "w"
    other_weights = written("weights")
    reader.configuration_sha256 = "d"
    other_settings = written("settings")
    changed = dcmread(sorted(chest.iterdir())[0])
    changed.PixelData = changed.PixelData[:-2] + b"\x01\x00"
    changed.save_as(changed.filename)
    sets = [uids(objects) for objects in (first, other_weights, other_settings, written("pixels"))]
    assert len(set().union(*sets)) == sum(map(len, sets))


def test_text_for_people_says_what_it_is_for(reader: Corner, chest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", str(chest)]) == 0
    told = capsys.readouterr().out
    assert "75%" in told
    assert "research use only" in told.lower()


def test_studies_mixed_in_one_folder_are_told_apart(
    reader: Corner, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_chest_ct(tmp_path / "a", slices=40, rows=64)
    write_chest_ct(tmp_path / "b", slices=40, rows=64, seed=1)
    for folder in ("a", "b"):
        for path in (tmp_path / folder).iterdir():
            (tmp_path / "mixed").mkdir(exist_ok=True)
            path.rename(tmp_path / "mixed" / f"{folder}-{path.name}")
    (tmp_path / "mixed" / "notes.txt").write_text("not DICOM")
    assert main(["read", str(tmp_path / "mixed"), "--json"]) == 0
    told = capsys.readouterr()
    studies = {json.loads(line)["study_instance_uid"] for line in told.out.splitlines()}
    assert len(studies) == 2
    assert "1 file" in told.err
    assert "notes" not in told.err


def test_a_failed_reading_exits_1_and_says_nothing_of_the_patient(
    reader: Corner, chest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reader.fails = True
    assert main(["read", str(chest), "--json"]) == 1
    told = capsys.readouterr()
    assert json.loads(told.out)["state"] == "failed"
    assert "Doe" not in told.out + told.err


def test_two_patients_under_one_study_are_not_read(
    reader: Corner, chest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = sorted(chest.iterdir())[0]
    ds = dcmread(first)
    ds.PatientID = "OTHER"
    ds.save_as(first)
    assert main(["read", str(chest), "--json"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "2 patients" in told.err
    assert "OTHER" not in told.err


@pytest.mark.parametrize("content", [None, b"", b"DICM" * 50, b"\x00" * 200])
def test_nothing_to_read_exits_2(
    reader: Corner, tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    if content is not None:
        (tmp_path / "in" / "x").write_bytes(content)
    assert main(["read", str(tmp_path / "in")]) == 2
    assert "error" in capsys.readouterr().err


def test_unknown_path_or_reader_exits_2(reader: Corner, chest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", str(chest / "nowhere")]) == 2
    assert main(["read", str(chest), "--reader", "nobody"]) == 2
    assert "corner" in capsys.readouterr().err


def test_a_reader_that_cannot_load_is_a_failed_reading(
    chest: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(read, "load_readers", lambda: [LoadedReader("torn", "2", None, "The weights differ.")])
    assert main(["read", str(chest), "--json"]) == 1
    reading = json.loads(capsys.readouterr().out)
    assert (reading["state"], reading["reason"]) == ("failed", "The weights differ.")


def test_objects_that_cannot_be_written_fail_that_reading_only(
    reader: Corner, chest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stumble(*_given: object, **_named: object) -> None:
        raise AttributeError("Doe^Jane")

    monkeypatch.setattr(read, "encode_reading", stumble)
    assert main(["read", str(chest), "--json", "--out", str(tmp_path / "out")]) == 1
    told = capsys.readouterr()
    assert json.loads(told.out)["state"] == "failed"
    assert "Doe" not in told.out + told.err
