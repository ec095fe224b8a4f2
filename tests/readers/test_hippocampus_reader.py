"""From DICOM of a constructed head to findings, segments and volumes: places, sides however it was stored, abstention.
The network draws a known body, so that every number has a truth."""

from pathlib import Path

import numpy as np
import pytest
from hippocampus_support import body, make_folder
from mr_head_support import Head, head, write_dicom

from readingroom.core.errors import BadInput
from readingroom.findings.codes import code
from readingroom.findings.model import PatientPlace, ReaderState, Reading
from readingroom.intake.study import load_study
from readingroom.readers.contract import ReadingOutput, ReadingRequest, SeriesType, TypedSeries
from readingroom.readers.hippocampus.head import CENTRES
from readingroom.readers.hippocampus.reader import HippocampusReader
from readingroom.readers.runner import run_reader

VOLUMES = {part: float((body() == n).sum()) for n, part in enumerate(("anterior", "posterior"), 1)}


def ignore(step: str, fraction: float) -> None: ...


def request_for(folder: Path, made: Head, **stored: object) -> ReadingRequest:
    series, files = write_dicom(folder, made, **stored)  # type: ignore[arg-type]
    found = load_study({series: files})
    return ReadingRequest("1.2.3", found.series, found.context, bool(found.partial))


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> HippocampusReader:
    return HippocampusReader(make_folder(tmp_path_factory.mktemp("drawn") / "reader"))


@pytest.fixture(scope="module")
def lying() -> Head:
    return head((6, -5, 8), (1.0, 1.0, 1.0), (5, -8, 10), step_mm=(1.6, 1.4, 1.4))


Read = tuple[Reading, ReadingOutput]


@pytest.fixture(scope="module")
def read_once(reader: HippocampusReader, lying: Head, tmp_path_factory: pytest.TempPathFactory) -> Read:
    return run_reader(reader, request_for(tmp_path_factory.mktemp("head"), lying), ignore)


def test_four_parts_are_found_where_they_are(read_once: Read, lying: Head) -> None:
    reading, output = read_once
    assert reading.state == ReaderState.FOUND, reading.reason
    assert len(reading.findings) == 4
    for finding in reading.findings:
        assert finding.side is not None
        assert finding.side.agree
        assert isinstance(finding.place, PatientPlace)
        there = lying.at(CENTRES[str(finding.side.value)])
        # Half of a body of 37 mm lies 8 mm before or behind its middle.
        ahead = -1 if finding.code == code("hippocampus-anterior") else 1
        there = there + lying.to_head[:3, :3] @ np.array([0, ahead * 7.0, 0])
        assert np.linalg.norm(there - np.array(finding.place.position_lps_mm)) < 3
        part = "anterior" if ahead < 0 else "posterior"
        (volume,) = finding.measurements
        assert (volume.value, volume.unit.value) == (pytest.approx(VOLUMES[part], rel=0.01), "mm3")
        mask = output.segments[finding.segment]
        assert mask.mask.sum() * 1.6 * 1.4 * 1.4 == pytest.approx(VOLUMES[part], rel=0.05)
        assert output.heat_maps[finding.evidence.heat_map][mask.mask].min() > 0.33


def test_volumes_of_the_study(read_once: Read) -> None:
    reading, _ = read_once
    said = {one.code.value: (one.value, one.unit.value) for one in reading.study_measurements}
    whole = sum(VOLUMES.values()) / 1000
    for side in ("left", "right"):
        value, unit = said[code(f"hippocampus-volume-{side}").value]
        assert (value, unit) == (pytest.approx(whole, rel=0.01), "cm3")
        parts = [said[code(f"hippocampus-volume-{side}-{part}").value][0] for part in VOLUMES]
        assert sum(parts) == pytest.approx(value, abs=0.002)
    assert said[code("hippocampus-asymmetry").value] == (pytest.approx(0, abs=1), "%")
    assert reading.input_statistics["template_likeness"] > 0.9  # type: ignore[operator]
    assert reading.out_of_domain_score == 0


def test_sides_are_right_however_it_was_stored(
    reader: HippocampusReader, lying: Head, read_once: Read, tmp_path: Path
) -> None:
    stored = {"mirrored_rows": True, "from_the_head": True, "position": "FFS", "description": "SIMULATED T1 left ear"}
    reading, _ = run_reader(reader, request_for(tmp_path, lying, **stored), ignore)

    def told(one: Reading) -> list[tuple[str, str, tuple[int, ...]]]:
        return sorted(
            (f.code.value, str(f.side.value), tuple(round(v) for v in f.place.position_lps_mm))  # type: ignore[union-attr]
            for f in one.findings
        )

    for ours, first in zip(told(reading), told(read_once[0]), strict=True):
        assert ours[:2] == first[:2]
        assert np.abs(np.subtract(ours[2], first[2])).max() <= 1
    # A description that names another side is heard, and said.
    assert {str(f.side.value): f.side.agree for f in reading.findings if f.side} == {"left": True, "right": False}


def test_features_unlike_the_training_files_are_not_read(lying: Head, tmp_path: Path) -> None:
    strange = HippocampusReader(make_folder(tmp_path / "reader", features=9.0))
    reading, _ = run_reader(strange, request_for(tmp_path / "head", lying), ignore)
    assert (reading.state, reading.findings) == (ReaderState.ABSTAINED, ())
    assert "unlike" in reading.reason
    assert reading.out_of_domain_score == 3


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ({"modality": "CT", "kind": "ct-volume", "region": "head"}, "no MR"),
        ({"modality": "MR", "kind": "mr-volume", "region": "limb"}, "head"),
        ({"modality": "MR", "kind": "mr-volume", "region": "head", "sequence": "FLAIR"}, "T1"),
        ({"modality": "MR", "kind": "mr-volume", "region": "head", "sequence": "T1-post"}, "contrast"),
        ({"modality": "MR", "kind": "mr-volume", "region": "head", "sequence": "T1"}, ""),
    ],
)
def test_it_says_what_it_does_not_read(reader: HippocampusReader, kind: dict[str, str], said: str) -> None:
    asked = reader.applies((TypedSeries("1.2", SeriesType(**kind), None),))  # type: ignore[arg-type]
    assert asked.applies == (not said)
    assert said in asked.reason


def test_other_weights_than_the_card_names_are_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "reader")
    (folder / "weights" / "calibration.json").write_text('{"anterior": 9, "posterior": 9}')
    with pytest.raises(BadInput, match=r"calibration\.json"):
        HippocampusReader(folder)
