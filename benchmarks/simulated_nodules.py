"""Simulated nodules in real whole chest CTs: what the lung-nodule reader finds of sizes and kinds that real data lack.

Run: python benchmarks/simulated_nodules.py [--repeats 6] [--each 16]. Writes benchmarks/simulated_nodules.md, and
weights/simulated.json beside the reader, which its card quotes. Evidence level 0: the lungs are real (two CTs that are
for testing only), the nodules are not (readers/lung_nodule/implant.py).
"""

import argparse
import json
import os
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from common import heading
from pydicom import dcmread
from scipy import ndimage

from readingroom.evaluation.detection import LUNA_RATES, Lesion, Mark, froc_mean_estimate, match, sensitivity_at
from readingroom.evaluation.estimate import proportion
from readingroom.imaging.series import read_series
from readingroom.imaging.volume import Volume
from readingroom.readers.lung_nodule.characterise import calcified
from readingroom.readers.lung_nodule.dense import whole_lungs
from readingroom.readers.lung_nodule.grid import Grid
from readingroom.readers.lung_nodule.implant import KINDS, implant
from readingroom.readers.lung_nodule.lungs import working_grid
from readingroom.readers.lung_nodule.reader import HERE, LungNoduleReader

DATA = Path(os.environ.get("READINGROOM_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
HOSTS = ("lung_ct_lidc_0314", "lung_ct_rtstruct_lung1_001")
"""Both hold one known lesion: marks on it are neither hits nor false. All else that is marked counts as false, though
some of it may be real: no reader went through these CTs for every nodule."""
LIDC_NODULE = ((-57.27, 131.30, -520.56), 11.2)
"""Of lung_ct_lidc_0314: centre (LPS mm) and half its largest diameter (its SOURCE.md)."""
BANDS_MM = (("0-3", 2.0, 3.0), ("3-5", 3.0, 5.0), ("5-8", 5.0, 8.0), ("8-20", 8.0, 20.0))
APART_MM = 30.0
BOX = 61
SEED = 20261130


@dataclass
class Counted:
    found: int = 0
    n: int = 0
    dice: list[float] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=6, help="times each CT is given new nodules")
    parser.add_argument("--each", type=int, default=16, help="nodules a time")
    options = parser.parse_args()
    reader = LungNoduleReader()
    cases, strata, lime = [], defaultdict(Counted), Counted()
    for host_number, host in enumerate(HOSTS):
        volume = read_series(sorted(p for p in (DATA / host).rglob("*.dcm") if p.name != "rtstruct.dcm")).volume
        assert volume is not None
        whole = whole_lungs(volume)
        grid, inside = working_grid(volume, whole.aerated.together)
        own, own_mm = lesion(DATA / host, volume, grid)
        for repeat in range(options.repeats):
            random = np.random.default_rng([SEED, host_number, repeat])
            hu, truth = plant(grid.hu, inside, own, options.each, random)
            marks = reader.marks(reader.look(hu, inside), hu.shape, 0.0001)
            scored = []
            for mark in marks:
                near = [n for n, (at, made, _) in enumerate(truth) if np.linalg.norm(mark.index - at) <= radius(made)]
                if not near and np.linalg.norm(mark.index - own) <= own_mm:
                    continue
                scored.append(Mark(mark.score, near[0] if near else None))
            cases.append(match([Lesion()] * len(truth), scored))
            at_point = [m for m in marks if reader.probability(np.array(m.score)) >= reader.card.operating_point]
            for at, made, band in truth:
                hits = [m for m in at_point if np.linalg.norm(m.index - at) <= radius(made)]
                for name in (f"{band} mm", made.kind):
                    strata[name].n += 1
                    strata[name].found += bool(hits)
                    if hits:
                        drawn = np.zeros(hu.shape, bool)
                        drawn[made.box] = made.mask
                        strata[name].dice.append(hits[0].segment.dice(drawn))
                if hits and made.kind == "calcified":
                    lime.n += 1
                    lime.found += calcified(*hits[0].segment.within(hu))
            print(f"{host}, time {repeat + 1}: {len(truth)} nodules, {len(marks)} marks")
    report(cases, strata, lime, options)


@dataclass(frozen=True, eq=False)
class Planted:
    mask: np.ndarray
    box: tuple[slice, ...]
    kind: str
    diameter_mm: float


def lesion(folder: Path, volume: Volume, grid: Grid) -> tuple[np.ndarray, float]:
    """The known lesion's centre (index in ``grid``) and the radius, mm, within which a mark is on it."""
    if (folder / "rtstruct.dcm").exists():
        structures = dcmread(folder / "rtstruct.dcm")
        number = next(s.ROINumber for s in structures.StructureSetROISequence if s.ROIName == "GTV-1")
        contours = next(s for s in structures.ROIContourSequence if s.ReferencedROINumber == number).ContourSequence
        points = np.concatenate([np.array(c.ContourData, float).reshape(-1, 3) for c in contours])
        centre = (points.min(axis=0) + points.max(axis=0)) / 2
        reach = float(np.linalg.norm(points - centre, axis=1).max())
    else:
        centre, reach = np.array(LIDC_NODULE[0]), LIDC_NODULE[1]
    return grid.from_source(np.asarray(volume.to_index(centre), float)), max(5.0, reach) + 2


def radius(made: Planted) -> float:
    """As with the cubes: within the radius, or 5 mm."""
    return max(5.0, made.diameter_mm / 2)


def plant(
    hu: np.ndarray, inside: np.ndarray, own: np.ndarray, count: int, random: np.random.Generator
) -> tuple[np.ndarray, list[tuple[np.ndarray, Planted, str]]]:
    """Return the CT with nodules, and of each its place, what it is, and its band of size."""
    hu = hu.copy()
    places = np.argwhere(ndimage.binary_erosion(inside, iterations=3)[::2, ::2, ::2]) * 2
    truth: list[tuple[np.ndarray, Planted, str]] = []
    for _ in range(200 * count):
        at = places[random.integers(len(places))]
        others = [own, *(place for place, _, _ in truth)]
        start = at - BOX // 2
        if (start < 0).any() or (start + BOX > hu.shape).any():
            continue
        if any(np.linalg.norm(at - other) < APART_MM for other in others) or hu[tuple(at)] > -600:
            continue
        name, low, high = BANDS_MM[len(truth) % len(BANDS_MM)]
        box = tuple(slice(int(a), int(a) + BOX) for a in start)
        kind = KINDS[(len(truth) // len(BANDS_MM)) % len(KINDS)]
        made = implant(hu[box], np.full(3, BOX // 2), float(random.uniform(low, high)), kind, random)
        hu[box] = made.hu
        centre = np.argwhere(made.mask).mean(axis=0) + start
        truth.append((centre, Planted(made.mask, box, kind, made.diameter_mm), name))
        if len(truth) == count:
            break
    return hu, truth


def report(cases: list, strata: dict[str, Counted], lime: Counted, options: argparse.Namespace) -> None:
    mean = froc_mean_estimate(cases, SEED)
    data = f"{', '.join(HOSTS)}: each {options.repeats} times with up to {options.each} simulated nodules"
    names = [f"{name} mm" for name, _, _ in BANDS_MM] + list(KINDS)
    rows, shares = [], {}
    for name in names:
        part = strata[name]
        if not part.n:
            continue
        share = proportion(part.found, part.n)
        shares[name] = share.as_metric()
        dice = f"{np.mean(part.dice):.2f}" if part.dice else "-"
        rows.append(f"| {name} | {part.n} | {share.value:.2f} ({share.low:.2f} to {share.high:.2f}) | {dice} |")
    curve = ", ".join(f"{sensitivity_at(cases, rate):.2f} at {rate:g}" for rate in LUNA_RATES)
    text = [
        heading("Simulated nodules in real chest CTs (evidence level 0)", data),
        "The lungs are of two patients, for testing only; the nodules are simulated, none trained on. Intervals say "
        "how often nodules like these are found in these two CTs, not in others. A mark on the one known real lesion "
        "of each CT is left out; every other mark that hits no simulated nodule counts as false.\n",
        f"`froc_mean` {mean.value:.3f} (95% CI {mean.low:.3f} to {mean.high:.3f} over {len(cases)} simulated scans of "
        f"{len(HOSTS)} patients); sensitivity at false marks a scan: {curve}.\n",
        f"Calcified nodules found and called so: {lime.found} of {lime.n}.\n",
        "At the card's operating point:\n",
        "| nodules | n | sensitivity (95% CI, Wilson) | Dice of those found |",
        "|---|---|---|---|",
        *rows,
        "",
    ]
    (Path(__file__).parent / "simulated_nodules.md").write_text("\n".join(text))
    kept = {
        "evidence_level": 0,
        "patients": len(HOSTS),
        "scans": len(cases),
        "nodules": sum(len(case.found) for case in cases),
        "froc_mean": mean.as_metric(),
        "sensitivity": shares,
    }
    (HERE / "weights" / "simulated.json").write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    print("\n".join(text))


if __name__ == "__main__":
    main()
