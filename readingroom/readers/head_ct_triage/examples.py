"""The examples: views of each slice between its neighbours, passed through the trunk once, and what is true of them.

The first view of a slice is as it is; in the others it is turned, scaled, shifted, mirrored, brighter or noisier (a
bleed has no side), and some slices that do not bleed get a simulated bleed, whose place is then known.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from readingroom.readers.head_ct_triage import head, implant
from readingroom.readers.head_ct_triage.slices import CLASSES, TYPES, Patient
from readingroom.readers.training import Report

VIEWS, VIEWS_OF_BONE = 7, 3
CELLS = head.SEEN // 8
IMPLANTED = 0.7
"""Share of the views of slices without blood that get some."""
BINS = 10
"""Of height, where slices are matched by it."""
SHARES = {"bleed": 0.28, "simulated": 0.2, "clear": 0.37, "fracture": 0.06, "whole": 0.09}
"""How often each kind of example is drawn."""
Features = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Examples:
    """``features`` float16 ``(n, 28, 40, 40)``, ``truth`` and ``known`` ``(n, 7)``, ``where`` int8 ``(n, 20, 20)``:
    blood 1, none 0, not known -1; ``plain``: a first view; ``patient``, ``slice``: of which; ``kind``: of ``SHARES``.
    """

    features: np.ndarray
    truth: np.ndarray
    known: np.ndarray
    where: np.ndarray
    plain: np.ndarray
    patient: np.ndarray
    slice: np.ndarray
    kind: np.ndarray
    height: np.ndarray


def make(patients: Sequence[Patient], trunk: Features, seed: int, report: Report) -> Examples:
    """Return the examples of all ``patients``; ``patient`` numbers them as they come."""
    parts: list[dict[str, np.ndarray]] = []
    for number, one in enumerate(patients):
        report("views", number / len(patients))
        random = np.random.default_rng([seed, int(one.number)])
        square = head.find_head(one.brain)
        for stack, bony in ((one.brain, False), (one.bone, True)):
            if stack is None:
                continue
            greys = head.neighbours(head.seen(stack, square)).astype(np.float32)
            within = None if bony else [head.inside(g[1].astype(np.uint8)) for g in greys]
            for view in range(VIEWS_OF_BONE if bony else VIEWS):
                part = _view(one, greys, within, random if view else None)
                part["features"] = trunk(part.pop("greys"))
                part["patient"] = np.full(len(greys), number)
                parts.append(part)
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Examples(**joined)


def _view(
    patient: Patient, greys: np.ndarray, within: Sequence[np.ndarray] | None, random: np.random.Generator | None
) -> dict[str, np.ndarray]:
    """One view of every slice. ``within`` is None for the bone window; without ``random`` the slices as they are."""
    count = len(greys)
    truth, known = np.zeros((count, len(CLASSES)), np.float32), np.zeros((count, len(CLASSES)), np.float32)
    masks = np.zeros((count, 1, *greys.shape[2:]), np.float32)
    seen, simulated = greys.copy(), np.zeros(count, bool)
    if within is None:
        truth[:, -1], known[:, -1] = patient.labels[:, -1], 1
        kind = np.where(patient.labels[:, -1], "fracture", "whole")
    else:
        truth[:, :-1], known[:, :-1] = patient.labels[:, :-1], 1
        for n in np.flatnonzero(~patient.labels[:, 0]):
            if random is None or random.random() > IMPLANTED:
                continue
            put = implant.implant(greys[n], within[int(n)], random)
            if put is not None:
                seen[n], masks[n, 0], name = put
                truth[n, 0] = truth[n, 1 + TYPES.index(name)] = simulated[n] = True
                known[n, 1:] = truth[n, 1:]
        kind = np.where(simulated, "simulated", np.where(patient.labels[:, 0], "bleed", "clear"))
    if random is not None:
        seen, masks = _moved(seen, masks, random)
        seen = _recoloured(seen, random)
    share = functional.avg_pool2d(torch.from_numpy(masks), 8)[:, 0].numpy()
    where = np.where(share > 0.25, 1, np.where(share > 0.02, -1, 0)).astype(np.int8)
    where[kind == "bleed"] = -1
    if within is None:
        where[:] = -1
    return {
        "greys": seen, "truth": truth, "known": known, "where": where, "plain": np.full(count, random is None),
        "slice": np.arange(count), "kind": kind.astype("U9"), "height": patient.height,
    }  # fmt: skip


def _moved(
    greys: np.ndarray, masks: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Each slice turned by up to 25 degrees, scaled by 0.85 to 1.15, shifted by up to 6 %, mirrored by chance."""
    count = len(greys)
    angle, scale = np.deg2rad(random.uniform(-25, 25, count)), random.uniform(0.85, 1.15, count)
    flip, shift = random.choice([-1.0, 1.0], count), random.uniform(-0.12, 0.12, (count, 2))
    matrix = np.zeros((count, 2, 3), np.float32)
    matrix[:, 0, 0], matrix[:, 0, 1] = flip * np.cos(angle) * scale, -np.sin(angle) * scale
    matrix[:, 1, 0], matrix[:, 1, 1] = flip * np.sin(angle) * scale, np.cos(angle) * scale
    matrix[:, :, 2] = shift
    both = torch.from_numpy(np.concatenate([greys, masks], axis=1))
    grid = functional.affine_grid(torch.from_numpy(matrix), list(both.shape), align_corners=False)
    out = functional.grid_sample(both, grid, align_corners=False).numpy()
    return out[:, :-1], out[:, -1:]


def _recoloured(greys: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Each slice with other contrast, brightness, noise and sharpness; neighbours change places or are missing."""
    from scipy import ndimage

    out = np.empty_like(greys)
    for n, one in enumerate(greys):
        if random.random() < 0.5:
            one = one[::-1]
        if random.random() < 0.15:
            one = np.stack([one[1]] * 3)
        if random.random() < 0.3:
            one = ndimage.gaussian_filter(one, (0, *[random.uniform(0.3, 0.8)] * 2))
        empty = one < 3
        one = (one - 110) * random.uniform(0.85, 1.15) + 110 + random.normal(0, 6)
        one = one + random.normal(0, 1, one.shape) * random.uniform(0, 9)
        out[n] = np.where(empty, 0, np.clip(one, 0, 255))
    return out


def draws(made: Examples) -> np.ndarray:
    """How often each example is drawn: kinds by ``SHARES``; the slices of a patient count by their square root; clear
    slices mostly from the heights at which patients bleed, so that height alone says little."""
    weight = np.zeros(len(made.kind))
    level = np.minimum((made.height * BINS).astype(int), BINS - 1)
    bleeding = np.bincount(level[made.kind == "bleed"], minlength=BINS) + 1.0
    for kind, share in SHARES.items():
        here = made.kind == kind
        if not here.any():
            continue
        own = np.ones(int(here.sum()))
        if kind == "clear":
            there = np.bincount(level[here], minlength=BINS) + 1.0
            ratio = (bleeding / bleeding.sum()) / (there / there.sum())
            own *= 0.3 + 0.7 * ratio[level[here]]
        elif kind in ("bleed", "fracture"):
            _, place, count = np.unique(made.patient[here], return_inverse=True, return_counts=True)
            own /= np.sqrt(count[place])
        weight[here] = share * own / own.sum()
    return weight
