"""How ``glioma`` is trained, from a folder laid out like ``glioma_lgg_slices``; ``recipe.yaml`` names these.

The engine trains a network a fold; ``finish_run`` calibrates, sets the operating point and learns the domain on what
each fold's network says of the patients it has not seen.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from readingroom.core.errors import BadInput
from readingroom.evaluation.segmentation import dice
from readingroom.inference import domain
from readingroom.inference.calibration import Calibration, fit_platt
from readingroom.readers.glioma import card, lesions, look, prepare
from readingroom.readers.glioma.slices import FOLDS, SlicePatient, part_of, read_slices
from readingroom.readers.training import Report, TrainedRun, TrainingData

FALSE_PARTS_A_PATIENT = 0.5
"""The operating point: the least probability at which out-of-fold false parts a patient are at most this. Fixed
beforehand."""
STRIPPED_MM = 12
"""What is taken away of a head to make it one without skull, for the domain."""


@dataclass(frozen=True, eq=False)
class Kept:
    """What ``finish_run`` needs besides the examples: patients, what the network sees of each, unreadable files."""

    patients: list[SlicePatient]
    seen: list[prepare.Seen]
    problems: list[str]


@dataclass(frozen=True, eq=False)
class Part:
    """A lesion that a network drew in a patient it had not seen, and whether it is one."""

    patient: int
    lesion: lesions.Lesion
    true: bool


def examples_for(data: Path, seed: int, processes: int, report: Report) -> TrainingData:
    """Return the slices of all patients in ``data``. Raises BadInput where it can't be trained on."""
    patients, problems = read_slices(data)
    if len(patients) < 2 * FOLDS:
        raise BadInput(f"{len(patients)} patients are too few ({2 * FOLDS} at least).")
    seen = []
    for n, patient in enumerate(patients):
        report("slices", n / len(patients))
        seen.append(prepare.seen(patient.flair, patient.post))
    counts = [len(p.flair) for p in patients]
    arrays = {
        "image": np.concatenate([s.flair for s in seen]),
        "post": np.concatenate([s.post for s in seen if s.post is not None]),
        "mask": np.concatenate(
            [prepare.window(p.mask, s.middle, False) for p, s in zip(patients, seen, strict=True)]
        ),
        "depth": np.concatenate([prepare.window(prepare.depth_of(s.head), s.middle, 0) for s in seen]),
        "has_post": np.repeat(np.array([p.has_post for p in patients], np.float32), counts),
        "patient": np.repeat(np.arange(len(patients)), counts),
    }  # fmt: skip
    group = np.repeat(np.array([p.fingerprint for p in patients]), counts)
    fold = np.repeat(np.array([part_of(p.patient) for p in patients]), counts)
    # Neighbouring slices say much the same: a patient with four times the slices is drawn twice as often.
    draw = np.repeat(1 / np.sqrt(np.array(counts, float)), counts)
    return TrainingData(arrays, group, fold, draw, Kept(patients, seen, problems))


def finish_run(run: TrainedRun) -> dict[str, Any]:
    """Write all that ``card.WEIGHTS`` names and a ``card.yaml`` without an evaluation; return what ``training.json``
    holds."""
    kept: Kept = run.data.kept
    parts: list[Part] = []
    alone: list[Part] = []
    chances = []
    for n, (patient, seen) in enumerate(zip(kept.patients, kept.seen, strict=True)):
        run.report("out of fold", 0.6 * n / len(kept.patients))
        network = of_torch(run.networks[part_of(patient.patient)])
        chances.append(look.look(seen, network).chance)
        parts += _parts(n, patient, chances[-1])
        alone += _parts(n, patient, look.look(prepare.seen(patient.flair, None), network).chance)
    calibration = _calibrate(parts + alone)
    threshold = _threshold(parts, calibration, len(kept.patients))
    run.report("domain", 0.6)
    known = _domain(run, kept)
    reported = [p for p in parts if calibration.probability(np.array(p.lesion.score)) >= threshold]
    scores = [dice(p.mask, _drawn(n, p, reported)) for n, p in enumerate(kept.patients)]
    log: dict[str, Any] = {
        "seed": run.seed,
        "recipe_sha256": run.facts["recipe_sha256"],
        "commit": run.facts["commit"],
        "training_cases": len(kept.patients),
        "locked_test_cases": 0,
        "left_out": kept.problems,
        "trained_on": sorted(p.fingerprint for p in kept.patients),
        "folds": {p.fingerprint: part_of(p.patient) for p in kept.patients},
        "slices": len(run.data),
        "slices_with_tumour": int(sum(p.mask.any(axis=(1, 2)).sum() for p in kept.patients)),
        "operating_point": threshold,
        "operating_point_rule": f"out-of-fold false parts a patient <= {FALSE_PARTS_A_PATIENT:g}",
        "out_of_fold": {
            "dice": float(np.mean(scores)),
            "n": len(scores),
            "parts": len(parts),
            "parts_true": sum(p.true for p in parts),
        },
        "onnx_largest_difference": run.facts["onnx_largest_difference"],
        "versions": run.facts["versions"],
    }
    _write_json(run.folder / "calibration.json", calibration.model_dump())
    _write_json(run.folder / "domain.json", known.model_dump())
    _write_json(run.folder / "training.json", log)
    card.write(run.folder / "card.yaml", run.folder, None)
    return log


