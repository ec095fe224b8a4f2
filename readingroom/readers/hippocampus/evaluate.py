"""Measure the reader on a folder of crops it was not trained on. Crops whose voxels were trained on are left out,
whatever they are called. Measures are those of ``evaluation.segmentation``, intervals by bootstrap over files."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from readingroom.core.errors import BadInput
from readingroom.evaluation.bootstrap import DRAWS, bootstrap
from readingroom.readers.hippocampus.crops import read_crops
from readingroom.readers.hippocampus.measures import TOLERANCE_MM, Measures, measured
from readingroom.readers.hippocampus.reader import HERE, HippocampusReader

SEED = 20261130
RULE = (
    f"Each file counts once. dice_mean: mean of anterior and posterior; hd95_mm, surface_dice (within {TOLERANCE_MM:g} "
    f"mm) and assd_mm: of the whole hippocampus; volume_bias_percent: mean over files of (predicted - drawn) / drawn; "
    f"volume_error_percent: the mean of its size. 95% intervals by bootstrap over files ({DRAWS} draws, seed {SEED}). "
    f"Two files can be the two sides of one person and nothing in the set says which: intervals may be too narrow, and "
    f"a person may be on both sides of the split."
)

Report = Callable[[str, float], None]


def evaluate(reader: HippocampusReader, data: Path, command: str, report: Report) -> dict[str, Any]:
    """Return the evaluation as JSON data. Raises BadInput where nothing is left to evaluate on."""
    crops, problems = read_crops(data)
    trained = set(json.loads((HERE / "weights" / "training.json").read_text("utf-8"))["trained_on"])
    unseen = [crop for crop in crops if crop.fingerprint not in trained]
    if not unseen:
        raise BadInput("Every crop here was used in training.", "Evaluate on crops the reader has not seen.")
    cases = []
    for number, crop in enumerate(unseen):
        report("evaluate", number / len(unseen))
        cases.append(measured(crop, reader.labels(crop.image)))
    report("evaluate", 1.0)
    return {
        "reader": reader.card.name,
        "version": reader.card.version,
        "n_patients": len(unseen),
        "n_positive": len(unseen),
        "metrics": summed(cases),
        "operating_point": None,
        "data": f"{data.resolve().name}: {len(unseen)} crops, a file each; {len(crops) - len(unseen)} used in training "
        f"left out; {len(problems)} unreadable left out",
        "command": command,
        "matching_rule": RULE,
        "weights_sha256": reader.weights_sha256,
        "problems": problems,
    }


def summed(cases: Sequence[Measures]) -> dict[str, Any]:
    """Return the mean of each measure over files, with its interval."""
    return {
        name: bootstrap([case[name] for case in cases], lambda some: float(np.mean(some)), SEED).as_metric()
        for name in cases[0]
    }
