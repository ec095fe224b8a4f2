"""How ``lung-nodule`` is trained, from a folder laid out like ``lung_nodule_cubes``; ``recipe.yaml`` names these.

``examples_for`` makes the first look and the patches; the engine trains a network a fold; ``finish_run`` weighs both
looks, calibrates, sets the operating point and learns what else is said of a nodule, all on what each fold's first look
and network say of patients they have not seen. The locked test part (``folds.part_of``) is not touched.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from readingroom.core.errors import BadInput
from readingroom.inference.calibration import Calibration, fit_platt
from readingroom.readers.lung_nodule import (
    card,
    characterise,
    classifier,
    detect,
    domain,
    examples,
    features,
    first_look,
    malignancy,
    similar,
)  # fmt: skip
from readingroom.readers.lung_nodule.cubes import Cube, read_cubes
from readingroom.readers.lung_nodule.folds import TEST, part_of
from readingroom.readers.lung_nodule.ratings import NAMES, TABLE, joined, lidc_nodules, read_ratings
from readingroom.readers.training import Report, TrainedRun, TrainingData

VARIANTS = 6
PLANTS = 3
TARGET_FALSE_MARKS_PER_LITRE = 2.0
"""The operating point: the least threshold at which out-of-fold false marks in the training cubes are at most this."""
SCAN_NODULES_PER_LITRE = 1186 / 888 / 4.5
"""Prior for use: 1,186 nodules in 888 scans (LUNA16: 3 mm and more, by 3 of 4 readers), about 4.5 l of lung each."""
RATES = (0.5, 1, 2, 4, 8)
CUTS = (0.15, 0.2, 0.3, 0.4, 0.5, 0.6)


@dataclass(frozen=True, eq=False)
class Kept:
    """What ``finish_run`` needs besides the patches."""

    folder: Path
    cubes: list[Cube]
    locked: list[Cube]
    problems: list[str]
    look: first_look.FirstLook
    ratings: Mapping[str, Mapping[str, float]]
    patients: Mapping[str, str]


def examples_for(data: Path, seed: int, processes: int, report: Report) -> TrainingData:
    """Return the patches of the training cases in ``data``. Raises BadInput where it can't be trained on."""
    everything, problems = read_cubes(data)
    cubes = [c for c in everything if part_of(c.case_id) != TEST and c.centre is not None]
    if len(cubes) < 10:
        raise BadInput(f"{len(cubes)} training cases with a nodule are too few (10 at least).")
    ratings, patients = _ratings(data)
    if not any(c.case_id in ratings for c in cubes):
        raise BadInput("No case has ratings: ground_truth.xls is missing beside the cubes, or fits none.")
    with threadpool_limits(1):
        report("background CT", 0.02)
        background = first_look.read_background(data.resolve().parent / first_look.BACKGROUND)
        look = first_look.learn(
            cubes, background, VARIANTS, PLANTS, seed, lambda step, done: report(step, 0.05 + 0.5 * done)
        )
        patches, groups, folds = examples.make(
            cubes, ratings, look.folds, look.whole, background, look.known, first_look.BACKGROUND, seed, processes,
            lambda step, done: report(step, 0.55 + 0.45 * done),
        )  # fmt: skip
    nodule = np.array([p.nodule for p in patches])
    arrays = {
        "image": np.stack([p.hu for p in patches]),
        "mask": np.stack([p.mask for p in patches]),
        "nodule": nodule.astype(np.float32),
        "ratings": np.array([p.ratings for p in patches], np.float32),
    }
    draw = examples.draws([p.category for p in patches], nodule, groups)
    locked = [c for c in everything if part_of(c.case_id) == TEST]
    kept = Kept(data, cubes, locked, problems, look, ratings, patients)
    return TrainingData(arrays, np.array(groups), np.array(folds), draw, kept)


def _ratings(data: Path) -> tuple[dict[str, Mapping[str, float]], dict[str, str]]:
    """Ratings of each case, the mean of all its LIDC readers where it is joined to them; and its LIDC patient."""
    said = dict(read_ratings(data))
    _, by_annotation = lidc_nodules(data.resolve().parent / TABLE)
    patients = {}
    for case, (patient, annotation) in joined(data).items():
        patients[case] = patient
        nodule = by_annotation.get(annotation)
        if nodule is not None and nodule.patient == patient:
            said[case] = {name: nodule.mean(name) for name in NAMES}
    return said, patients


