"""Training of the first look: a classifier of candidates by their features, which leaves few places for the network.

Negatives come from the cubes' own background and from the background CT, leaving out whatever could be its unmarked
tumour. The classifier of a fold has seen no patient of it; of the background CT nothing is measured.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from scipy import ndimage

from readingroom.core.errors import BadInput
from readingroom.imaging.series import read_series
from readingroom.readers.lung_nodule import candidates, classifier, features, lungs
from readingroom.readers.lung_nodule.augment import plant, vary
from readingroom.readers.lung_nodule.cubes import Cube
from readingroom.readers.lung_nodule.folds import FOLDS, part_of
from readingroom.readers.lung_nodule.grid import resample
from readingroom.readers.lung_nodule.lungs import working_grid
from readingroom.readers.training import EVERY

BACKGROUND = "lung_ct_cptac_c3n00247"
SUSPECTS = 4
SUSPECT_MM = 18.0
"""In the background CT, all within this of so many places that most look like a nodule is left out: its tumour is
unmarked. Everything else, hilar vessels above all, is a negative that the cubes hardly have."""

Report = Callable[[str, float], None]


@dataclass(frozen=True, eq=False)
class Rows:
    """Training rows. ``truth``: 1 nodule, 0 not; ``fold``: of the case; EVERY for the background CT."""

    features: np.ndarray
    truth: np.ndarray
    weight: np.ndarray
    fold: np.ndarray


@dataclass(frozen=True, eq=False)
class Background:
    """The background CT at 1 mm, cropped to its lungs, with its candidates and their features."""

    hu: np.ndarray
    lungs: np.ndarray
    found: candidates.Candidates
    rows: np.ndarray


@dataclass(frozen=True, eq=False)
class FirstLook:
    """``whole``: the classifier of all training cases, for use; ``folds``: those for measuring; ``known``: which of the
    background CT's candidates are negatives; ``rows``: what was learnt from."""

    whole: classifier.Ensemble
    folds: dict[int, classifier.Ensemble]
    known: np.ndarray
    rows: Rows


def labels(cube: Cube, index: np.ndarray) -> np.ndarray:
    """1 near the nodule's middle, 0 well away from every annotation, -1 in between (used for nothing)."""
    radius = cube.hit_radius_mm
    if cube.centre is None:
        return np.zeros(len(index), int)
    distance = np.linalg.norm(index - cube.centre, axis=1)
    local = np.clip(np.rint(index).astype(int), 0, np.array(cube.mask.shape) - 1)
    beside = ndimage.binary_dilation(cube.mask, iterations=3)[tuple(local.T)]
    found = np.where((distance <= radius + 3) | beside, -1, 0)
    found[distance <= min(max(0.6 * radius, 3.0), 8.0)] = 1
    return found


def read_background(folder: Path) -> Background | None:
    """Return the CT in ``folder`` as background, None where there is none. Raises BadInput where it can't be used.

    Negatives are drawn from aerated lung alone.
    """
    files = sorted(folder.glob("*.dcm"))
    if not files:
        return None
    volume = read_series(files).volume
    if volume is None:
        raise BadInput(f"{folder.name} lies beside the data but gives no volume.")
    both = lungs.aerated_lungs(resample(volume, 2.0).hu, 2.0, top_first=float(volume.affine[2, 2]) < 0)
    if both.problem:
        raise BadInput(f"In {folder.name} {both.problem}.")
    grid, inside = working_grid(volume, both.together)
    found = candidates.find_candidates(grid.hu, inside)
    return Background(grid.hu, inside, found, features.compute(grid.hu, inside, found))


