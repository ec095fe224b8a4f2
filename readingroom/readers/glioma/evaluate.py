"""Measure the reader on slices of patients, each by networks that have not seen them, and on a whole head of another
source.

Every patient that was trained on is read by the network of the fold without them, others by all networks together.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from readingroom.core.errors import BadInput
from readingroom.evaluation.bootstrap import DRAWS, bootstrap
from readingroom.evaluation.detection import Matched, false_marks_per_unit, sensitivity
from readingroom.evaluation.segmentation import dice, lesion_wise
from readingroom.readers.contract import ReadingOutput, ReadingRequest
from readingroom.readers.glioma import prepare, volumes
from readingroom.readers.glioma.reader import HERE, GliomaReader
from readingroom.readers.glioma.slices import SlicePatient, read_slices

SEED = 20261130
OTHER_SOURCE = "glioma_brats2015"
RULE = (
    f"Slices of a patient stacked as they are numbered (every second one is there), a pixel for 1 mm. Drawn: all parts "
    f"at or above the operating point. Dice: of all slices of a patient together, mean over patients. A lesion is a "
    f"connected part (corners counting) of the stacked masks; it is found where a drawn part and it share at least a "
    f"tenth of what both cover; other parts are false. False-positive slices: share of the slices without tumour in "
    f"which something is drawn. 95% intervals by bootstrap over patients ({DRAWS} draws, "
    f"seed {SEED}). Below 50 lesions: an estimate, no target rests on it."
)

Report = Callable[[str, float], None]


@dataclass(frozen=True, eq=False)
class Tally:
    """What one patient gave. ``empty``, ``empty_drawn``: slices without tumour, and those with something drawn."""

    dice: float
    matched: Matched
    empty: int
    empty_drawn: int
    volume_ratio: float


def evaluate(reader: GliomaReader, data: Path, command: str, report: Report) -> dict[str, Any]:
    """Return the evaluation as JSON data. Raises BadInput where there is nothing to evaluate on."""
    patients, problems = read_slices(data)
    with_tumour = [p for p in patients if p.mask.any()]
    if not with_tumour:
        raise BadInput("No slice here holds a tumour.")
    folds = json.loads((HERE / "weights" / "training.json").read_text("utf-8"))["folds"]
    tallies: dict[str, list[Tally]] = {"with post-contrast": [], "FLAIR only": []}
    for n, patient in enumerate(patients):
        report("evaluate", 0.8 * n / len(patients))
        only = folds.get(patient.fingerprint)
        if patient.has_post:
            tallies["with post-contrast"].append(_tally(reader, patient, patient.post, only))
        tallies["FLAIR only"].append(_tally(reader, patient, None, only))
    report("evaluate", 0.8)
    main = tallies["with post-contrast"] or tallies["FLAIR only"]
    seen = sum(p.fingerprint in folds for p in patients)
    result: dict[str, Any] = {
        "reader": reader.card.name,
        "version": reader.card.version,
        "n_patients": len(patients),
        "n_positive": len(with_tumour),
        "n_lesions": sum(len(t.matched.found) for t in main),
        "metrics": _metrics(main),
        "strata": {name: _metrics(some) for name, some in tallies.items() if some},
        "operating_point": reader.card.operating_point,
        "data": f"{data.resolve().name}: {len(patients)} patients, {sum(len(p.mask) for p in patients)} slices; {seen} "
        f"of them were trained on and are read by the network of the fold without them; {len(problems)} unreadable "
        "left out",
        "command": command,
        "matching_rule": RULE,
        "weights_sha256": reader.weights_sha256,
        "problems": problems,
    }
    other = _other_source(reader, data.resolve().parent / OTHER_SOURCE)
    report("evaluate", 1.0)
    return result | ({"other_source": other} if other else {})


def _tally(reader: GliomaReader, patient: SlicePatient, post: np.ndarray | None, only: int | None) -> Tally:
    looked = reader.look(prepare.seen(patient.flair, post), only)
    drawn = np.zeros(patient.mask.shape, bool)
    for lesion in reader.reported(looked.chance):
        drawn |= lesion.mask
    matched, _ = lesion_wise(patient.mask, drawn, (1.0, 1.0, 1.0))
    empty = ~patient.mask.any(axis=(1, 2))
    return Tally(
        dice(patient.mask, drawn), matched, int(empty.sum()), int((empty & drawn.any(axis=(1, 2))).sum()),
        float(drawn.sum() / max(1, patient.mask.sum())),
    )  # fmt: skip


def _metrics(tallies: Sequence[Tally]) -> dict[str, Any]:
    measures: dict[str, Callable[[Sequence[Tally]], float]] = {
        "dice_tumour": lambda ts: float(np.mean([t.dice for t in ts])),
        "sensitivity_lesion": lambda ts: sensitivity([t.matched for t in ts], 0.0),
        "false_parts_per_patient": lambda ts: false_marks_per_unit([t.matched for t in ts], 0.0),
        "false_positive_slices": lambda ts: sum(t.empty_drawn for t in ts) / max(1, sum(t.empty for t in ts)),
        "volume_ratio_median": lambda ts: float(np.median([t.volume_ratio for t in ts])),
    }
    return {name: bootstrap(tallies, measure, SEED).as_metric() for name, measure in measures.items()}


def _other_source(reader: GliomaReader, folder: Path) -> dict[str, Any]:
    """Whole-tumour Dice of each whole head in ``folder``, read as a study; nothing where there is none."""
    found: dict[str, list[float]] = {"with post-contrast": [], "FLAIR only": []}
    abstained = 0
    cases = sorted(path.parent for path in folder.glob(f"*/{volumes.FLAIR}"))
    for path in cases:
        case = volumes.read_case(path)
        for name, post in (("with post-contrast", True), ("FLAIR only", False)):
            output = reader.read(ReadingRequest("2.25.1", volumes.series_of(case, post)), lambda step, done: None)
            abstained += bool(output.abstained)
            found[name].append(dice(case.tumour, _whole(output, case.tumour.shape)))
    if not cases:
        return {}
    return {
        "data": f"{folder.name}: {len(cases)} whole head(s) without skull, 1 mm, never trained on; nothing was chosen "
        "on it. Whole tumour (labels 1 to 4 together): core and enhancing part are not learnt, as the masks trained on "
        "hold the whole abnormality.",
        "abstained": abstained,
        "dice_whole_tumour": {
            name: bootstrap(values, lambda v: float(np.mean(v)), SEED).as_metric() for name, values in found.items()
        },
    }


def _whole(output: ReadingOutput, shape: tuple[int, ...]) -> np.ndarray:
    """All segments of a reading on the grid of the FLAIR."""
    out = np.zeros(shape, bool)
    for one in output.segments.values():
        out[tuple(slice(o, o + n) for o, n in zip(one.offset, one.mask.shape, strict=True))] |= one.mask
    return out
