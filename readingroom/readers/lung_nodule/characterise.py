"""From the network's ratings and the segment's HU to characteristics: density type, calcified or not, outline.

The ratings are turned into probabilities by Platt scaling on patients the rating network had not seen. Calcification is
a rule on HU: no cube holds a calcified nodule, so nothing could be learnt (shown on simulated nodules only).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from readingroom.core.errors import BadInput
from readingroom.findings.model import Characteristic
from readingroom.findings.rules import characteristic
from readingroom.inference.calibration import Calibration, fit_platt, read_calibration
from readingroom.readers.lung_nodule.grid import bounding_box
from readingroom.readers.lung_nodule.measure import SourceMask

CUTS: Mapping[str, tuple[str, float]] = {
    "solid": ("texture", 4.5),
    "not-ground-glass": ("texture", 1.5),
    "spiculation": ("spiculation", 2.5),
    "lobulation": ("lobulation", 2.5),
}
"""What is asked -> the rating (1 to 5) and from where on it is so."""
SOLID_HU = -300.0
"""A part-solid nodule's solid part is what is denser than this (de Hoop 2010, Radiology 255:199)."""
CALCIFIED_HU, CALCIFIED_SHARE = 200.0, 0.1
"""Calcified: so much of the segment's inside is denser than this (Khan 2010, Insights Imaging 1:77: 200 HU)."""


@dataclass(frozen=True)
class Characteristics:
    """One calibration for each of ``CUTS``; scores are ratings 1 to 5."""

    of: Mapping[str, Calibration]

    def probability(self, name: str, ratings: Mapping[str, float]) -> float:
        return float(self.of[name].probability(np.array(ratings[CUTS[name][0]])))

    def density(self, ratings: Mapping[str, float]) -> dict[str, float]:
        """Return the probability of solid, part-solid and ground glass; they sum to 1."""
        solid = self.probability("solid", ratings)
        not_glass = max(solid, self.probability("not-ground-glass", ratings))
        return {"solid": solid, "part-solid": not_glass - solid, "ground-glass": 1 - not_glass}

    def as_json(self) -> dict[str, Any]:
        return {name: one.model_dump() for name, one in self.of.items()}


def read_characteristics(data: bytes) -> Characteristics:
    """Read what ``as_json`` wrote. Raises BadInput on anything else."""
    try:
        kept = json.loads(data)
        return Characteristics({name: read_calibration(json.dumps(kept[name]).encode()) for name in CUTS})
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"Not calibrations of characteristics: {type(error).__name__}.") from None


def density_words(texture: float) -> str:
    """Return what a texture rating of readers (1 to 5) means, by ``CUTS``."""
    if texture >= CUTS["solid"][1]:
        return "solid"
    return "part-solid" if texture >= CUTS["not-ground-glass"][1] else "ground glass"


def learn(said: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray]) -> Characteristics:
    """Fit on ratings of unseen patients: ``said`` and ``truth`` by rating, 1 to 5, ``(n,)``.

    Raises BadInput where one side of a cut has nobody.
    """
    found = {name: fit_platt(said[rating], truth[rating] >= cut) for name, (rating, cut) in CUTS.items()}
    return Characteristics(found)


def calcified(hu: np.ndarray, mask: np.ndarray) -> bool:
    """Whether the nodule holds lime: ``hu`` and ``mask`` on the grid of the source images."""
    inside = hu[mask]
    return bool(inside.size and (inside > CALCIFIED_HU).mean() >= CALCIFIED_SHARE)


def describe(ratings: Mapping[str, float], learnt: Characteristics, lime: bool) -> tuple[Characteristic, ...]:
    """Return the characteristics of one nodule, density type first."""
    density = learnt.density(ratings)
    # Lime has only been seen in what is solid.
    kind = "solid" if lime else max(density, key=lambda name: density[name])
    made = [characteristic("density-type", kind, None if lime else round(density[kind], 4))]
    for name in ("spiculation", "lobulation"):
        chance = learnt.probability(name, ratings)
        present = chance >= 0.5
        made.append(
            characteristic(
                name, "present" if present else "finding-absent", round(chance if present else 1 - chance, 4)
            )
        )
    made.append(characteristic("calcification", "present" if lime else "finding-absent", None))
    return tuple(made)


def solid_part(hu: np.ndarray, source: SourceMask) -> SourceMask | None:
    """Return the largest solid part of a segment on the source grid, None where there is none of two voxels."""
    box = tuple(slice(o, o + n) for o, n in zip(source.offset, source.mask.shape, strict=True))
    dense = source.mask & (hu[box] > SOLID_HU)
    labels, count = ndimage.label(dense)
    if not count:
        return None
    sizes = np.bincount(labels.ravel())[1:]
    if sizes.max() < 2:
        return None
    part = labels == 1 + int(sizes.argmax())
    inner = bounding_box(part, 0)
    start = tuple(o + b.start for o, b in zip(source.offset, inner, strict=True))
    return SourceMask(np.ascontiguousarray(part[inner]), (start[0], start[1], start[2]))
