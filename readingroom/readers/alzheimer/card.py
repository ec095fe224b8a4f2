"""Write ``card.yaml`` from what ran: the training log, the evaluation of the locked part, the hashes of the weights.

``python -m readingroom.readers.alzheimer.card`` is run after training and after evaluation; before there is an
evaluation the card says so.
"""

import json
from pathlib import Path
from typing import Any

from readingroom.findings.codes import own
from readingroom.readers.alzheimer.train import OLD
from readingroom.readers.cards import hashes, with_interval, write_card

VERSION = "1.0.0"
WEIGHTS = ("norms.json", "dementia.json", "training.json")
FOLDER = Path(__file__).parent
SHOWN = {
    f"auc_dementia_{OLD}": "AUC of dementia from 60 years on",
    f"auc_hippocampus_alone_{OLD}": "of the volume of the hippocampus alone",
    f"auc_difference_{OLD}": "paired difference",
    f"calibration_slope_{OLD}": "calibration slope",
    f"brier_{OLD}": "Brier score",
    "z_volume_coverage": "share of controls' volumes within the 95 % band",
    "z_thickness_coverage": "share of thicknesses within it",
}


def build(weights: Path, evaluation: dict[str, Any] | None) -> dict[str, Any]:
    """Return the card as data. ``weights``: the folder ``train`` wrote; ``evaluation``: what ``evaluate`` returned."""
    log = json.loads((weights / "training.json").read_text("utf-8"))
    found, z, n = log["discrimination"], log["z_of_controls"], log["n"]
    metrics: dict[str, Any] = {
        "cross_validation": {"dementia": found, "z_of_controls": z, "calibration": log["out_of_fold"]}
    }
    evidence = (
        f"In nested cross-validation on {log['people']['oasis']} people of OASIS-1: AUC of dementia from 60 years on "
        f"{with_interval(found[f'auc_dementia_{OLD}'])}, hippocampus alone "
        f"{with_interval(found[f'auc_hippocampus_alone_{OLD}'])}, paired difference "
        f"{with_interval(found[f'auc_difference_{OLD}'])}; z of controls has SD {z['volume']['sd']:.2f} (volumes), "
        f"{z['thickness']['sd']:.2f} (thickness)."
    )
    if evaluation:
        kept = ("n_patients", "n_positive", "metrics", "matching_rule", "reliability_60_and_older")
        metrics["locked_test"] = {k: evaluation[k] for k in kept}
        parts = evaluation["metrics"]
        said = "; ".join(f"{words} {with_interval(parts[name])}" for name, words in SHOWN.items() if name in parts)
        evidence = f"Locked part ({evaluation['data']}): {said}. {evidence} {_hypothesis(parts)}"
    ages = {kind: "{:.0f} to {:.0f}".format(*one["ages"]) for kind, one in n.items()}
    return {
        "name": "alzheimer",
        "version": VERSION,
        "title": "Brain volumes and cortical thickness against norms",
        "question": "How far are brain volumes and cortical thickness from those of healthy people of the same age, "
        "sex and head size, and is the pattern as in dementia?",
        "takes": "FreeSurfer's measures (aseg and aparc, native space) as a structured report in the study, or as "
        "files on the page Norms; age and sex.",
        "finds": [own("dementia-pattern", "Pattern of volumes as in dementia").model_dump()],
        "context": ["age_years", "sex"],
        "requires": [],
        "evidence_level": 1,
        "evidence": evidence,
        "operating_point": log["operating_point"],
        "limits": [
            "Research use only. A z-score or a probability is no diagnosis: dementia is one of many causes of small "
            "volumes, and an error of FreeSurfer looks the same.",
            f"Norms of volumes: {n['volume']['controls']} people of OASIS-1 with CDR 0, {ages['volume']} years, 1.5 T, "
            "few men, most of them women above 60; of thickness: "
            f"{n['thickness']['controls']} people of IXI, {ages['thickness']} years, said to be healthy, not tested "
            "for dementia. Outside there is no z. With so few controls a z has an interval of its own; it is shown.",
            "The volumes were measured in atlas space by one FreeSurfer version that the table does not name and "
            "divided by the scaling factor; head size is the atlas factor's for OASIS, FreeSurfer's eTIV for a new "
            "person. "
            f"{_whole_brain(evaluation)}"
            "Other regions could be checked nowhere. Another scanner or FreeSurfer version shifts z.",
            "No thickness was measured in anybody with dementia here: what it adds is not shown, and the probability "
            "does not use it.",
            f"Probability of dementia: CDR above 0 (most 0.5, very mild) among {log['people']['oasis']} people of "
            f"OASIS-1, of whom {log['prevalence']:.0%} from 60 years on have it; where fewer have, it must be moved to "
            "their share (the page and the command do). None below 60 years: nobody with dementia is younger "
            "in the table.",
            "Volumes of other programs or of the reader hippocampus get no z: their borders are others.",
            "The CDR is a clinical interview, not pathology: whether Alzheimer's disease was the cause is not known.",
            "The form of the norms (head size as a power) was chosen by cross-validation within OASIS; an early look "
            "at IXI's whole-brain volumes favoured it too. OASIS-2 was not used: people may be in both.",
            "The locked part was evaluated once, for version 1. Hippocampus alone had been looked at in all 199 "
            "before.",
        ],
        "weights": hashes(weights, WEIGHTS),
        "weights_licence": "CC-BY-SA-3.0 (coefficients derived from tables of OASIS-1 and IXI; OASIS is to be "
        "acknowledged, nobody re-identified); see weights/LICENSE",
        "data": [
            f"OASIS-1 (Marcus et al. 2007, J Cogn Neurosci 19:1498), {log['people']['oasis']} of 199 people with "
            "FreeSurfer volumes (github.com/hejazizo/AD-Classification at bd1fe82); open access data use agreement.",
            f"IXI (brain-development.org, CC BY-SA 3.0), {log['people']['trained'] - log['people']['oasis']} of 558 "
            "people with FreeSurfer thickness; the table's maker is not known here.",
            f"{log['people']['locked']} people locked.",
        ],
        "metrics": metrics,
        "reader_licence": "Apache-2.0",
    }  # fmt: skip


def _hypothesis(parts: dict[str, Any]) -> str:
    """What the interval of the difference says of: the pattern tells dementia better than the hippocampus alone."""
    low, high = parts[f"auc_difference_{OLD}"]["ci95"]
    said = "was shown" if low > 0 else "was refuted" if high < 0 else "was not shown: the interval holds 0"
    return f"That the pattern of volumes beats the hippocampus alone (hypothesis) {said}."


def _whole_brain(evaluation: dict[str, Any] | None) -> str:
    if not evaluation:
        return ""
    parts = evaluation["metrics"]
    return (
        f"On IXI's native whole-brain volumes z had mean {parts['whole_brain_z_ixi_mean']['value']:.2f} and SD "
        f"{parts['whole_brain_z_ixi_sd']['value']:.2f} (n = {parts['whole_brain_z_ixi_sd']['n']}); right: 0 and 1. "
    )


def write(path: Path, weights: Path, evaluation: dict[str, Any] | None) -> None:
    """Write the card as YAML."""
    write_card(path, build(weights, evaluation), "readingroom/readers/alzheimer/card.py")


if __name__ == "__main__":
    kept = FOLDER / "weights" / "evaluation.json"
    write(FOLDER / "card.yaml", FOLDER / "weights", json.loads(kept.read_text("utf-8")) if kept.exists() else None)