def finish_run(run: TrainedRun) -> dict[str, Any]:
    """Write all that ``card.WEIGHTS`` names and a ``card.yaml`` without a test result; return what ``training.json``
    holds."""
    kept: Kept = run.data.kept
    looked = _out_of_fold(run, kept)
    weighing = _with_cut(kept.cubes, looked, _weigh(kept.cubes, looked))
    marks = [
        detect.marks_of(one, weighing, cube.hu.shape, -np.inf)[:12]
        for cube, one in zip(kept.cubes, looked, strict=True)
    ]
    run.report("operating point", 0.6)
    volume = sum(detect.litres(c.lungs) for c in kept.cubes)
    scores = np.array([m.score for case in marks for m in case])
    truth = np.array([c.hits(m.index) for c, case in zip(kept.cubes, marks, strict=True) for m in case])
    false = np.array([not c.on_annotation(m.index) for c, case in zip(kept.cubes, marks, strict=True) for m in case])
    calibration = _calibrate(scores, truth, len(kept.cubes) / volume)
    threshold = _threshold(scores[false], volume)
    on = [
        [m for m in case if c.hits(m.index)] for c, case in zip(kept.cubes, marks, strict=True)
    ]  # fmt: skip
    rated = _rated(kept, on)
    characteristics = characterise.learn(*rated)
    locked = frozenset(kept.patients[c.case_id] for c in kept.locked if c.case_id in kept.patients)
    nodules, _ = lidc_nodules(kept.folder.resolve().parent / TABLE)
    learnt = malignancy.learn(nodules, locked, run.seed)
    run.report("nearest cases", 0.8)
    together = _together(run, kept)
    cases = _cases(kept, together)
    known = domain.learn_domain(
        [c.fingerprint for c in kept.cubes], [part_of(c.case_id) for c in kept.cubes],
        np.stack([domain.describe(c.hu, c.lungs) for c in kept.cubes]), looked, together,
    )  # fmt: skip
    export, worst = first_look.export(kept.look)
    negatives = np.concatenate([one.second for one in looked if one is not None])
    log: dict[str, Any] = {
        "seed": run.seed,
        "recipe_sha256": run.facts["recipe_sha256"],
        "training_cases": len(kept.cubes),
        "locked_test_cases": len(kept.locked),
        "left_out": kept.problems,
        "trained_on": sorted(c.fingerprint for c in kept.cubes),
        "folds": {c.fingerprint: part_of(c.case_id) for c in kept.cubes},
        "patches": len(run.data),
        "patches_nodule": int((run.data.arrays["nodule"] > 0.5).sum()),
        "rows_background_ct": int(kept.look.known.sum()),
        "operating_point": float(calibration.probability(np.array(threshold))),
        "operating_point_rule": f"out-of-fold false marks in the training cubes <= {TARGET_FALSE_MARKS_PER_LITRE:g}/l",
        "out_of_fold": {
            "sensitivity": float(np.mean([any(m.score >= threshold for m in case) for case in on])),
            "false_positives_per_litre": float((scores[false] >= threshold).sum() / volume),
            "n": len(kept.cubes),
            "litres": volume,
            "froc": _froc(on, scores[false], volume),
            "dice": _dice(kept.cubes, on),
            "calibration_error": _calibration_error(calibration, scores, truth),
            "texture_error": float(np.abs(rated[0]["texture"] - rated[1]["texture"]).mean()),
        },
        "malignancy": learnt.report,
        "onnx_largest_difference": {"network": run.facts["onnx_largest_difference"], "first look": worst},
        "weighing": weighing.as_json(),
        "versions": run.facts["versions"],
    }
    out = run.folder
    (out / "model.onnx").write_bytes(export)
    baseline = {
        "names": features.NAMES, "values": first_look.typical(kept.look), "second": float(np.median(negatives)),
    }  # fmt: skip
    _write_json(out / "weighing.json", weighing.as_json())
    _write_json(out / "calibration.json", calibration.model_dump())
    _write_json(out / "baseline.json", baseline)
    _write_json(out / "characteristics.json", characteristics.as_json())
    _write_json(out / "malignancy.json", learnt.model.as_json())
    _write_json(out / "cases.json", cases.as_json())
    _write_json(out / "domain.json", known.as_json())
    _write_json(out / "training.json", log)
    card.write(out / "card.yaml", out, None)
    return log


def of_torch(network: torch.nn.Module) -> detect.Network:
    """Return a torch network as ``detect`` wants one."""

    def run(patches: np.ndarray) -> dict[str, np.ndarray]:
        with torch.no_grad():
            said = network(torch.from_numpy(np.ascontiguousarray(patches, np.float32)))
        return {name: one.numpy() for name, one in zip(detect.OUTPUTS, said, strict=True)}

    return run


def _out_of_fold(run: TrainedRun, kept: Kept) -> list[detect.Looked | None]:
    """What both looks say of each training cube: a first look and a network that have seen nothing of its patient."""
    found = []
    for n, cube in enumerate(kept.cubes):
        run.report("out of fold", 0.6 * n / len(kept.cubes))
        fold = part_of(cube.case_id)
        first: classifier.Ensemble = kept.look.folds[fold]
        found.append(detect.look(cube.hu, cube.lungs, first.score, of_torch(run.networks[fold])))
    return found


def _weigh(cubes: list[Cube], looked: list[detect.Looked | None]) -> detect.Weighing:
    """How much each look counts: a logistic regression over out-of-fold candidates, each patient weighing the same."""
    from sklearn.linear_model import LogisticRegression

    rows, truth, weight = [], [], []
    for cube, one in zip(cubes, looked, strict=True):
        if one is None:
            continue
        said = first_look.labels(cube, one.found.index)
        kept = said >= 0
        rows.append(np.stack([one.first[kept], one.second[kept]], axis=1))
        truth.append(said[kept])
        positives = max(1, int((said == 1).sum()))
        weight.append(np.where(said[kept] == 1, 1 / positives, 0.2))
    x, y, w = np.concatenate(rows), np.concatenate(truth), np.concatenate(weight)
    found = LogisticRegression(C=1.0).fit(x, y, sample_weight=w)
    # Neither look may count against itself, whatever a few cases say.
    first, second = (max(0.05, float(v)) for v in found.coef_[0])
    return detect.Weighing(first, second)


