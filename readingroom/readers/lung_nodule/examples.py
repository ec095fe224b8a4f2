"""The network's training examples: patches around candidates, a little larger than it sees, so that they can shift.

Positives: the nodules of the cubes, their variants, the same nodules put into the background CT, and simulated ones put
into the lungs of cubes and CT (of kinds and sizes that the cubes lack). Negatives: what the first look takes for a
nodule and is none, in the same lungs. So neither noise nor grid nor source tells a nodule from a false mark.
"""

import multiprocessing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import ndimage

from readingroom.readers.lung_nodule import candidates, classifier, features
from readingroom.readers.lung_nodule.augment import plant, vary
from readingroom.readers.lung_nodule.cubes import Cube
from readingroom.readers.lung_nodule.first_look import Background, labels
from readingroom.readers.lung_nodule.folds import part_of
from readingroom.readers.lung_nodule.implant import KINDS, Implant, Kind, implant
from readingroom.readers.lung_nodule.patches import SIZE, cut, soft_edge, step_of
from readingroom.readers.lung_nodule.ratings import NAMES
from readingroom.readers.training import EVERY, Report

MARGIN = 2
"""Voxels on each side that are cut off by chance: the candidate is seldom quite in the middle."""
WHOLE = SIZE + 2 * MARGIN
VARIANTS, PLANTS, IMPLANTS = 8, 4, 6
NEGATIVES, NEGATIVES_OF_VARIANT = 24, 3
BACKGROUND_NEGATIVES, BACKGROUND_IMPLANTS = 1500, 500
CATEGORIES: Mapping[str, float] = {
    "nodule": 0.28, "simulated": 0.22, "negative": 0.30, "background": 0.20,
}  # fmt: skip
"""Share of each kind among what is drawn."""
SIMULATED_MM = (3.0, 22.0)
SIMULATED_TEXTURE: Mapping[Kind, float] = {"solid": 5.0, "part-solid": 3.0, "ground-glass": 1.0, "calcified": 5.0}
_BOX = 61


@dataclass(frozen=True, eq=False)
class Patch:
    """``hu`` int16 and ``mask`` uint8 (0..255: 0..1) ``(WHOLE, WHOLE, WHOLE)``; ``ratings`` of ``NAMES`` as 0..1, -1
    where nobody rated."""

    hu: np.ndarray
    mask: np.ndarray
    nodule: bool
    ratings: tuple[float, ...]
    category: str


_UNRATED = (-1.0,) * len(NAMES)


def of_cube(
    cube: Cube, ratings: Mapping[str, float] | None, look: classifier.Ensemble, background: Background | None, seed: int
) -> list[Patch]:
    """Return all patches of one training case. ``look``: a first look that has not seen the case."""
    random = np.random.default_rng([seed, 1, int(cube.fingerprint, 16)])
    said = _UNRATED if ratings is None else tuple((ratings[name] - 1) / 4 for name in NAMES)
    made = _of_image(cube, said, look, NEGATIVES, random)
    for _ in range(VARIANTS):
        made += _of_image(vary(cube, random), said, look, NEGATIVES_OF_VARIANT, random)
    for _ in range(PLANTS if background is not None else 0):
        assert background is not None
        planted = plant(cube, background.hu, background.lungs, random)
        if planted is not None:
            made += _positives(planted[0], planted[1], said, random)
    inside = cube.lungs & ~ndimage.binary_dilation(cube.mask, iterations=6)
    made += _simulated(cube.hu, inside, IMPLANTS, random)
    return made


