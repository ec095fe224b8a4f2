"""Measure the reader on a folder of patients it was not trained on: scans and slices, each with its interval.

Patients whose pixels were trained on are left out, whatever they are called. Where the folder's neighbour
``head_ct_reads`` is there, what three radiologists say of each other's scans (``human.py``) stands beside it.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from readingroom.core.errors import BadInput
from readingroom.evaluation.bootstrap import DRAWS
from readingroom.readers.head_ct_triage import human, measures, position
from readingroom.readers.head_ct_triage.reader import HERE, HeadCtTriageReader
from readingroom.readers.head_ct_triage.scores import TOP
from readingroom.readers.head_ct_triage.slices import CLASSES, Patient, read_patients

READS = "head_ct_reads"
RULE = (
    f"A scan's score is the mean of its {TOP} highest slices; a scan is positive where any slice is. Intervals at 95%: "
    f"of scans after DeLong, of slices by bootstrap over patients ({DRAWS // 4} draws, seed {measures.SEED}). "
    f"Position-matched: only slices of the same tenth of the head are compared. Position-only: the share of positive "
    f"slices at that height among the training patients. Fracture: patients with a bone window only; of a type with "
    f"fewer than 50 positives nothing is claimed."
)
Report = Callable[[str, float], None]


def evaluate(reader: HeadCtTriageReader, data: Path, command: str, report: Report) -> dict[str, Any]:
    """Return the evaluation as JSON data. Raises BadInput where nothing is left to evaluate on."""
    patients, problems = read_patients(data)
    log = json.loads((HERE / "weights" / "training.json").read_text("utf-8"))
    unseen = [p for p in patients if p.fingerprint not in set(log["trained_on"])]
    if not unseen:
        raise BadInput("Every patient here was used in training.", "Evaluate on patients the reader has not seen.")
    parts: list[measures.Judged] = []
    chances, abstained = [], 0
    for number, one in enumerate(unseen):
        report("evaluate", number / len(unseen))
        looked = reader.look(one.brain, one.bone)
        abstained += reader.unlike(looked) > 1
        chances.append(reader.probabilities(looked)[CLASSES[0]])
        parts.append(_judged(number, one, looked.scores, log["position"]))
    report("evaluate", 1.0)
    judged = measures.Judged(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in measures.Judged.__dataclass_fields__)
    )
    truth = np.array([p.truth[0] for p in unseen])
    metrics = measures.measure(judged)
    if truth.any() and not truth.all():
        metrics |= measures.at_point(truth, np.array(chances), reader.operating_point)
    result: dict[str, Any] = {
        "reader": reader.card.name,
        "version": reader.card.version,
        "n_patients": len(unseen),
        "n_positive": int(truth.sum()),
        "metrics": metrics,
        "few_positives": measures.few(metrics),
        "abstained": int(abstained),
        "operating_point": reader.card.operating_point,
        "data": f"{data.resolve().name}: {len(unseen)} patients, {len(judged.truth)} slices; "
        f"{len(patients) - len(unseen)} used in training left out; {len(problems)} unreadable left out",
        "command": command,
        "matching_rule": RULE,
        "weights_sha256": reader.weights_sha256,
        "problems": problems,
    }
    reads = data.resolve().parent / READS
    if reads.is_dir():
        result["human"] = human.agreement(reads)
    return result


def _judged(number: int, one: Patient, scores: np.ndarray, shares: dict[str, list[float]]) -> measures.Judged:
    count = len(one.brain)
    by_height = np.stack([position.score(one.height, shares[name]) for name in CLASSES], axis=1)
    bony = np.full(count, one.bone is not None)
    return measures.Judged(
        np.nan_to_num(scores, nan=0.0), one.labels, np.full(count, number), one.height, by_height, bony
    )  # fmt: skip
