"""How ``head-ct-triage`` is trained, from a folder laid out like ``head_ct_ich``; ``recipe.yaml`` names these.

``examples_for`` exports the trunk and passes every view through it; the engine trains a network a fold; ``finish_run``
calibrates, sets the operating points and measures, all on what each fold's network says of patients it never saw. The
locked part (``slices.Patient.part``) is not touched.
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from readingroom.core.errors import BadInput
from readingroom.inference import domain
from readingroom.inference.calibration import Calibration, fit_platt
from readingroom.readers.head_ct_triage import card, examples, measures, network, position, trunk
from readingroom.readers.head_ct_triage.head import SEEN
from readingroom.readers.head_ct_triage.scores import Calibrations, operating_point, scan_scores, slice_point
from readingroom.readers.head_ct_triage.slices import CLASSES, FOLDS, Patient, read_patients
from readingroom.readers.splits import TEST
from readingroom.readers.training import Report, TrainedRun, TrainingData

FEWEST = 10
TRUNK_PARITY = 2e-3
BATCH = 64


@dataclass(frozen=True, eq=False)
class Kept:
    """What ``finish_run`` needs besides the arrays."""

    patients: list[Patient]
    locked: int
    problems: list[str]
    trunk: bytes
    trunk_difference: float
    made: examples.Examples


def examples_for(data: Path, seed: int, processes: int, report: Report) -> TrainingData:
    """Return the examples of the training patients in ``data``. Raises BadInput where it can't be trained on."""
    everyone, problems = read_patients(data)
    patients = [p for p in everyone if p.part != TEST]
    if sum(p.truth[0] for p in patients) < FEWEST:
        raise BadInput(f"Fewer than {FEWEST} training patients bleed.", "Give a folder like head_ct_ich.")
    torch.set_num_threads(processes)
    exported, difference = export_trunk()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = processes
    session = onnxruntime.InferenceSession(exported, options, providers=["CPUExecutionProvider"])

    def run(greys: np.ndarray) -> dict[str, np.ndarray]:
        return {"features": session.run(None, {"greys": np.ascontiguousarray(greys, np.float32)})[0]}

    made = examples.make(patients, lambda greys: trunk.features_of(run, greys), seed, report)
    return TrainingData(
        {
            "features": made.features, "truth": made.truth, "known": made.known, "where": made.where,
            "plain": made.plain, "patient": made.patient,
        },
        np.array([patients[n].fingerprint for n in made.patient]),
        np.array([patients[n].part for n in made.patient]),
        examples.draws(made),
        Kept(patients, len(everyone) - len(patients), problems, exported, difference, made),
    )  # fmt: skip


def export_trunk() -> tuple[bytes, float]:
    """Return the trunk as ONNX, and its largest difference from torch. Raises BadInput where they differ too much."""
    whole, buffer = network.Trunk(), io.BytesIO()
    some = torch.from_numpy(np.random.default_rng(0).uniform(0, 255, (2, 3, SEEN, SEEN)).astype(np.float32))
    torch.onnx.export(
        whole, (some,), buffer,  # type: ignore[arg-type]
        input_names=["greys"], output_names=["features"], dynamic_axes={"greys": {0: "n"}, "features": {0: "n"}},
        dynamo=False, opset_version=17,
    )  # fmt: skip
    session = onnxruntime.InferenceSession(buffer.getvalue(), providers=["CPUExecutionProvider"])
    there = session.run(None, {"greys": some.numpy()})[0]
    difference = float(np.abs(there - whole(some).numpy()).max())
    if difference > TRUNK_PARITY:
        raise BadInput(f"The exported trunk differs from PyTorch's by {difference:g}; {TRUNK_PARITY:g} is let pass.")
    return buffer.getvalue(), difference


def finish_run(run: TrainedRun) -> dict[str, Any]:
    """Write what the reader needs beside the network into ``run.folder`` and return the training log."""
    kept: Kept = run.data.kept
    made, patients = kept.made, kept.patients
    run.report("out of fold", 0.1)
    judged = _out_of_fold(run, made, patients)
    brain = judged.of(~judged.bony)
    calibrations, point = _calibrated(judged)
    run.report("measures", 0.5)
    metrics = measures.measure(_laid_together(judged)) | _at_point(brain, calibrations, point)
    run.report("domain", 0.8)
    domains = _domain(run, made, patients)
    heights = {name: position.learn(*_height_of(judged, n)) for n, name in enumerate(CLASSES)}
    log = {
        "folds": {p.fingerprint: p.part for p in patients},
        "trained_on": sorted(p.fingerprint for p in patients),
        "training_patients": len(patients),
        "locked_test_patients": kept.locked,
        "slices": sum(len(p.brain) for p in patients),
        "patients_with": {name: int(sum(p.truth[n] for p in patients)) for n, name in enumerate(CLASSES)},
        "slices_with": {name: int(sum(p.labels[:, n].sum() for p in patients)) for n, name in enumerate(CLASSES)},
        "patients_with_bone_window": sum(p.bone is not None for p in patients),
        "views": {kind: int((made.kind == kind).sum()) for kind in examples.SHARES},
        "seed": run.seed,
        "operating_point": point,
        "out_of_fold": metrics,
        "position": heights,
        "left_out": kept.problems,
        "trunk_largest_difference": kept.trunk_difference,
        "versions": run.facts["versions"],
    }
    (run.folder / "trunk.onnx").write_bytes(kept.trunk)
    _write_json(run.folder / "calibration.json", calibrations.as_json())
    _write_json(run.folder / "domain.json", domains.model_dump())
    _write_json(run.folder / "training.json", log)
    card.write(run.folder / "card.yaml", run.folder, None)
    return log


