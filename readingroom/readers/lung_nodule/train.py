"""Train the lung-nodule reader from a folder laid out like ``lung_nodule_cubes``; deterministic for a seed.

Negatives come from the cubes' own background and, where ``../lung_ct_cptac_c3n00247`` lies beside the folder, from that
CT, leaving out whatever could be its unmarked tumour. Out-of-fold scores on the training cases set the calibration and
the operating point; the locked test part (``folds.part_of``) is not touched.
"""

import json
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import sklearn
from scipy import ndimage
from threadpoolctl import threadpool_limits

from readingroom.core.clock import monotonic
from readingroom.core.errors import BadInput
from readingroom.imaging.series import read_series
from readingroom.inference.calibration import Calibration, fit_platt
from readingroom.readers.lung_nodule import candidates, card, classifier, domain, features, lungs
from readingroom.readers.lung_nodule.augment import plant, vary
from readingroom.readers.lung_nodule.cubes import Cube, read_cubes
from readingroom.readers.lung_nodule.detect import APART_MM, Mark, litres, merge
from readingroom.readers.lung_nodule.folds import FOLDS, TEST, part_of
from readingroom.readers.lung_nodule.grid import resample
from readingroom.readers.lung_nodule.lungs import working_grid

VARIANTS = 6
PLANTS = 3
TARGET_FALSE_MARKS_PER_LITRE = 2.0
"""The operating point: the least threshold at which out-of-fold false marks in the training cubes are at most this."""
SCAN_NODULES_PER_LITRE = 1186 / 888 / 4.5
"""Prior for use: 1,186 nodules in 888 scans (LUNA16: 3 mm and more, by 3 of 4 readers), about 4.5 l of lung each."""
BACKGROUND = "lung_ct_cptac_c3n00247"
SUSPECTS = 4
SUSPECT_MM = 18.0
"""In the background CT, all within this of so many places that most look like a nodule is left out: its tumour is
unmarked. Everything else, hilar vessels above all, is a negative that the cubes hardly have."""

Report = Callable[[str, float], None]


@dataclass(frozen=True, eq=False)
class Rows:
    """Training rows. ``truth``: 1 nodule, 0 not; ``fold``: of the case, or of the slab of the background CT."""

    features: np.ndarray
    truth: np.ndarray
    weight: np.ndarray
    fold: np.ndarray


@dataclass(frozen=True, eq=False)
class Background:
    """The background CT at 1 mm, cropped to its lungs, with its candidates and their features."""

    hu: np.ndarray
    lungs: np.ndarray
    found: candidates.Candidates
    rows: np.ndarray