def of_background(background: Background, known: np.ndarray, look: classifier.Ensemble, seed: int) -> list[Patch]:
    """Return patches of the background CT: what most looks like a nodule, some of the rest, and simulated nodules."""
    random = np.random.default_rng([seed, 2])
    scores = np.where(known, look.score(background.rows), -np.inf)
    order = np.argsort(-scores, kind="stable")[: int(known.sum())]
    hard = order[: BACKGROUND_NEGATIVES // 2]
    rest = random.permutation(order[BACKGROUND_NEGATIVES // 2 :])[: BACKGROUND_NEGATIVES // 2]
    level = candidates.lung_level(background.hu, background.lungs)
    made = []
    for n in np.concatenate([hard, rest]):
        at, sigma = background.found.index[n], float(background.found.sigma[n])
        made.append(_patch(background.hu, None, at, sigma, level, False, _UNRATED, "background"))
    return made + _simulated(background.hu, background.lungs, BACKGROUND_IMPLANTS, random)


def _of_image(
    cube: Cube, said: tuple[float, ...], look: classifier.Ensemble, negatives: int, random: np.random.Generator
) -> list[Patch]:
    inside = cube.lungs
    found = candidates.find_candidates(cube.hu, inside)
    made = _positives(cube, inside, said, random, found)
    no = found.take(labels(cube, found.index) == 0)
    if len(no):
        scores = look.score(features.compute(cube.hu, inside, no))
        order = np.argsort(-scores, kind="stable")
        picked = np.concatenate([order[: 2 * negatives // 3], random.permutation(order[2 * negatives // 3 :])])
        level = candidates.lung_level(cube.hu, inside)
        for n in picked[:negatives]:
            made.append(
                _patch(cube.hu, None, no.index[n], float(no.sigma[n]), level, False, _UNRATED, "negative")
            )  # fmt: skip
    return made


def _positives(
    cube: Cube,
    inside: np.ndarray,
    said: tuple[float, ...],
    random: np.random.Generator,
    found: candidates.Candidates | None = None,
    category: str = "nodule",
) -> list[Patch]:
    """Up to three candidates on the nodule, as the first look finds them; its centroid where there is none."""
    if cube.centre is None:
        return []
    if found is None:
        found = candidates.find_candidates(cube.hu, inside | ndimage.binary_dilation(cube.mask))
    yes = found.take(labels(cube, found.index) == 1)
    level = candidates.lung_level(cube.hu, inside)
    mask = soft_edge(cube.nodule)
    if not len(yes):
        sigma = float((3 * cube.nodule.sum() / (4 * np.pi)) ** (1 / 3)) / 1.7
        return [_patch(cube.hu, mask, cube.centre, sigma, level, True, said, category)]
    picked = random.permutation(len(yes))[:3]
    return [
        _patch(cube.hu, mask, yes.index[n], float(yes.sigma[n]), level, True, said, category) for n in picked
    ]  # fmt: skip


def _simulated(hu: np.ndarray, inside: np.ndarray, count: int, random: np.random.Generator) -> list[Patch]:
    places = np.argwhere(inside[::2, ::2, ::2]) * 2
    if not len(places):
        return []
    made = []
    for _ in range(count):
        at = places[random.integers(len(places))]
        start = np.maximum(at - _BOX // 2, 0)
        box = tuple(slice(int(a), min(int(a) + _BOX, n)) for a, n in zip(start, hu.shape, strict=True))
        # Small ones are many in life, and what the cubes lack: the diameter is drawn evenly in its logarithm.
        diameter = float(np.exp(random.uniform(*np.log(SIMULATED_MM))))
        kind = KINDS[int(random.choice(len(KINDS), p=(0.45, 0.2, 0.25, 0.1)))]
        done = implant(hu[box], at - start + random.uniform(-0.5, 0.5, 3), diameter, kind, random)
        cube = Cube("simulated", done.hu, done.mask)
        made += _positives(cube, inside[box] | done.mask, _rated(done), random, category="simulated")[:2]
    return made


def _rated(done: Implant) -> tuple[float, ...]:
    """What the construction says for certain: texture, spiculation, lobulation; never malignancy."""
    shape = {"spiculation": done.spiculated, "lobulation": done.lobulated}
    values = {"texture": (SIMULATED_TEXTURE[done.kind] - 1) / 4} | {n: 0.75 if v else 0.0 for n, v in shape.items()}
    return tuple(values.get(name, -1.0) for name in NAMES)


def _patch(
    hu: np.ndarray, mask: np.ndarray | None, at: np.ndarray, sigma: float, level: float, nodule: bool,
    said: tuple[float, ...], category: str,
) -> Patch:  # fmt: skip
    step = step_of(sigma)
    image = np.rint(cut(hu, at, step, level, WHOLE)).astype(np.int16)
    drawn = np.zeros(image.shape, np.uint8) if mask is None else np.rint(255 * cut(mask, at, step, 0.0, WHOLE))
    return Patch(image, drawn.astype(np.uint8), nodule, said, category)


def draws(categories: Sequence[str], nodule: np.ndarray, group: Sequence[str]) -> np.ndarray:
    """How often each patch is drawn: by the share of its category, each patient in it as often as another."""
    whole = np.zeros(len(categories))
    names = np.array(categories)
    for category, share in CATEGORIES.items():
        here = np.flatnonzero(names == category)
        if not len(here):
            continue
        _, inverse, count = np.unique(np.array(group)[here], return_inverse=True, return_counts=True)
        # Patches of one patient share that patient's part; the square root keeps much-seen patients a little ahead.
        weight = 1 / np.sqrt(count[inverse])
        whole[here] = share * weight / weight.sum()
    return whole / whole.sum()


def make(
    cubes: Sequence[Cube],
    ratings: Mapping[str, Mapping[str, float]],
    looks: Mapping[int, classifier.Ensemble],
    whole: classifier.Ensemble,
    background: Background | None,
    known: np.ndarray,
    background_name: str,
    seed: int,
    processes: int,
    report: Report,
) -> tuple[list[Patch], list[str], list[int]]:
    """Return all patches with the patient and fold of each. The order and content do not depend on ``processes``."""
    _jobs.clear()
    _jobs.extend(
        partial(of_cube, c, ratings.get(c.case_id), looks[part_of(c.case_id)], background, seed) for c in cubes
    )
    patches: list[Patch] = []
    groups: list[str] = []
    folds: list[int] = []
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        for n, made in enumerate(pool.imap(_job, range(len(cubes)))):
            patches += made
            groups += [cubes[n].case_id] * len(made)
            folds += [part_of(cubes[n].case_id)] * len(made)
            report("patches", n / len(cubes))
    _jobs.clear()
    if background is not None:
        made = of_background(background, known, whole, seed)
        patches += made
        groups += [background_name] * len(made)
        folds += [EVERY] * len(made)
    return patches, groups, folds


_jobs: list[partial[list[Patch]]] = []
"""What the forked processes do: they find it here, so that the background CT isn't sent to each again and again."""


def _job(number: int) -> list[Patch]:
    return _jobs[number]()
