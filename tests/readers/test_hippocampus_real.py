"""The hippocampus reader as it is shipped: its card, its weights, and the locked files of the set it was made from."""

import json
from pathlib import Path

import numpy as np
import pytest
from mr_head_support import head, write_dicom

from readingroom.evaluation.leaks import check_no_leak
from readingroom.findings.model import ReaderState
from readingroom.intake.study import load_study
from readingroom.readers.contract import ReadingRequest
from readingroom.readers.hippocampus.card import WEIGHTS, build
from readingroom.readers.hippocampus.crops import part_of, read_crops
from readingroom.readers.hippocampus.measures import measured
from readingroom.readers.hippocampus.reader import HERE, HippocampusReader
from readingroom.readers.runner import run_reader
from readingroom.readers.splits import TEST


@pytest.fixture(scope="module")
def reader() -> HippocampusReader:
    return HippocampusReader()


def test_the_card_is_what_ran(reader: HippocampusReader) -> None:
    evaluation = json.loads((HERE / "weights" / "evaluation.json").read_text("utf-8"))
    assert evaluation["weights_sha256"] == reader.weights_sha256
    assert reader.card.model_dump(mode="json") == type(reader.card)(**build(HERE / "weights", evaluation)).model_dump(
        mode="json"
    )
    assert sum((HERE / "weights" / name).stat().st_size for name in WEIGHTS) < 20e6


def test_a_constructed_head_gives_two_like_sides(reader: HippocampusReader, tmp_path: Path) -> None:
    series, files = write_dicom(tmp_path, head((5, 4, -6), step_mm=(1.5, 1.4, 1.4)))
    found = load_study({series: files})
    reading, _ = run_reader(reader, ReadingRequest("1.2", found.series, found.context), lambda step, done: None)
    assert reading.state == ReaderState.FOUND, reading.reason
    volumes = {one.code.meaning: one.value for one in reading.study_measurements}
    left, right = (volumes[f"Volume of the {side} hippocampus"] for side in ("left", "right"))
    # The template is symmetric, and its hippocampi are those of adults.
    assert abs(left - right) / left < 0.06
    assert 2.5 < left < 5.5


@pytest.mark.data
def test_no_locked_file_was_trained_on(shared_data: Path) -> None:
    crops, _ = read_crops(shared_data / "hippocampus")
    trained = json.loads((HERE / "weights" / "training.json").read_text("utf-8"))["trained_on"]
    locked = [crop.fingerprint for crop in crops if part_of(crop.name) == TEST]
    check_no_leak({"trained on": trained, "locked": locked})
    assert len(trained) + len(locked) == len(crops)


@pytest.mark.data
def test_some_locked_files_are_outlined_as_the_card_says(reader: HippocampusReader, shared_data: Path) -> None:
    crops, _ = read_crops(shared_data / "hippocampus")
    some = [crop for crop in crops if part_of(crop.name) == TEST][:5]
    found = [measured(crop, reader.labels(crop.image)) for crop in some]
    assert np.mean([one["dice_mean"] for one in found]) > 0.84
    assert np.mean([one["hd95_mm"] for one in found]) < 2