def train(data: Path, out: Path, seed: int, report: Report) -> dict[str, Any]:
    """Train and write the weights (``card.WEIGHTS``), ``metrics.json`` and a ``card.yaml`` without a test result.

    Returns what ``training.json`` holds. Raises BadInput where ``data`` can't be trained on.
    """
    started = monotonic()
    everything, problems = read_cubes(data)
    cubes = [c for c in everything if part_of(c.case_id) != TEST and c.centre is not None]
    folds = np.array([part_of(c.case_id) for c in cubes])
    if len(cubes) < 10 or len(np.unique(folds)) < 2:
        raise BadInput(f"{len(cubes)} training cases with a nodule are too few (10 at least, in two folds).")
    with threadpool_limits(1):
        report("background CT", 0.02)
        background = _background(data.resolve().parent / BACKGROUND)
        rows = _all_rows(cubes, background, seed, report)
        known = np.ones(0, bool)
        if background is not None:
            background_rows, known = _background_rows(background, rows, seed)
            rows = _join([rows, background_rows])
        marks, background_scores = _out_of_fold(cubes, folds, rows, background, seed, report)
        report("final model", 0.88)
        model = _fit(rows, np.ones(len(rows.fold), bool), seed)
    scores = np.array([m.score for case in marks for m in case])
    truth = np.array([c.hits(m.index) for c, case in zip(cubes, marks, strict=True) for m in case])
    false = np.array([not c.on_annotation(m.index) for c, case in zip(cubes, marks, strict=True) for m in case])
    volume = sum(litres(lungs.lungs_in_crop(c.hu)) for c in cubes)
    calibration = _calibrate(scores, truth, len(cubes) / volume)
    threshold = _threshold(scores[false], volume)
    hit = np.array(
        [
            any(m.score >= threshold and c.hits(m.index) for m in case)
            for c, case in zip(cubes, marks, strict=True)
        ]
    )  # fmt: skip
    data_bytes = classifier.to_onnx(model)
    check = rows.features[:: max(1, len(rows.features) // 500)]
    worst = _compare(data_bytes, model, check)
    out.mkdir(parents=True, exist_ok=True)
    log: dict[str, Any] = {
        "seed": seed,
        "training_cases": len(cubes),
        "locked_test_cases": sum(part_of(c.case_id) == TEST for c in everything),
        "left_out": problems,
        "trained_on": sorted(c.fingerprint for c in cubes),
        "rows": len(rows.truth),
        "rows_nodule": int(rows.truth.sum()),
        "rows_background_ct": int(known.sum()),
        "operating_point": float(calibration.probability(np.array(threshold))),
        "operating_point_rule": f"out-of-fold false marks in the training cubes <= {TARGET_FALSE_MARKS_PER_LITRE:g}/l",
        "out_of_fold": {
            "sensitivity": float(hit.mean()),
            "false_positives_per_litre": float((scores[false] >= threshold).sum() / volume),
            "n": len(cubes),
            "litres": volume,
            "froc": _froc(cubes, marks, false, scores, volume),
            "calibration_error": _calibration_error(calibration, scores, truth),
            "background_ct_false_positives_per_litre": (
                None if background is None else _background_rate(background, background_scores, known, threshold)
            ),
        },
        "onnx_largest_difference": worst,
        "settings": {"variants": VARIANTS, "plants": PLANTS, "features": len(features.NAMES)},
        "versions": {
            "python": platform.python_version(), "numpy": np.__version__, "scikit-learn": sklearn.__version__,
            "onnxruntime": onnxruntime.__version__,
        },
    }  # fmt: skip
    (out / "model.onnx").write_bytes(data_bytes)
    _write_json(out / "calibration.json", calibration.model_dump())
    _write_json(out / "baseline.json", {"names": features.NAMES, "values": _typical(rows)})
    _write_json(out / "domain.json", domain.learn([domain.describe(c.hu, lungs.lungs_in_crop(c.hu)) for c in cubes]))
    _write_json(out / "training.json", log)
    _write_json(out / "metrics.json", log["out_of_fold"])
    card.write(out / "card.yaml", out, None)
    report("done", 1.0)
    log["seconds"] = round(monotonic() - started, 1)
    return log


def _all_rows(cubes: list[Cube], background: Background | None, seed: int, report: Report) -> Rows:
    pieces: list[Rows] = []
    for number, cube in enumerate(cubes):
        report("features", 0.05 + 0.45 * number / len(cubes))
        # Seeded by the case: its variants don't depend on what else is in the folder.
        random = np.random.default_rng([seed, int(cube.fingerprint, 16)])
        fold = part_of(cube.case_id)
        pieces.append(_cube_rows(cube, fold, 1.0))
        pieces.extend(_cube_rows(vary(cube, random), fold, 0.5) for _ in range(VARIANTS))
        for _ in range(PLANTS if background is not None else 0):
            assert background is not None
            planted = plant(cube, background.hu, background.lungs, random)
            if planted is not None:
                pieces.append(_planted_rows(*planted, fold))
    return _join(pieces)


def _join(pieces: list[Rows]) -> Rows:
    parts = [p for p in pieces if len(p.truth)]
    return Rows(
        np.concatenate([p.features for p in parts]),
        np.concatenate([p.truth for p in parts]),
        np.concatenate([p.weight for p in parts]),
        np.concatenate([p.fold for p in parts]),
    )


def _labels(cube: Cube, index: np.ndarray) -> np.ndarray:
    """1 near the nodule's middle, 0 well away from every annotation, -1 in between (used for nothing)."""
    radius = cube.hit_radius_mm
    if cube.centre is None:
        return np.zeros(len(index), int)
    distance = np.linalg.norm(index - cube.centre, axis=1)
    local = np.clip(np.rint(index).astype(int), 0, np.array(cube.mask.shape) - 1)
    beside = ndimage.binary_dilation(cube.mask, iterations=3)[tuple(local.T)]
    labels = np.where((distance <= radius + 3) | beside, -1, 0)
    labels[distance <= min(max(0.6 * radius, 3.0), 8.0)] = 1
    return labels


def _cube_rows(cube: Cube, fold: int, weight: float) -> Rows:
    inside = lungs.lungs_in_crop(cube.hu)
    found = candidates.find_candidates(cube.hu, inside)
    labels = _labels(cube, found.index)
    kept = labels >= 0
    rows = features.compute(cube.hu, inside, found.take(kept))
    truth = labels[kept]
    # A nodule counts the same however many candidates lie on it.
    weights = np.where(truth == 1, 6.0 / max(1, int(truth.sum())), 1.0) * weight
    return Rows(rows, truth, weights, np.full(len(truth), fold))


def _planted_rows(cube: Cube, inside: np.ndarray, fold: int) -> Rows:
    found = candidates.find_candidates(cube.hu, inside | ndimage.binary_dilation(cube.mask))
    found = found.take(_labels(cube, found.index) == 1)
    rows = features.compute(cube.hu, inside, found)
    count = len(found)
    return Rows(rows, np.ones(count, int), np.full(count, 3.0 / max(1, count)), np.full(count, fold))


def _background(folder: Path) -> Background | None:
    files = sorted(folder.glob("*.dcm"))
    if not files:
        return None
    volume = read_series(files).volume
    if volume is None:
        raise BadInput(f"{folder.name} lies beside the data but gives no volume.")
    both = lungs.find_lungs(resample(volume, 2.0).hu, 2.0, top_first=float(volume.affine[2, 2]) < 0)
    if both.problem:
        raise BadInput(f"In {folder.name} {both.problem}.")
    grid, inside = working_grid(volume, both.together)
    hu = grid.hu
    found = candidates.find_candidates(hu, inside)
    return Background(hu, inside, found, features.compute(hu, inside, found))


def _background_rows(background: Background, rows: Rows, seed: int) -> tuple[Rows, np.ndarray]:
    """Negatives of the background CT, and which of its candidates they are: all but those that could be its tumour."""
    looks = _fit(rows, np.ones(len(rows.truth), bool), seed).score(background.rows)
    suspect = np.zeros(len(looks), bool)
    for _ in range(SUSPECTS):
        best = int(np.argmax(np.where(suspect, -np.inf, looks)))
        suspect |= np.linalg.norm(background.found.index - background.found.index[best], axis=1) < SUSPECT_MM
    known = ~suspect
    count = int(known.sum())
    kept = background.rows[known]
    return Rows(kept, np.zeros(count, int), np.full(count, 1.0), _slab(background)[known]), known


def _slab(background: Background) -> np.ndarray:
    """The fold of each candidate of the background CT: slabs of equal height, so that neighbours stay together."""
    height = background.hu.shape[0]
    return np.minimum((background.found.index[:, 0] * FOLDS / height).astype(int), FOLDS - 1)


def _background_rate(background: Background, scores: np.ndarray, known: np.ndarray, threshold: float) -> float:
    """False marks per litre in the background CT, each slab by a model that has not seen it, suspects left out."""
    marked = np.flatnonzero(known & (scores >= threshold))
    kept: list[int] = []
    for n in marked[np.argsort(-scores[marked], kind="stable")]:
        places = background.found.index[kept]
        if not kept or np.linalg.norm(places - background.found.index[n], axis=1).min() >= APART_MM:
            kept.append(int(n))
    return round(len(kept) / litres(background.lungs), 3)


def _fit(rows: Rows, which: np.ndarray, seed: int) -> classifier.Ensemble:
    return classifier.fit(rows.features[which], rows.truth[which] == 1, rows.weight[which], seed)


def _out_of_fold(
    cubes: list[Cube], folds: np.ndarray, rows: Rows, background: Background | None, seed: int, report: Report
) -> tuple[list[list[Mark]], np.ndarray]:
    """Marks in every training cube by a model that has seen nothing of its patient; and the background CT's scores."""
    marks: list[list[Mark]] = [[] for _ in cubes]
    others = np.zeros(0 if background is None else len(background.found))
    for fold in range(FOLDS):
        report(f"fold {fold + 1} of {FOLDS}", 0.5 + 0.36 * fold / FOLDS)
        mine = np.flatnonzero(folds == fold)
        model = _fit(rows, rows.fold != fold, seed)
        for n in mine:
            inside = lungs.lungs_in_crop(cubes[n].hu)
            found = candidates.find_candidates(cubes[n].hu, inside)
            scores = model.score(features.compute(cubes[n].hu, inside, found))
            floor = np.sort(scores)[-12:].min() if len(scores) else 0.0
            marks[n] = merge(cubes[n].hu, inside, found, np.zeros((len(found), 0)), scores, float(floor))
        if background is not None:
            slab = _slab(background) == fold
            others[slab] = model.score(background.rows[slab]) if slab.any() else 0.0
    return marks, others


def _calibrate(scores: np.ndarray, truth: np.ndarray, nodules_per_litre: float) -> Calibration:
    """Platt scaling on out-of-fold marks, then from the cubes' share of nodules to that of whole scans."""
    fitted = fit_platt(scores, truth)
    return fitted.model_copy(update={"prior_shift": float(np.log(SCAN_NODULES_PER_LITRE / nodules_per_litre))})


def _threshold(false_scores: np.ndarray, volume: float) -> float:
    ordered = np.sort(false_scores)[::-1]
    allowed = int(TARGET_FALSE_MARKS_PER_LITRE * volume)
    return float(np.nextafter(ordered[allowed], np.inf)) if allowed < len(ordered) else float(ordered[-1])


def _froc(
    cubes: list[Cube], marks: list[list[Mark]], false: np.ndarray, scores: np.ndarray, volume: float
) -> dict[str, float]:
    best = np.array(
        [max((m.score for m in case if c.hits(m.index)), default=-np.inf) for c, case in zip(cubes, marks, strict=True)]
    )
    ordered = np.sort(scores[false])[::-1]
    out = {}
    for rate in (0.5, 1, 2, 4, 8):
        allowed = int(rate * volume)
        limit = ordered[allowed] if allowed < len(ordered) else -np.inf
        out[f"{rate:g}"] = float((best > limit).mean())
    return out


def _calibration_error(calibration: Calibration, scores: np.ndarray, truth: np.ndarray) -> float:
    """Expected calibration error over ten equally filled bins, with the cubes' own prior."""
    probability = calibration.model_copy(update={"prior_shift": 0.0}).probability(scores)
    order = np.argsort(probability)
    bins = np.array_split(order, 10)
    return float(sum(len(b) * abs(probability[b].mean() - truth[b].mean()) for b in bins if len(b)) / len(order))


def _typical(rows: Rows) -> list[float]:
    """The usual false candidate: what a score is explained against."""
    return [float(v) for v in np.median(rows.features[rows.truth == 0], axis=0)]


def _compare(model_bytes: bytes, model: classifier.Ensemble, rows: np.ndarray) -> float:
    session = onnxruntime.InferenceSession(model_bytes, providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {"features": rows.astype(np.float32)})
    worst = float(np.abs(np.asarray(scores)[:, 0] - model.score(rows)).max())
    if worst > 0.01:
        raise BadInput(f"The exported model differs from the trained one by {worst:g} log-odds.")
    return worst


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