def of_torch(network: torch.nn.Module) -> look.Network:
    """Return the network of one fold as ``look`` wants one."""

    def run(image: np.ndarray) -> dict[str, np.ndarray]:
        with torch.no_grad():
            tumour, features = network(torch.from_numpy(image))
        return {"tumour": tumour.numpy()[:, None], "features": features.numpy()}

    return run


def _parts(number: int, patient: SlicePatient, chance: np.ndarray) -> list[Part]:
    return [Part(number, one, is_true(one.mask, patient.mask)) for one in lesions.lesions_of(chance)]


def is_true(part: np.ndarray, reference: np.ndarray, least_overlap: float = 0.1) -> bool:
    """Whether a part shares with one lesion of ``reference`` a tenth of what both cover, as in
    ``evaluation.segmentation.lesion_wise``."""
    labels, count = ndimage.label(reference, np.ones((3, 3, 3)))
    shared = np.bincount(labels[part], minlength=count + 1)[1:]
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    return bool(count) and bool((shared / (part.sum() + sizes - shared)).max() >= least_overlap)


def _calibrate(parts: list[Part]) -> Calibration:
    """Platt scaling of the scores of out-of-fold parts, read with post-contrast series and without: each
    counts half."""
    scores, truth = np.array([p.lesion.score for p in parts]), np.array([p.true for p in parts])
    return fit_platt(scores, truth, np.full(len(parts), 0.5))


def _threshold(parts: list[Part], calibration: Calibration, patients: int) -> float:
    false = np.sort([p.lesion.score for p in parts if not p.true])[::-1]
    allowed = int(FALSE_PARTS_A_PATIENT * patients)
    least = false[allowed] + 1e-6 if allowed < len(false) else min(p.lesion.score for p in parts)
    return float(calibration.probability(np.array(least)))


def _drawn(number: int, patient: SlicePatient, parts: list[Part]) -> np.ndarray:
    out = np.zeros(patient.mask.shape, bool)
    for part in parts:
        if part.patient == number:
            out |= part.lesion.mask
    return out


def _domain(run: TrainedRun, kept: Kept) -> domain.EnsembleDomain:
    """What each network's features are on the patients it was trained on, and where a patient it never saw may lie."""
    fold = np.array([part_of(p.patient) for p in kept.patients])
    variants = [_variants(seen) for seen in kept.seen]
    names = np.array([p.fingerprint for p in kept.patients])
    trained: list[domain.Places] = []
    unseen: list[domain.Places] = []
    for k in sorted(run.networks):
        run.report("domain", 0.6 + 0.4 * k / len(run.networks))
        network = of_torch(run.networks[k])
        features = [[_features(one, network) for one in its] for its in variants]
        trained.append(_places(names, features, fold != k))
        unseen.append(_places(names, features, fold == k))
    return domain.learn(trained, unseen)


def _features(seen: prepare.Seen, network: look.Network) -> np.ndarray:
    """What a network makes of every second slice: neighbours say much the same."""
    image = seen.image[::2]
    return np.concatenate([network(image[n : n + 4])["features"] for n in range(0, len(image), 4)])


def _variants(seen: prepare.Seen) -> list[prepare.Seen]:
    """A patient as the reader may get them, all of which are trained on: as they are, FLAIR alone, without skull."""
    outside = prepare.window(prepare.depth_of(seen.head), seen.middle, 0) < STRIPPED_MM
    bare = [None if one is None else np.where(outside, np.float16(prepare.LOW), one) for one in (seen.flair, seen.post)]
    assert bare[0] is not None
    return [
        seen,
        dataclasses.replace(seen, post=None),
        dataclasses.replace(seen, flair=bare[0], post=bare[1]),
        dataclasses.replace(seen, flair=bare[0], post=None),
    ]


def _places(names: np.ndarray, features: list[list[np.ndarray]], which: np.ndarray) -> domain.Places:
    """The slices of the patients ``which``; each way to see a patient counts as a study."""
    rows = [
        (names[n], f"{names[n]} {v}", one) for n in np.flatnonzero(which) for v, one in enumerate(features[n])
    ]  # fmt: skip
    counts = [len(one) for _, _, one in rows]
    whose, studies = (np.repeat([row[k] for row in rows], counts) for k in (0, 1))
    return domain.Places(np.concatenate([row[2] for row in rows]), whose, studies)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
