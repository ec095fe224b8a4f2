"""How ``hippocampus`` is trained, from a folder laid out like the set ``hippocampus``; ``recipe.yaml`` names these.

The engine trains a network a fold of files; ``finish_run`` sets, on what each network says of files it has not seen,
the shift that takes the bias out of volumes. The locked test part (``crops.part_of``) is not touched. Two files can be
the two sides of one person and no table says which: a split by person is not possible here.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from readingroom.core.errors import BadInput
from readingroom.inference import domain
from readingroom.readers.hippocampus import card
from readingroom.readers.hippocampus.crops import PARTS, Crop, padded, padded_labels, part_of, read_crops, unpadded
from readingroom.readers.hippocampus.measures import measured
from readingroom.readers.hippocampus.outline import Shift, outline
from readingroom.readers.splits import TEST
from readingroom.readers.training import Report, TrainedRun, TrainingData

REACH, STEPS, ROUNDS = 2.0, 7, 2
"""How far the shift may go, how often its range is halved, how often each part has its turn: each moves the other."""


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
    """Write all that ``card.WEIGHTS`` names and a ``card.yaml`` without a test result; return what ``training.json``
    holds."""
    kept: Kept = run.data.kept
    logits, places = _out_of_fold(run)
    run.report("volumes", 0.7)
    drawn = [padded_labels(crop.labels) for crop in kept.crops]
    shift = unbiased(logits, drawn)
    plain = _judged(kept.crops, logits, Shift())
    learnt = domain.learn(*places)
    log: dict[str, Any] = {
        "seed": run.seed,
        "recipe_sha256": run.facts["recipe_sha256"],
        "training_cases": len(kept.crops),
        "locked_test_cases": kept.locked,
        "left_out": kept.problems,
        "trained_on": sorted(crop.fingerprint for crop in kept.crops),
        "folds": {crop.fingerprint: part_of(crop.name) for crop in kept.crops},
        "shift": shift.as_json(),
        "out_of_fold": _judged(kept.crops, logits, shift),
        "out_of_fold_without_shift": plain,
        "domain": {"abstain_above": learnt.abstain_above, "files": learnt.validation_patients},
        "onnx_largest_difference": run.facts["onnx_largest_difference"],
        "versions": run.facts["versions"],
    }
    _write_json(run.folder / "calibration.json", shift.as_json())
    _write_json(run.folder / "domain.json", learnt.model_dump())
    _write_json(run.folder / "training.json", log)
    card.write(run.folder / "card.yaml", run.folder, None)
    return log


def _out_of_fold(run: TrainedRun) -> tuple[list[np.ndarray], tuple[list[domain.Places], list[domain.Places]]]:
    """What each crop's own network says of it, which has not seen it: logits; and the features of every network, on
    what it was trained on and on what it was not."""
    logits: list[np.ndarray] = [np.empty(0)] * len(run.data)
    trained, unseen = [], []
    for fold, network in sorted(run.networks.items()):
        run.report("out of fold", 0.2 * fold)
        features = []
        for n, image in enumerate(run.data.arrays["image"]):
            with torch.no_grad():
                said, its = network(torch.from_numpy(image[None]))
            features.append(its[0].numpy())
            if run.data.fold[n] == fold:
                logits[n] = said[0].numpy()
        hidden = run.data.fold == fold
        rows = np.stack(features)
        trained.append(domain.Places(rows[~hidden], run.data.group[~hidden]))
        unseen.append(domain.Places(rows[hidden], run.data.group[hidden]))
    return logits, (trained, unseen)


def unbiased(logits: list[np.ndarray], drawn: list[np.ndarray]) -> Shift:
    """Return the shift at which the mean bias of both volumes is 0 on these crops, part after part, by halving."""
    sizes = [[np.count_nonzero(truth == label) for label in (1, 2)] for truth in drawn]
    near = [_near(said) for said in logits]
    found = Shift()
    for _ in range(ROUNDS):
        for label, part in enumerate(PARTS, 1):
            low, high = -REACH, REACH
            for _ in range(STEPS):
                tried = dataclasses.replace(found, **{part: (low + high) / 2})
                bias = np.mean([
                    np.count_nonzero(outline(said, tried).labels == label) / size[label - 1] - 1
                    for said, size in zip(near, sizes, strict=True)
                ])  # fmt: skip
                low, high = (low, getattr(tried, part)) if bias > 0 else (getattr(tried, part), high)
            found = dataclasses.replace(found, **{part: round((low + high) / 2, 4)})
    return found


def _near(logits: np.ndarray) -> np.ndarray:
    """The box of logits in which any shift that is tried can make anything but background."""
    places = np.argwhere(logits[1:].max(axis=0) + REACH > logits[0])
    low, high = places.min(axis=0), places.max(axis=0) + 1
    return logits[(slice(None), *(slice(a, b) for a, b in zip(low, high, strict=True)))]


def _judged(crops: list[Crop], logits: list[np.ndarray], shift: Shift) -> dict[str, Any]:
    cases = [
        measured(crop, unpadded(outline(said, shift).labels, crop.labels.shape))
        for crop, said in zip(crops, logits, strict=True)
    ]
    return {"n": len(cases)} | {name: float(np.mean([case[name] for case in cases])) for name in cases[0]}


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
