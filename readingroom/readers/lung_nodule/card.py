"""Write ``card.yaml`` from what ran: the training log, the evaluation of the locked part, the hashes of the weights.

Nobody types a number into the card. ``python -m readingroom.readers.lung_nodule.card`` is run after training and after
evaluation; before there is an evaluation the card says so.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml

from readingroom.findings.codes import code

VERSION = "1.0.0"
WEIGHTS = ("model.onnx", "calibration.json", "baseline.json", "domain.json", "training.json")
FOLDER = Path(__file__).parent


def build(weights: Path, evaluation: dict[str, Any] | None) -> dict[str, Any]:
    """Return the card as data. ``weights``: the folder ``train`` wrote; ``evaluation``: what ``evaluate`` returned."""
    log = json.loads((weights / "training.json").read_text("utf-8"))
    out_of_fold = log["out_of_fold"]
    metrics: dict[str, Any] = {"out_of_fold": out_of_fold}
    evidence = (
        f"Out of fold on the {out_of_fold['n']} training patients: sensitivity {out_of_fold['sensitivity']:.2f} at "
        f"{out_of_fold['false_positives_per_litre']:.1f} false marks per litre of lung."
    )
    whole = out_of_fold.get("background_ct_false_positives_per_litre")
    if whole is not None:
        evidence += f" In the one whole CT at hand, each slab by a model that had not seen it: {whole:.1f} per litre."
    if evaluation:
        metrics["locked_test"] = {k: evaluation[k] for k in ("n_patients", "n_positive", "metrics", "matching_rule")}
        parts = evaluation["metrics"]
        evidence = (
            f"Locked part, {evaluation['n_patients']} patients (cubes from LIDC-IDRI): sensitivity "
            f"{_interval(parts['sensitivity'])}, false marks per litre of lung "
            f"{_interval(parts['false_positives_per_litre'])} at the operating point. {evidence}"
        )
    return {
        "name": "lung-nodule",
        "version": VERSION,
        "title": "Lung nodules on chest CT",
        "question": "Where in the lungs are nodules of 5 to 30 mm, how large and how dense are they?",
        "takes": "An axial CT of the whole chest, slices at most 5 mm apart, with or without contrast.",
        "finds": [code("nodule").model_dump()],
        "context": [],
        "requires": [],
        "evidence_level": 1,
        "evidence": evidence,
        "operating_point": log["operating_point"],
        "limits": [
            "Research use only. A reader of this kind never replaces looking at the images.",
            "Probabilities are calibrated out of fold and moved to the prior of LIDC-like scans (0.3 nodules per litre "
            "of lung): a true nodule often has a probability well below 0.5.",
            "Trained on few patients, all from LIDC-IDRI, nodules of 5 to 31 mm, none calcified, few of pure ground "
            "glass; most slices 2 to 2.5 mm thick. Smaller nodules are not looked for.",
            "Lung without air (collapse, consolidation, effusion) is not searched.",
            "Labels are the opinion of readers, not pathology; a nodule is not a cancer, and nothing here says so.",
            "Measured on cubes around known nodules, not on whole scans: whole scans give other rates of false marks, "
            "most near the hila and where vessels branch.",
            "13 of the cubes hold a second nodule that is not in their mask: some false marks are none.",
            "An early comparison of classifier types saw all cubes in cross-validation before the locked part was "
            "set aside. The locked part was then evaluated twice: before and after false marks at the hilum of the "
            "background CT led to its large vessels being added as negatives. Nothing was chosen on it.",
            "An out-of-domain score above 5 deserves doubt: noise or lung density unlike the training images.",
        ],
        "weights": {name: hashlib.sha256((weights / name).read_bytes()).hexdigest() for name in WEIGHTS},
        "weights_licence": "CC-BY-3.0 (derived from LIDC-IDRI and CPTAC images); see weights/LICENSE",
        "data": [
            "LIDC-IDRI nodule cubes (github.com/franciscapessanha/Pulmonary-nodules-analysis at 0c693b4): "
            f"{log['training_cases']} patients trained on, {log['locked_test_cases']} locked; Armato 2011, "
            "doi:10.7937/K9/TCIA.2015.LO9QL9SX, CC BY 3.0.",
            f"CPTAC C3N-00247 chest CT (TCIA, CC BY 3.0): {log['rows_background_ct']} negative candidates of one "
            "patient; all within 18 mm of the four most nodule-like places left out, one could be its unmarked tumour.",
        ],
        "metrics": metrics,
        "reader_licence": "Apache-2.0",
    }  # fmt: skip


def _interval(metric: dict[str, Any]) -> str:
    low, high = metric["ci95"]
    return f"{metric['value']:.2f} (95% CI {low:.2f} to {high:.2f}, n = {metric['n']})"


def write(path: Path, weights: Path, evaluation: dict[str, Any] | None) -> None:
    """Write the card as YAML."""
    text = yaml.safe_dump(build(weights, evaluation), sort_keys=False, allow_unicode=True, width=110)
    path.write_text(
        "# Generated by readingroom/readers/lung_nodule/card.py from what ran. Do not edit.\n" + text, "utf-8"
    )


if __name__ == "__main__":
    kept = FOLDER / "weights" / "evaluation.json"
    write(FOLDER / "card.yaml", FOLDER / "weights", json.loads(kept.read_text("utf-8")) if kept.exists() else None)
