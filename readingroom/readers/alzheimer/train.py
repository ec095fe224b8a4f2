"""What the recipe names: the people as examples, and what is left when all folds are fitted: calibration, weights, log.

A person is known in files by a hash: nobody's row, age or measure leaves the data folder.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from readingroom.evaluation.classification import brier, calibration, delong, delong_difference
from readingroom.evaluation.estimate import Estimate
from readingroom.inference.calibration import fit_platt
from readingroom.readers.alzheimer.dementia import YOUNGEST, Dementia
from readingroom.readers.alzheimer.learn import Arrays, Learnt, controls, predict_all
from readingroom.readers.alzheimer.norms import WITHIN
from readingroom.readers.alzheimer.people import OASIS, Person, matrix, read_people
from readingroom.readers.alzheimer.regions import NAMES
from readingroom.readers.splits import TEST, part_of
from readingroom.readers.training import Report, TrainedTable, TrainingData

SPLIT = "alzheimer 1"
OPERATING_POINT = 0.5
"""Said before anything was measured: more likely than not among people of whom half have dementia."""
MARGIN = 1.5
"""The reader abstains where the median of |z| is so many times what one in a hundred exceeds, out of fold."""
BANDS = (("60_69", 60.0, 70.0), ("70_79", 70.0, 80.0), ("80_and_older", 80.0, 200.0))
OLD = f"{YOUNGEST:.0f}_and_older"


def part(person: Person) -> int:
    """Return TEST or the fold of a person."""
    return part_of(SPLIT, person.subject)


def fingerprint(person: Person) -> str:
    return hashlib.sha256(f"readingroom {SPLIT} {person.subject}".encode()).hexdigest()[:16]


def arrays_of(people: Sequence[Person]) -> dict[str, np.ndarray]:
    """Return what ``learn`` works on."""
    known = [-1.0 if p.dementia is None else float(p.dementia) for p in people]
    return {
        "age": np.array([p.age for p in people]),
        "male": np.array([float(p.male) for p in people]),
        "head": np.array([p.head for p in people]),
        "oasis": np.array([float(p.source == OASIS) for p in people]),
        "dementia": np.array(known),
        "scaled": np.array([p.hippocampus_scaled for p in people]),
    } | {kind: matrix(list(people), names) for kind, names in NAMES.items()}


def examples_for(data: Path, seed: int, processes: int, report: Report) -> TrainingData:
    """Return everybody but the locked part, a row a person."""
    everyone = read_people(data)
    people = [p for p in everyone if part(p) != TEST]
    report("examples", 1.0)
    return TrainingData(
        arrays_of(people), np.array([f"{p.source} {p.subject}" for p in people]), np.array([part(p) for p in people]),
        np.ones(len(people)), kept=(people, len(everyone) - len(people)),
    )  # fmt: skip


def finish_run(run: TrainedTable) -> dict[str, Any]:
    """Calibrate on what each fold's model says of people it never saw, and write weights and log."""
    arrays, fold = run.data.arrays, run.data.fold
    people, locked = run.data.kept
    said = out_of_fold(run.models, arrays, fold)
    old = (arrays["oasis"] > 0) & (arrays["age"] >= YOUNGEST)
    truth = arrays["dementia"] > 0
    platt = fit_platt(said["score"][old], truth[old])
    whole: Learnt = run.whole
    model = Dementia(
        whole.regions, tuple(whole.weights.tolist()), whole.offset, platt, float(truth[old].mean()), OPERATING_POINT
    )  # fmt: skip
    found = discrimination(truth, said["score"], arrays)
    z = {kind: calibration_of_z(said[f"z_{kind}"][controls(arrays, kind)]) for kind in NAMES}
    probability = platt.probability(said["score"][old])
    log = {
        "seed": run.seed, "recipe_sha256": run.facts["recipe_sha256"],
        "out_of_fold": {
            f"auc_dementia_{OLD}": found[f"auc_dementia_{OLD}"]["value"],
            f"auc_hippocampus_alone_{OLD}": found[f"auc_hippocampus_alone_{OLD}"]["value"],
            f"brier_{OLD}": round(brier(truth[old], probability), 4),
            **_slope(truth[old], probability),
            "n": int(old.sum()),
        },
        "discrimination": found, "z_of_controls": z, "chosen": whole.chosen,
        "n": {
            kind: {"controls": table.n, "ages": list(table.ages), "source": table.source}
            for kind, table in whole.norms.tables.items()
        },
        "people": {"trained": len(people), "locked": locked, "dementia": int(truth.sum()),
                   "oasis": int((arrays["oasis"] > 0).sum())},
        "domain": {"abstain_above": round(MARGIN * max(_away(said, arrays)), 3)},
        "operating_point": OPERATING_POINT, "prevalence": round(model.prevalence, 4),
        "folds": dict(sorted((fingerprint(p), int(f)) for p, f in zip(people, fold, strict=True))),
        "trained_on": sorted(fingerprint(p) for p in people),
    }  # fmt: skip
    for name, value in (
        ("norms.json", whole.norms.model_dump(mode="json")), ("dementia.json", model.as_json()), ("training.json", log)
    ):  # fmt: skip
        (run.folder / name).write_text(json.dumps(value, indent=1) + "\n", "utf-8")
    return log


