"""Measure the reader on a folder of cubes it was not trained on: sensitivity and false marks per litre, with intervals.

Each cube is looked at through ``WINDOWS`` windows, shifted so that the nodule stands up to 15 mm from where it would be
in the middle. A window is a crop: nothing is invented beyond the cube. Cubes whose voxels were trained on are left out,
whatever they are called.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from readingroom.core.errors import BadInput
from readingroom.evaluation.bootstrap import DRAWS, bootstrap
from readingroom.readers.lung_nodule.augment import random_shift, window
from readingroom.readers.lung_nodule.cubes import MIN_HIT_MM, Cube, read_cubes
from readingroom.readers.lung_nodule.detect import litres
from readingroom.readers.lung_nodule.lungs import lungs_in_crop
from readingroom.readers.lung_nodule.reader import HERE, LungNoduleReader

WINDOWS = 3
JITTER_MM = 15.0
SEED = 20261123
MATCHING_RULE = (
    f"A mark (the centroid of its segment) hits where it lies within the annotated nodule's volume-equivalent radius, "
    f"or {MIN_HIT_MM:g} mm where that is more, of its centroid. A mark that hits nothing and lies further than 2 mm "
    f"from every annotated voxel is a false positive. Litres: closed lung mask searched. {WINDOWS} windows a patient, "
    f"the nodule's centre shifted by up to {JITTER_MM:g} mm (even in a ball); sensitivity: mean over windows, then "
    f"patients; 95% intervals by bootstrap over patients ({DRAWS} draws, seed {SEED})."
)

Report = Callable[[str, float], None]


@dataclass
class Tally:
    """What one patient's windows gave."""

    positive: bool
    hits: list[bool] = field(default_factory=list)
    false_marks: int = 0
    litres: float = 0.0
    dice: list[float] = field(default_factory=list)
    volume_ratio: list[float] = field(default_factory=list)
    centre_error_mm: list[float] = field(default_factory=list)


def evaluate(reader: LungNoduleReader, data: Path, command: str, report: Report) -> dict[str, Any]:
    """Return the evaluation as JSON data. Raises BadInput where nothing is left to evaluate on."""
    cubes, problems = read_cubes(data)
    trained = set(json.loads((HERE / "weights" / "training.json").read_text("utf-8"))["trained_on"])
    unseen = [c for c in cubes if c.fingerprint not in trained]
    if not unseen:
        raise BadInput("Every case here was used in training.", "Evaluate on cases the reader has not seen.")
    tallies = []
    for number, cube in enumerate(unseen):
        report("evaluate", number / len(unseen))
        tallies.append(_tally(reader, cube))
    report("evaluate", 1.0)
    positive = [t for t in tallies if t.positive]
    matched = [t for t in positive if t.dice]
    metrics = {
        "false_positives_per_litre": _metric(
            tallies, lambda ts: sum(t.false_marks for t in ts) / max(sum(t.litres for t in ts), 1e-9)
        ),
    }
    if positive:
        metrics["sensitivity"] = _metric(positive, lambda ts: float(np.mean([np.mean(t.hits) for t in ts])))
    if matched:
        metrics["segment_dice"] = _metric(matched, lambda ts: float(np.mean([np.mean(t.dice) for t in ts])))
        metrics["volume_ratio_median"] = _metric(
            matched, lambda ts: float(np.median([np.mean(t.volume_ratio) for t in ts]))
        )
        metrics["centre_error_mm_median"] = _metric(
            matched, lambda ts: float(np.median([np.mean(t.centre_error_mm) for t in ts]))
        )
    left = len(cubes) - len(unseen)
    return {
        "reader": reader.card.name,
        "version": reader.card.version,
        "n_patients": len(unseen),
        "n_positive": len(positive),
        "metrics": metrics,
        "operating_point": reader.card.operating_point,
        "data": f"{data.resolve().name}: {len(unseen)} cubes, one patient each; {left} used in training left out; "
        f"{len(problems)} unreadable left out; {sum(t.litres for t in tallies):.2f} l searched",
        "command": command,
        "matching_rule": MATCHING_RULE,
        "weights_sha256": reader.weights_sha256,
        "problems": problems,
    }


def _tally(reader: LungNoduleReader, cube: Cube) -> Tally:
    # Seeded by the voxels: the windows of a case don't depend on its name or on what else is in the folder.
    random = np.random.default_rng(int(cube.fingerprint, 16))
    tally = Tally(cube.centre is not None)
    for _ in range(WINDOWS):
        # The annotation is the whole nodule's: a window that cuts it does not move its centre.
        seen, start = window(cube, random_shift(random, JITTER_MM))
        inside = lungs_in_crop(seen.hu)
        marks = reader.marks(seen.hu, inside)
        hitting = [m for m in marks if cube.hits(m.index + start)]
        tally.false_marks += sum(not cube.on_annotation(m.index + start) for m in marks)
        tally.litres += litres(inside)
        if cube.centre is None:
            continue
        tally.hits.append(bool(hitting))
        if hitting:
            best = hitting[0]
            mask = np.zeros(seen.hu.shape, bool)
            box = tuple(slice(o, o + n) for o, n in zip(best.segment.offset, best.segment.mask.shape, strict=True))
            mask[box] = best.segment.mask
            tally.dice.append(float(2 * (mask & seen.mask).sum() / max(1, mask.sum() + seen.mask.sum())))
            tally.volume_ratio.append(float(mask.sum() / max(1, seen.mask.sum())))
            tally.centre_error_mm.append(float(np.linalg.norm(best.index + start - cube.centre)))
    return tally


def _metric(tallies: list[Tally], of: Callable[[Sequence[Tally]], float]) -> dict[str, Any]:
    return bootstrap(tallies, of, SEED).as_metric()