def learn(
    cubes: Sequence[Cube], background: Background | None, variants: int, plants: int, seed: int, report: Report
) -> FirstLook:
    """Fit the classifiers on ``cubes`` (each with a nodule), their variants, and the background CT.

    ``variants``, ``plants``: how many a cube is given, and how often its nodule is put into the background CT.
    """
    pieces: list[Rows] = []
    for number, cube in enumerate(cubes):
        report("features", 0.8 * number / len(cubes))
        # Seeded by the case: its variants don't depend on what else is in the folder.
        random = np.random.default_rng([seed, int(cube.fingerprint, 16)])
        fold = part_of(cube.case_id)
        pieces.append(_cube_rows(cube, fold, 1.0))
        pieces.extend(_cube_rows(vary(cube, random), fold, 0.5) for _ in range(variants))
        for _ in range(plants if background is not None else 0):
            assert background is not None
            planted = plant(cube, background.hu, background.lungs, random)
            if planted is not None:
                pieces.append(_planted_rows(*planted, fold))
    rows = _join(pieces)
    known = np.ones(0, bool)
    if background is not None:
        known = _known(background, fit(rows, np.ones(len(rows.truth), bool), seed))
        count = int(known.sum())
        kept = Rows(background.rows[known], np.zeros(count, int), np.ones(count), np.full(count, EVERY))
        rows = _join([rows, kept])
    folds = {}
    for fold in range(FOLDS):
        report("first look", 0.8 + 0.2 * fold / (FOLDS + 1))
        folds[fold] = fit(rows, rows.fold != fold, seed)
    report("first look", 1 - 0.2 / (FOLDS + 1))
    return FirstLook(fit(rows, np.ones(len(rows.truth), bool), seed), folds, known, rows)


def fit(rows: Rows, which: np.ndarray, seed: int) -> classifier.Ensemble:
    return classifier.fit(rows.features[which], rows.truth[which] == 1, rows.weight[which], seed)


def export(look: FirstLook) -> tuple[bytes, float]:
    """Return the classifier as ONNX and how far it is from the trained one, log-odds. Raises BadInput above 0.01."""
    data = classifier.to_onnx(look.whole)
    rows = look.rows.features[:: max(1, len(look.rows.features) // 500)].astype(np.float32)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {"features": rows})
    worst = float(np.abs(np.asarray(scores)[:, 0] - look.whole.score(rows)).max())
    if worst > 0.01:
        raise BadInput(f"The exported classifier differs from the trained one by {worst:g} log-odds.")
    return data, worst


def typical(look: FirstLook) -> list[float]:
    """The usual false candidate: what a score is explained against."""
    return [float(v) for v in np.median(look.rows.features[look.rows.truth == 0], axis=0)]


def _join(pieces: list[Rows]) -> Rows:
    parts = [p for p in pieces if len(p.truth)]
    return Rows(
        np.concatenate([p.features for p in parts]),
        np.concatenate([p.truth for p in parts]),
        np.concatenate([p.weight for p in parts]),
        np.concatenate([p.fold for p in parts]),
    )


def _cube_rows(cube: Cube, fold: int, weight: float) -> Rows:
    inside = cube.lungs
    found = candidates.find_candidates(cube.hu, inside)
    said = labels(cube, found.index)
    kept = said >= 0
    rows = features.compute(cube.hu, inside, found.take(kept))
    truth = said[kept]
    # A nodule counts the same however many candidates lie on it.
    weights = np.where(truth == 1, 6.0 / max(1, int(truth.sum())), 1.0) * weight
    return Rows(rows, truth, weights, np.full(len(truth), fold))


def _planted_rows(cube: Cube, inside: np.ndarray, fold: int) -> Rows:
    found = candidates.find_candidates(cube.hu, inside | ndimage.binary_dilation(cube.mask))
    found = found.take(labels(cube, found.index) == 1)
    rows = features.compute(cube.hu, inside, found)
    count = len(found)
    return Rows(rows, np.ones(count, int), np.full(count, 3.0 / max(1, count)), np.full(count, fold))


def _known(background: Background, look: classifier.Ensemble) -> np.ndarray:
    """Which candidates of the background CT are negatives: all but those that could be its tumour."""
    looks = look.score(background.rows)
    suspect = np.zeros(len(looks), bool)
    for _ in range(SUSPECTS):
        best = int(np.argmax(np.where(suspect, -np.inf, looks)))
        suspect |= np.linalg.norm(background.found.index - background.found.index[best], axis=1) < SUSPECT_MM
    return ~suspect