def _slope(truth: np.ndarray, probability: np.ndarray) -> dict[str, float]:
    """The calibration slope; nothing where the classes are perfectly apart, and it has no end."""
    try:
        return {"calibration_slope": round(calibration(truth, probability).slope, 4)}
    except ValueError:
        return {}


def _away(said: Arrays, arrays: Arrays) -> list[float]:
    """The median of |z| of one person that one in a hundred exceeds, out of fold: volumes (OASIS), thickness (IXI)."""
    oasis = arrays["oasis"] > 0
    parts = (said["z_volume"][oasis], said["z_thickness"][~oasis])
    return [float(np.percentile(np.median(np.abs(z), axis=1), 99)) for z in parts]


def out_of_fold(models: Mapping[int, Learnt], arrays: Arrays, fold: np.ndarray) -> dict[str, np.ndarray]:
    """Return what each model says of the fold it never saw, put together in the order of ``arrays``."""
    made: dict[str, np.ndarray] = {}
    for k, learnt in models.items():
        here = fold == k
        for name, values in predict_all(learnt, {name: a[here] for name, a in arrays.items()}).items():
            made.setdefault(name, np.full((len(fold), *values.shape[1:]), np.nan))[here] = values
    return made


def discrimination(truth: np.ndarray, score: np.ndarray, arrays: Arrays) -> dict[str, Any]:
    """Return AUCs after DeLong of the score and of the hippocampus alone (its volume in atlas space, smaller is
    worse), and their paired difference: of all, from YOUNGEST on, and by age band; those that can't be had are left
    out."""
    groups = (("", 0.0, 200.0), (f"_{OLD}", YOUNGEST, 200.0), *((f"_{name}", low, high) for name, low, high in BANDS))
    found: dict[str, Estimate] = {}
    for name, low, high in groups:
        here = (arrays["oasis"] > 0) & (arrays["age"] >= low) & (arrays["age"] < high)
        if len(set(truth[here].tolist())) < 2:
            continue
        alone = -arrays["scaled"][here]
        found[f"auc_dementia{name}"] = delong(truth[here], score[here])
        found[f"auc_hippocampus_alone{name}"] = delong(truth[here], alone)
        if min(truth[here].sum(), (~truth[here]).sum()) > 1:
            found[f"auc_difference{name}"] = delong_difference(truth[here], score[here], alone).difference
    return {name: one.as_metric() for name, one in found.items()}


def calibration_of_z(z: np.ndarray) -> dict[str, Any]:
    """Return mean, SD and coverage of the 95 % band of z ``(people, regions)``, over both together."""
    return {
        "mean": round(float(np.nanmean(z)), 4), "sd": round(float(np.nanstd(z)), 4),
        "coverage": round(float((np.abs(z[np.isfinite(z)]) < WITHIN).mean()), 4), "n": len(z),
    }  # fmt: skip
