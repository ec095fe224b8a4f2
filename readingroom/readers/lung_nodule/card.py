"""Write ``card.yaml`` from what ran: the training log, the evaluation of the locked part, the hashes of the weights.

Nobody types a number into the card. ``python -m readingroom.readers.lung_nodule.card`` is run after training and after
evaluation; before there is an evaluation the card says so.
"""

import json
from pathlib import Path
from typing import Any

from readingroom.findings.codes import code
from readingroom.readers.cards import hashes, with_interval, write_card

VERSION = "2.1.0"
WEIGHTS = (
    "model.onnx", "network.onnx", "weighing.json", "calibration.json", "baseline.json", "characteristics.json",
    "malignancy.json", "cases.json", "domain.json", "training.json",
)  # fmt: skip
RECORD = "run.json"
"""Kept beside the weights: what made them, with their hashes. The run ends after the card, so no card can name it."""
FOLDER = Path(__file__).parent
SHOWN = {
    "sensitivity": "sensitivity",
    "false_positives_per_litre": "false marks per litre of lung",
    "dice_nodule": "Dice of the segment",
    "auc_malignancy": "AUC of the impression of malignancy",
    "auc_texture_solid": "AUC of solid against subsolid",
    "abstained": "share it would abstain from",
}


def build(weights: Path, evaluation: dict[str, Any] | None) -> dict[str, Any]:
    """Return the card as data. ``weights``: the folder ``train`` wrote; ``evaluation``: what ``evaluate`` returned."""
    log = json.loads((weights / "training.json").read_text("utf-8"))
    patients = json.loads((weights / "domain.json").read_text("utf-8"))["network"]["validation_patients"]
    out_of_fold = log["out_of_fold"]
    metrics: dict[str, Any] = {"out_of_fold": out_of_fold, "malignancy_table": log["malignancy"]}
    evidence = (
        f"Out of fold on the {out_of_fold['n']} training patients: sensitivity {out_of_fold['sensitivity']:.2f} at "
        f"{out_of_fold['false_positives_per_litre']:.1f} false marks per litre of lung, Dice {out_of_fold['dice']:.2f}."
    )
    if evaluation:
        kept = ("n_patients", "n_positive", "metrics", "strata", "matching_rule", "against")
        metrics["locked_test"] = {k: evaluation[k] for k in kept if k in evaluation}
        parts = evaluation["metrics"]
        said = "; ".join(f"{words} {with_interval(parts[name])}" for name, words in SHOWN.items() if name in parts)
        evidence = f"Locked part, {evaluation['n_patients']} patients (cubes from LIDC-IDRI): {said}. {evidence}"
        if "against" in evaluation:
            evidence += f" {_compared(VERSION, evaluation['against'])}"
    simulated = weights / "simulated.json"
    if simulated.exists():
        metrics["simulated"] = json.loads(simulated.read_text("utf-8"))
        evidence += f" {_simulated(metrics['simulated'])}"
    table = log["malignancy"]["all"]
    return {
        "name": "lung-nodule",
        "version": VERSION,
        "title": "Lung nodules on chest CT",
        "question": "Where in the lungs are nodules, how large, how dense and how suspicious are they?",
        "takes": "An axial CT of the whole chest, slices at most 5 mm apart, with or without contrast.",
        "finds": [code("nodule").model_dump()],
        "context": ["age_years", "priors"],
        "requires": [],
        "evidence_level": 1,
        "evidence": evidence,
        "operating_point": log["operating_point"],
        "limits": [
            "Research use only. A reader of this kind never replaces looking at the images.",
            "Probabilities are calibrated out of fold and moved to the prior of LIDC-like scans (0.3 nodules per litre "
            "of lung): a true nodule often has a probability well below 0.5.",
            "Real nodules it learnt from and was measured on: few patients, all from LIDC-IDRI, 5 to 31 mm, none "
            "calcified, few of pure ground glass, most slices 2 to 2.5 mm thick. Smaller and calcified ones it knows "
            "from simulated nodules in real lungs only.",
            "Lung without air: fluid and consolidation at the chest wall are found from the rib cage, measured (about, "
            "often too little) and said, but not searched; so is a side without any air. Not even said: what lies at "
            "the apex or does not reach the wall.",
            "Impression of malignancy, texture and outline are the opinion of readers, not pathology: a nodule is not "
            "a cancer, and nothing here says so. What the model of malignancy makes of other readers' ratings (LIDC "
            f"table, {table['n']} nodules, in cross-validation): AUC {table['auc']:.2f}, diameter alone "
            f"{table['auc_diameter_alone']:.2f}.",
            "Whether a nodule holds lime is a rule on HU, shown on simulated nodules only.",
            "Measured on cubes around known nodules, not on whole scans: whole scans give other rates of false marks, "
            "most near the hila and where vessels branch.",
            "13 of the cubes hold a second nodule that is not in their mask: some false marks are none.",
            "The locked part was looked at three times: for versions 1, 2.0 and 2.1 (2.1 detects as 2.0 does; only "
            "when it abstains has changed). An early comparison of classifier types for version 1 saw all cubes in "
            "cross-validation before it was set aside. Nothing was chosen on it.",
            f"It abstains where its out-of-domain score is above 1: the larger of two, one of noise and lung density, "
            f"one of the network's features. Each is 1 at the largest value of {patients} training patients, each "
            f"judged by what had not seen that patient: about 1 in {patients + 1} images like these is abstained from.",
            "That score catches strong noise and lungs of unlike density; wrong HU, wrong pixel sizes and slices out "
            "of order end before, where no lungs are found. The network's part rarely adds: it is trained to bear "
            "changes. Not caught: blur, half the resolution, upside down where the geometry does not tell; and it "
            "says nothing of disease the reader does not know.",
        ],
        "weights": hashes(weights, WEIGHTS),
        "weights_licence": "CC-BY-3.0 (derived from LIDC-IDRI and CPTAC images); see weights/LICENSE",
        "data": [
            "LIDC-IDRI nodule cubes (github.com/franciscapessanha/Pulmonary-nodules-analysis at 0c693b4): "
            f"{log['training_cases']} patients trained on, {log['locked_test_cases']} locked; Armato 2011, "
            "doi:10.7937/K9/TCIA.2015.LO9QL9SX, CC BY 3.0.",
            f"LIDC-IDRI annotation table, CC BY 3.0: {table['n']} nodules of {log['malignancy']['patients']} patients "
            "for the model of malignancy, the locked patients left out.",
            f"CPTAC C3N-00247 chest CT (TCIA, CC BY 3.0): {log['rows_background_ct']} negative candidates of one "
            "patient; all within 18 mm of the four most nodule-like places left out, one could be its unmarked tumour.",
            f"Simulated nodules (after Solomon and Samei 2014) in these lungs: part of the {log['patches_nodule']} "
            f"positive among {log['patches']} patches; nothing above is measured on them.",
        ],
        "metrics": metrics,
        "reader_licence": "Apache-2.0",
    }  # fmt: skip


