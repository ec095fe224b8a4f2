"""Measure the reader on a folder of cubes it was not trained on: detection, segment, ratings, each with its interval.

Each cube is looked at through ``WINDOWS`` windows, shifted so that the nodule stands up to 15 mm from where it would be
in the middle. A window is a crop: nothing is invented beyond the cube. Cubes whose voxels were trained on are left out,
whatever they are called.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from readingroom.core.errors import BadInput
from readingroom.evaluation.bootstrap import DRAWS, bootstrap, paired_difference
from readingroom.evaluation.classification import delong
from readingroom.evaluation.estimate import Estimate, proportion
from readingroom.evaluation.subgroups import band
from readingroom.readers.lung_nodule.augment import random_shift, window
from readingroom.readers.lung_nodule.characterise import calcified, density_words
from readingroom.readers.lung_nodule.cubes import MIN_HIT_MM, Cube, read_cubes
from readingroom.readers.lung_nodule.detect import litres
from readingroom.readers.lung_nodule.ratings import read_ratings
from readingroom.readers.lung_nodule.reader import HERE, LungNoduleReader

WINDOWS = 3
JITTER_MM = 15.0
SEED = 20261123
SIZE_BANDS_MM = (0.0, 8.0, 15.0)
INDETERMINATE = 3.0
MATCHING_RULE = (
    f"A mark (the centroid of its segment) hits where it lies within the annotated nodule's volume-equivalent radius, "
    f"or {MIN_HIT_MM:g} mm where that is more, of its centroid. A mark that hits nothing and lies further than 2 mm "
    f"from every annotated voxel is a false positive. Litres: closed lung mask searched. {WINDOWS} windows a patient, "
    f"the nodule's centre shifted by up to {JITTER_MM:g} mm (even in a ball); sensitivity: mean over windows, then "
    f"patients; Dice: of the best mark that hits with the annotation, mean over windows, then patients found; 95% "
    f"intervals by bootstrap over patients ({DRAWS} draws, seed {SEED}). Malignancy and texture: one reader's rating "
    f"of each nodule found (malignancy above 3 against below, 3 left out; texture 5 against less); intervals after "
    f"DeLong. Marks count whether or not it would abstain; abstained: share of whole cubes with an out-of-domain score "
    f"above 1, interval after Wilson."
)

Report = Callable[[str, float], None]


@dataclass
class Tally:
    """What one patient's windows gave. ``suspicion``, ``texture``, ``diameter_mm``: of the best marks that hit;
    ``unlike``: the out-of-domain score of the whole cube."""

    positive: bool
    unlike: float = 0.0
    hits: list[bool] = field(default_factory=list)
    false_marks: int = 0
    litres: float = 0.0
    dice: list[float] = field(default_factory=list)
    volume_ratio: list[float] = field(default_factory=list)
    centre_error_mm: list[float] = field(default_factory=list)
    suspicion: list[float] = field(default_factory=list)
    texture: list[float] = field(default_factory=list)
    diameter_mm: list[float] = field(default_factory=list)


def evaluate(
    reader: LungNoduleReader, data: Path, command: str, report: Report, against: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the evaluation as JSON data. Raises BadInput where nothing is left to evaluate on.

    ``against``: an earlier version's evaluation of the same cubes, with its ``cases``: differences are added, paired.
    """
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
    ratings = read_ratings(data)
    said = [ratings.get(c.case_id) for c in unseen]
    left = len(cubes) - len(unseen)
    result: dict[str, Any] = {
        "reader": reader.card.name,
        "version": reader.card.version,
        "n_patients": len(unseen),
        "n_positive": sum(t.positive for t in tallies),
        "metrics": _metrics(tallies) | _rated(tallies, said),
        "strata": _strata(unseen, tallies, said),
        "operating_point": reader.card.operating_point,
        "data": f"{data.resolve().name}: {len(unseen)} cubes, one patient each; {left} used in training left out; "
        f"{len(problems)} unreadable left out; {sum(t.litres for t in tallies):.2f} l searched",
        "command": command,
        "matching_rule": MATCHING_RULE,
        "weights_sha256": reader.weights_sha256,
        "problems": problems,
        "cases": {c.fingerprint: _case(t) for c, t in zip(unseen, tallies, strict=True)},
    }
    if against is not None:
        result["against"] = compare(result, against)
    return result


def compare(result: Mapping[str, Any], earlier: Mapping[str, Any]) -> dict[str, Any]:
    """Return this version minus the earlier one on the same patients, with paired intervals; the earlier one's own
    comparison goes along.

    Raises BadInput where ``earlier`` names no cases or not one that is here.
    """
    before, now = earlier.get("cases") or {}, result["cases"]
    same = sorted(set(before) & set(now))
    if not same:
        raise BadInput("The earlier evaluation has none of these cases.", "Evaluate both versions on the same folder.")
    pairs = [(_of_case(now[key]), _of_case(before[key])) for key in same]
    among = {
        "sensitivity": [pair for pair in pairs if pair[0].positive],
        "false_positives_per_litre": pairs,
        # Only patients whose nodule both versions found have two segments to compare.
        "dice_nodule": [pair for pair in pairs if all(tally.dice for tally in pair)],
    }
    found = {
        name: paired_difference([a for a, _ in chosen], [b for _, b in chosen], MEASURES[name], SEED).as_metric()
        for name, chosen in among.items()
        if chosen
    }
    said = {"reader": earlier.get("reader"), "version": earlier.get("version"), "n": len(same), "difference": found}
    return said | ({"against": earlier["against"]} if "against" in earlier else {})