def _out_of_fold(run: TrainedRun, made: examples.Examples, patients: list[Patient]) -> measures.Judged:
    """What is said of each plain view, bone window too, by the network that never saw its patient."""
    rows = np.flatnonzero(made.plain)
    scores = np.zeros((len(rows), len(CLASSES)), np.float32)
    fold = np.array([p.part for p in patients])[made.patient[rows]]
    for number in range(FOLDS):
        its = np.flatnonzero(fold == number)
        scores[its] = _of_network(run.networks[number], made.features[rows[its]], 0)
    judged = measures.Judged(
        scores, made.truth[rows], made.patient[rows], made.height[rows], np.zeros_like(scores),
        made.known[rows][:, -1] > 0,
    )  # fmt: skip
    for number in range(FOLDS):
        its, others = fold == number, judged.of(fold != number)
        for n in range(len(CLASSES)):
            judged.by_height[its, n] = position.score(judged.height[its], position.learn(*_height_of(others, n)))
    return judged


def _height_of(judged: measures.Judged, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Height and truth of the slices on which a class is known."""
    rows = judged.bony if CLASSES[number] == "fracture" else ~judged.bony
    return judged.height[rows], judged.truth[rows, number]


def _laid_together(judged: measures.Judged) -> measures.Judged:
    """One row a slice: bleeding from its brain window, fracture from its bone window, where there is one."""
    brain, bone = judged.of(~judged.bony), judged.of(judged.bony)
    scores, truth, bony = brain.scores.copy(), brain.truth.copy(), np.zeros(len(brain.truth), bool)
    by_height = brain.by_height.copy()
    for one in np.unique(bone.patient):
        here, there = brain.patient == one, bone.patient == one
        scores[here, -1], truth[here, -1] = bone.scores[there, -1], bone.truth[there, -1]
        by_height[here, -1], bony[here] = bone.by_height[there, -1], True
    return measures.Judged(scores, truth, brain.patient, brain.height, by_height, bony)


def _calibrated(judged: measures.Judged) -> tuple[Calibrations, float]:
    """Platt scaling of slices and of scans, each class on the window it is told from, and the operating point."""
    slices: dict[str, Calibration] = {}
    scans: dict[str, Calibration] = {}
    for n, name in enumerate(CLASSES):
        here = judged.of(judged.bony if name == "fracture" else ~judged.bony)
        names, said = scan_scores(here.scores, here.patient)
        whole = np.array([here.truth[here.patient == one, n].any() for one in names])
        slices[name] = fit_platt(here.scores[:, n], here.truth[:, n])
        scans[name] = fit_platt(said[:, n], whole)
    brain = judged.of(~judged.bony)
    first = CLASSES[0]
    at = slice_point(brain.truth[:, 0].astype(bool), slices[first].probability(brain.scores[:, 0]))
    truth, probability = _scans(brain, scans[first])
    return Calibrations(slices, scans, at), operating_point(truth, probability)


def _scans(brain: measures.Judged, calibration: Calibration) -> tuple[np.ndarray, np.ndarray]:
    names, said = scan_scores(brain.scores, brain.patient)
    truth = np.array([brain.truth[brain.patient == one, 0].any() for one in names])
    return truth, calibration.probability(said[:, 0])


def _at_point(brain: measures.Judged, calibrations: Calibrations, point: float) -> dict[str, Any]:
    truth, probability = _scans(brain, calibrations.scans[CLASSES[0]])
    return measures.at_point(truth, probability, point)


def _domain(run: TrainedRun, made: examples.Examples, patients: list[Patient]) -> domain.EnsembleDomain:
    """What each fold's network says of whole slices: of patients it was trained on, and of those it never saw."""
    rows = np.flatnonzero(made.plain & (made.known[:, 0] > 0))
    whose = made.patient[rows]
    fold = np.array([p.part for p in patients])[whose]
    trained: list[domain.Places] = []
    unseen: list[domain.Places] = []
    for number in range(FOLDS):
        about = _of_network(run.networks[number], made.features[rows], 2)
        for which, parts in ((fold != number, trained), (fold == number, unseen)):
            parts.append(domain.Places(about[which], whose[which]))
    return domain.learn(trained, unseen)


def _of_network(one: torch.nn.Module, features: np.ndarray, output: int) -> np.ndarray:
    """One output of a network for features ``(n, 28, 40, 40)``."""
    made = []
    with torch.no_grad():
        for n in range(0, len(features), BATCH):
            made.append(one(torch.from_numpy(features[n : n + BATCH].astype(np.float32)))[output].numpy())
    return np.concatenate(made)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
