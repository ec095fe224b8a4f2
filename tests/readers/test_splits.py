"""No patient on two sides: of every reader's folds, and between what it was trained on and what is locked."""

import json
from collections import defaultdict
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path

import pytest

from readingroom.evaluation.leaks import LeakFound, check_no_leak
from readingroom.readers.lung_nodule.cubes import read_cubes
from readingroom.readers.lung_nodule.folds import TEST, part_of
from readingroom.readers.lung_nodule.ratings import joined
from readingroom.readers.registry import GROUP

TRAINED = {
    entry.name: Path(str(files(entry.module.rpartition(".")[0]))) / "weights" / "training.json"
    for entry in entry_points(group=GROUP)
    if entry.dist is not None and entry.dist.name == "readingroom"
}


@pytest.mark.parametrize("reader", sorted(TRAINED))
def test_each_case_has_one_fold(reader: str) -> None:
    log = json.loads(TRAINED[reader].read_text("utf-8"))
    folds = defaultdict(list)
    for case, fold in log["folds"].items():
        folds[f"fold {fold}"].append(case)
    check_no_leak(folds)
    assert sorted(log["folds"]) == sorted(log["trained_on"]), "the folds are those of all it was trained on"


@pytest.mark.data
def test_no_locked_patient_was_trained_on(shared_data: Path) -> None:
    folder = shared_data / "lung_nodule_cubes"
    cubes, _ = read_cubes(folder)
    log = json.loads(TRAINED["lung-nodule"].read_text("utf-8"))
    patients = joined(folder)
    parts = defaultdict(list)
    for cube in cubes:
        part = part_of(cube.case_id)
        # Under any name: by its voxels, and by its patient where that is known.
        for key in (cube.fingerprint, patients.get(cube.case_id, (cube.case_id, 0))[0]):
            parts[str(part)].append(key)
        assert (cube.fingerprint in log["trained_on"]) == (part != TEST)
    check_no_leak(parts)
    assert len(parts[str(TEST)]) == 2 * log["locked_test_cases"]


def test_a_patient_on_two_sides_is_found() -> None:
    with pytest.raises(LeakFound, match="also in"):
        check_no_leak({"training": ["a", "b"], "test": ["b"]})
