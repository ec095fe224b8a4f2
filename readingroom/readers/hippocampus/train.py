"""How ``hippocampus`` is trained, from a folder laid out like the set ``hippocampus``; ``recipe.yaml`` names these.

The engine trains a network a fold of files; ``finish_run`` sets, on what each network says of files it has not seen,
the shift that takes the bias out of volumes. The locked test part (``crops.part_of``) is not touched. Two files can be
the two sides of one person and no table says which: a split by person is not possible here.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from readingroom.core.errors import BadInput
from readingroom.readers.hippocampus.crops import Crop, padded, padded_labels, part_of, read_crops
from readingroom.readers.splits import TEST
from readingroom.readers.training import Report, TrainedRun, TrainingData


@dataclass(frozen=True, eq=False)
class Kept:
    """What ``finish_run`` needs besides the arrays: the crops in their order."""

    crops: list[Crop]
    locked: int
    problems: list[str]


def examples_for(data: Path, seed: int, processes: int, report: Report) -> TrainingData:
    """Return the crops of ``data`` that are not locked. Raises BadInput where there are too few."""
    everything, problems = read_crops(data)
    crops = [crop for crop in everything if part_of(crop.name) != TEST]
    if len(crops) < 12:
        raise BadInput(f"{len(crops)} crops are too few to train on (12 at least).")
    arrays = {
        "image": np.stack([padded(crop.image)[None] for crop in crops]),
        "labels": np.stack([padded_labels(crop.labels)[None] for crop in crops]),
    }
    kept = Kept(crops, len(everything) - len(crops), problems)
    group = np.array([crop.fingerprint for crop in crops])
    return TrainingData(arrays, group, np.array([part_of(c.name) for c in crops]), np.ones(len(crops)), kept)


def finish_run(run: TrainedRun) -> dict[str, Any]:
    raise BadInput("not written yet")