def _simulated(found: dict[str, Any]) -> str:
    return (
        f"Evidence level 0: {found['nodules']} simulated nodules of 2 to 20 mm in {found['scans']} copies of the whole "
        f"CTs of {found['patients']} patients: froc_mean {with_interval(found['froc_mean'])}."
    )


def _compared(version: str, against: dict[str, Any]) -> str:
    """What changed from version to version, latest first."""
    said = "; ".join(
        f"{SHOWN[name]} {metric['value']:+.2f} (95% CI {metric['ci95'][0]:+.2f} to {metric['ci95'][1]:+.2f})"
        for name, metric in against["difference"].items()
    )
    before = f" {_compared(against['version'], against['against'])}" if "against" in against else ""
    minus = f"Version {version} minus version {against['version']} on the same {against['n']} patients, paired"
    return f"{minus}: {said}.{before}"


def write(path: Path, weights: Path, evaluation: dict[str, Any] | None) -> None:
    """Write the card as YAML."""
    write_card(path, build(weights, evaluation), "readingroom/readers/lung_nodule/card.py")


if __name__ == "__main__":
    kept = FOLDER / "weights" / "evaluation.json"
    write(FOLDER / "card.yaml", FOLDER / "weights", json.loads(kept.read_text("utf-8")) if kept.exists() else None)
