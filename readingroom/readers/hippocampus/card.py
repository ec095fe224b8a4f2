"""Write ``card.yaml`` from what ran: the training log, the evaluation of the locked part, the hashes of the weights.

Nobody types a number into the card. ``python -m readingroom.readers.hippocampus.card`` is run after training and after
evaluation; before there is an evaluation the card says so.
"""

import json
from pathlib import Path
from typing import Any

from readingroom.findings.codes import code
from readingroom.readers.cards import hashes, with_interval, write_card
from readingroom.readers.hippocampus import limits
from readingroom.readers.hippocampus.crops import PARTS

VERSION = "1.0.0"
WEIGHTS = ("network.onnx", "calibration.json", "domain.json", "training.json")
FOLDER = Path(__file__).parent
SHOWN = {
    "dice_mean": "mean Dice of both parts",
    "dice_anterior": "anterior",
    "dice_posterior": "posterior",
    "dice_whole": "whole",
    "hd95_mm": "HD95 (mm)",
    "volume_bias_percent": "bias of the volume (%)",
    "volume_error_percent": "size of the error of the volume (%)",
}


def build(weights: Path, evaluation: dict[str, Any] | None) -> dict[str, Any]:
    """Return the card as data. ``weights``: the folder ``train`` wrote; ``evaluation``: what ``evaluate`` returned."""
    log = json.loads((weights / "training.json").read_text("utf-8"))
    unseen, plain = log["out_of_fold"], log["out_of_fold_without_shift"]
    metrics: dict[str, Any] = {"out_of_fold": unseen, "out_of_fold_without_shift": plain}
    evidence = (
        f"Out of fold on the {unseen['n']} training files, one network each: mean Dice {unseen['dice_mean']:.3f}, "
        f"whole {unseen['dice_whole']:.3f}, HD95 {unseen['hd95_mm']:.2f} mm, volume bias "
        f"{unseen['volume_bias_percent']:+.1f} % ({plain['volume_bias_percent']:+.1f} % before the shift, which was "
        "chosen on these files)."
    )
    if evaluation:
        metrics["locked_test"] = {k: evaluation[k] for k in ("n_patients", "metrics", "matching_rule")}
        parts = evaluation["metrics"]
        said = "; ".join(f"{words} {with_interval(parts[name])}" for name, words in SHOWN.items())
        evidence = f"Locked part, {evaluation['n_patients']} files (crops from MSD): {said}. {evidence}"
    else:
        evidence = f"Not measured on the locked part yet. {evidence}"
    return {
        "name": "hippocampus",
        "version": VERSION,
        "title": "Hippocampus on T1 MR of the head",
        "question": "How large are the anterior and the posterior hippocampus of both sides?",
        "takes": f"T1 MR of the whole head without contrast agent, voxels of at most {limits.MAX_STEP_MM:g} mm.",
        "finds": [code(f"hippocampus-{part}").model_dump() for part in PARTS],
        "context": [],
        "requires": [],
        "evidence_level": 1,
        "evidence": evidence,
        "operating_point": None,
        "limits": [
            "Research use only. A reader of this kind never replaces looking at the images. A volume is not a "
            "diagnosis; it compares with no norm here.",
            "Measured on crops around the hippocampus as the set has them, never on whole heads: the data hold no "
            "whole head with an outline. That a crop is found in a head is shown on constructed heads only (the MNI "
            "template turned, scaled, moved, with skull, noise and uneven coil: level 0); on one real brain (T1 after "
            "contrast agent, tumour, no skull) the place was looked at.",
            "Two files of the set can be the two sides of one person, and no table says which: a person may be on both "
            "sides of the split, and intervals may be too narrow.",
            "One centre, adults with and without non-affective psychotic disorder, one protocol (3 T MPRAGE), outlines "
            "by one protocol: the anterior part is head and some of the subiculum, the posterior part body and tail. "
            "Severe atrophy is not in it.",
            "All crops show one handedness: right hippocampi are mirrored before the network sees them.",
            f"It abstains where the head does not fit the template (correlation below {limits.MIN_LIKENESS:g}), where "
            f"left and right do not agree within {limits.FARTHEST_MM:g} mm, where a volume is not between "
            f"{limits.VOLUMES_MM3[0]:.0f} and {limits.VOLUMES_MM3[1]:.0f} mm3, where the features of the network are "
            "unlike those of the training files (score above 1), on a crop that is not a whole head, and on slices "
            "that are uneven or missing. The limit on the template was set by constructed heads and one real brain.",
            "Confidence is the network's softmax, not calibrated.",
        ],
        "weights": hashes(weights, WEIGHTS),
        "weights_licence": "CC-BY-SA-4.0 (derived from MSD Task04 Hippocampus); see weights/LICENSE",
        "data": [
            "Medical Segmentation Decathlon, Task04 Hippocampus (training part, 202 files by way of "
            "github.com/udacity/nd320-c3-3d-imaging-starter at 895fee6): "
            f"{log['training_cases']} files trained on, {log['locked_test_cases']} locked; Antonelli 2022, Nat Commun "
            "13:4128, CC BY-SA 4.0.",
            "MNI ICBM152 2009a symmetric template as the package nilearn ships it (Fonov 2011): heads are brought to "
            "it; nothing is trained on it.",
        ],
        "metrics": metrics,
        "reader_licence": "Apache-2.0",
    }


def write(path: Path, weights: Path, evaluation: dict[str, Any] | None) -> None:
    """Write the card as YAML."""
    write_card(path, build(weights, evaluation), "readingroom/readers/hippocampus/card.py")


if __name__ == "__main__":
    kept = FOLDER / "weights" / "evaluation.json"
    write(FOLDER / "card.yaml", FOLDER / "weights", json.loads(kept.read_text("utf-8")) if kept.exists() else None)