MEASURES: Mapping[str, Callable[[Sequence[Tally]], float]] = {
    "sensitivity": lambda ts: float(np.mean([np.mean(t.hits) for t in ts])),
    "false_positives_per_litre": lambda ts: sum(t.false_marks for t in ts) / max(sum(t.litres for t in ts), 1e-9),
    "dice_nodule": lambda ts: float(np.mean([np.mean(t.dice) for t in ts])),
}
"""Over patients; false marks are those of all windows by all that was searched."""


def _case(tally: Tally) -> dict[str, Any]:
    """What is kept of a patient to compare versions by: nothing that was not measured, rounded."""
    kept = asdict(tally)
    return {
        name: [round(v, 4) if isinstance(v, float) else v for v in value] if isinstance(value, list) else value
        for name, value in kept.items()
    } | {"litres": round(tally.litres, 6), "unlike": round(tally.unlike, 3)}


def _of_case(kept: Mapping[str, Any]) -> Tally:
    hits = [bool(h) for h in kept["hits"]]
    dice = [float(d) for d in kept["dice"]]
    return Tally(bool(hits), 0.0, hits, int(kept["false_marks"]), float(kept["litres"]), dice)


def _tally(reader: LungNoduleReader, cube: Cube) -> Tally:
    # Seeded by the voxels: the windows of a case don't depend on its name or on what else is in the folder.
    random = np.random.default_rng(int(cube.fingerprint, 16))
    whole = reader.unlike(cube.hu, cube.lungs, reader.look(cube.hu, cube.lungs))
    tally = Tally(cube.centre is not None, whole.score)
    for _ in range(WINDOWS):
        # The annotation is the whole nodule's: a window that cuts it does not move its centre.
        seen, start = window(cube, random_shift(random, JITTER_MM))
        marks = reader.marks(reader.look(seen.hu, seen.lungs), seen.hu.shape)
        hitting = [m for m in marks if cube.hits(m.index + start)]
        tally.false_marks += sum(not cube.on_annotation(m.index + start) for m in marks)
        tally.litres += litres(seen.lungs)
        if cube.centre is None:
            continue
        tally.hits.append(bool(hitting))
        if hitting:
            best = hitting[0]
            size = int(best.segment.mask.sum())
            ball = float((6 * size / np.pi) ** (1 / 3))
            tally.dice.append(best.segment.dice(seen.mask))
            tally.volume_ratio.append(size / max(1, int(seen.mask.sum())))
            tally.centre_error_mm.append(float(np.linalg.norm(best.index + start - cube.centre)))
            lime = calcified(*best.segment.within(seen.hu))
            tally.suspicion.append(reader.suspicion(ball, best.ratings, lime))
            tally.texture.append(best.ratings["texture"])
            tally.diameter_mm.append(ball)
    return tally


def _metrics(tallies: list[Tally]) -> dict[str, Any]:
    positive = [t for t in tallies if t.positive]
    matched = [t for t in positive if t.dice]

    def estimate(name: str, among: list[Tally]) -> dict[str, Any]:
        return bootstrap(among, MEASURES[name], SEED).as_metric()

    metrics = {
        "false_positives_per_litre": estimate("false_positives_per_litre", tallies),
        "abstained": proportion(sum(t.unlike > 1 for t in tallies), len(tallies)).as_metric(),
    }
    if positive:
        metrics["sensitivity"] = estimate("sensitivity", positive)
    if matched:
        metrics["dice_nodule"] = estimate("dice_nodule", matched)
        metrics["volume_ratio_median"] = bootstrap(
            matched, lambda ts: float(np.median([np.mean(t.volume_ratio) for t in ts])), SEED
        ).as_metric()
        metrics["centre_error_mm_median"] = bootstrap(
            matched, lambda ts: float(np.median([np.mean(t.centre_error_mm) for t in ts])), SEED
        ).as_metric()
    return metrics


def _rated(tallies: Sequence[Tally], said: Sequence[Mapping[str, float] | None]) -> dict[str, Any]:
    """AUCs of what the reader says against one reader's ratings; those that can't be had are left out."""
    pairs = [(t, r) for t, r in zip(tallies, said, strict=True) if t.suspicion and r is not None]
    judged = [(t, r) for t, r in pairs if r["malignancy"] != INDETERMINATE]
    malignant = np.array([r["malignancy"] > INDETERMINATE for _, r in judged], bool)
    solid = np.array([density_words(r["texture"]) == "solid" for _, r in pairs], bool)
    asked = {
        "auc_malignancy": (malignant, [np.mean(t.suspicion) for t, _ in judged]),
        "auc_malignancy_diameter_alone": (malignant, [np.mean(t.diameter_mm) for t, _ in judged]),
        "auc_texture_solid": (solid, [np.mean(t.texture) for t, _ in pairs]),
    }
    found: dict[str, Estimate] = {
        name: delong(truth, np.array(score)) for name, (truth, score) in asked.items() if len(set(truth.tolist())) == 2
    }
    return {name: one.as_metric() for name, one in found.items()}


def _strata(
    cubes: Sequence[Cube], tallies: Sequence[Tally], said: Sequence[Mapping[str, float] | None]
) -> dict[str, dict[str, Any]]:
    """The same measures within sizes and textures. Few patients are in each: the intervals say how few."""
    parts: dict[str, list[int]] = {}
    for n, (cube, tally, rating) in enumerate(zip(cubes, tallies, said, strict=True)):
        if not tally.positive:
            continue
        ball = float((6 * cube.nodule.sum() / np.pi) ** (1 / 3))
        parts.setdefault(f"diameter {band(ball, SIZE_BANDS_MM, 'mm')}", []).append(n)
        if rating is not None:
            parts.setdefault(f"texture {density_words(rating['texture'])}", []).append(n)
    return {
        name: _metrics([tallies[n] for n in which]) | _rated([tallies[n] for n in which], [said[n] for n in which])
        for name, which in sorted(parts.items())
    }