def _with_cut(cubes: list[Cube], looked: list[detect.Looked | None], weighing: detect.Weighing) -> detect.Weighing:
    """Add how sure a voxel must be: what gives the best Dice on patients that the networks have not seen."""
    tried = []
    for cut in CUTS:
        one = dataclasses.replace(weighing, cut=cut)
        marks = [detect.marks_of(its, one, c.hu.shape, -np.inf)[:12] for c, its in zip(cubes, looked, strict=True)]
        on = [[m for m in case if c.hits(m.index)] for c, case in zip(cubes, marks, strict=True)]
        tried.append((_dice(cubes, on), one))
    return max(tried, key=lambda pair: pair[0])[1]


def _calibrate(scores: np.ndarray, truth: np.ndarray, nodules_per_litre: float) -> Calibration:
    """Platt scaling on out-of-fold marks, then from the cubes' share of nodules to that of whole scans."""
    fitted = fit_platt(scores, truth)
    return fitted.model_copy(update={"prior_shift": float(np.log(SCAN_NODULES_PER_LITRE / nodules_per_litre))})


def _threshold(false_scores: np.ndarray, volume: float) -> float:
    ordered = np.sort(false_scores)[::-1]
    allowed = int(TARGET_FALSE_MARKS_PER_LITRE * volume)
    return float(np.nextafter(ordered[allowed], np.inf)) if allowed < len(ordered) else float(ordered[-1])


def _froc(on: list[list[detect.Mark]], false: np.ndarray, volume: float) -> dict[str, float]:
    best = np.array([max((m.score for m in case), default=-np.inf) for case in on])
    ordered = np.sort(false)[::-1]
    out = {}
    for rate in RATES:
        allowed = int(rate * volume)
        limit = ordered[allowed] if allowed < len(ordered) else -np.inf
        out[f"{rate:g}"] = float((best > limit).mean())
    return out


def _dice(cubes: list[Cube], on: list[list[detect.Mark]]) -> float:
    """Mean Dice of the best mark on each nodule that has one."""
    found = [case[0].segment.dice(cube.nodule) for cube, case in zip(cubes, on, strict=True) if case]
    return float(np.mean(found))


def _calibration_error(calibration: Calibration, scores: np.ndarray, truth: np.ndarray) -> float:
    """Expected calibration error over ten equally filled bins, with the cubes' own prior."""
    probability = calibration.model_copy(update={"prior_shift": 0.0}).probability(scores)
    order = np.argsort(probability)
    bins = np.array_split(order, 10)
    return float(sum(len(b) * abs(probability[b].mean() - truth[b].mean()) for b in bins if len(b)) / len(order))


def _rated(kept: Kept, on: list[list[detect.Mark]]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What the networks of other folds and the readers said of each nodule found, by rating."""
    pairs = [
        (case[0].ratings, kept.ratings[cube.case_id])
        for cube, case in zip(kept.cubes, on, strict=True)
        if case and cube.case_id in kept.ratings
    ]
    return tuple({n: np.array([pair[side][n] for pair in pairs]) for n in NAMES} for side in (0, 1))  # type: ignore[return-value]


def _together(run: TrainedRun, kept: Kept) -> list[detect.Looked | None]:
    """What the looks of all training cases together say of each training cube, as they will at use."""
    assert run.together is not None
    network, seen = of_torch(run.together), []
    for n, cube in enumerate(kept.cubes):
        run.report("nearest cases", 0.8 + 0.18 * n / len(kept.cubes))
        seen.append(detect.look(cube.hu, cube.lungs, kept.look.whole.score, network))
    return seen


def _cases(kept: Kept, together: list[detect.Looked | None]) -> similar.Cases:
    """The training nodules as the network sees them."""
    features_of, keys, words = [], [], []
    for cube, looked in zip(kept.cubes, together, strict=True):
        at = detect.marks_of(looked, detect.Weighing(0.0, 1.0), cube.hu.shape, -np.inf)
        here = next((m for m in at if cube.hits(m.index)), None)
        if here is None:
            continue
        features_of.append(here.features)
        keys.append(cube.case_id)
        words.append(_words(cube, kept.ratings.get(cube.case_id)))
    return similar.learn(np.array(features_of), keys, words)


def _words(cube: Cube, ratings: Mapping[str, float] | None) -> str:
    size = 2 * float((3 * cube.nodule.sum() / (4 * np.pi)) ** (1 / 3))
    if ratings is None:
        return f"{size:.0f} mm"
    kind = characterise.density_words(ratings["texture"])
    return f"{size:.0f} mm, {kind}, rated {ratings['malignancy']:.1f} of 5 for malignancy by its readers"


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
