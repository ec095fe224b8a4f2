"""How far an image is from what the reader was trained on, told by two that see different things.

``image``: four plain numbers of the lung, that is noise, density and texture. ``network``: what the second look's
networks make of the places they look at (``inference.domain``). Each is 1 at its own threshold, set on patients it was
not learnt from; the reader abstains where either is above. Neither measures disease.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from readingroom.core.errors import BadInput
from readingroom.inference.domain import EnsembleDomain, Places, learn, read_domain
from readingroom.readers.lung_nodule.detect import Looked

NAMES = ("lung_level_hu", "lung_spread_hu", "noise_hu", "soft_share")
UNITS = (1.0, 1.0, 1.0, 0.01)
"""What makes the numbers comparable: a share counts in percent."""
WORDS = {
    "image": "noise or lung density are unlike those of the images this reader was made with",
    "network": "what its networks see is unlike what they were trained on",
}


@dataclass(frozen=True, eq=False)
class Unlike:
    """The score of each of the two, 1 at its threshold; ``network`` is None where it had no place to look at.
    ``row``: the image's numbers, as in ``NAMES``."""

    row: np.ndarray
    image: float
    network: float | None

    @property
    def score(self) -> float:
        """The larger: above 1 the reader abstains."""
        return max(self.image, self.network or 0.0)

    @property
    def reason(self) -> str:
        """Why to abstain, naming all that say so; empty where none does."""
        said = {name: score for name, score in self.scores.items() if score > 1}
        parts = "; ".join(f"{WORDS[name]} ({score:.1f} times its limit)" for name, score in said.items())
        return f"The image is out of this reader's domain: {parts}." if said else ""

    @property
    def scores(self) -> dict[str, float]:
        """Both by name."""
        return {"image": self.image} | ({} if self.network is None else {"network": self.network})

    @property
    def statistics(self) -> dict[str, float]:
        """Numbers and scores for whoever watches over many images."""
        told = dict(zip(NAMES, self.row.tolist(), strict=True))
        told |= {f"out_of_domain_{name}": score for name, score in self.scores.items()}
        return {name: round(value, 4) for name, value in told.items()}


@dataclass(frozen=True)
class LungDomain:
    """What is known of the training images, by fold."""

    image: EnsembleDomain
    network: EnsembleDomain

    def judge(self, hu: np.ndarray, lungs: np.ndarray, looked: Looked | None) -> Unlike:
        """Say how unlike ``hu`` (1 mm grid) is in its ``lungs``, and what the networks saw there: lung without air,
        where it is looked at as well, is disease and counts for nothing here."""
        row = describe(hu, lungs)
        image = self.image.score(np.tile(row / UNITS, (1, len(self.image.networks))))
        if looked is None:
            return Unlike(row, image, None)
        # A place on the grid of coarse scales lies half a voxel behind the voxel it was found at.
        at = np.floor(looked.found.index).astype(int)
        there = looked.features[lungs[tuple(at.T)]]
        return Unlike(row, image, self.network.score(there) if len(there) else None)

    def as_json(self) -> dict[str, Any]:
        return {"image": self.image.model_dump(), "network": self.network.model_dump()}


def read_lung_domain(data: bytes) -> LungDomain:
    """Read what ``as_json`` wrote. Raises BadInput on anything else."""
    try:
        kept = json.loads(data)
        return LungDomain(*(read_domain(json.dumps(kept[name]).encode()) for name in ("image", "network")))
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"Not a domain: {type(error).__name__}.") from None


def describe(hu: np.ndarray, lungs: np.ndarray) -> np.ndarray:
    """Return the four numbers ``NAMES`` of the lung in ``hu`` (1 mm grid); zeros where there is no lung."""
    inside = hu[lungs]
    if inside.size < 1000:
        return np.zeros(len(NAMES))
    air = inside[inside < -500]
    low, middle, high = np.percentile(air, (16, 50, 84)) if air.size else (0.0, 0.0, 0.0)
    # Second differences along the rows cancel anatomy; their spread is the noise (Immerkaer 1996, in one dimension).
    step = hu[:, :, :-2].astype(np.int32) - 2 * hu[:, :, 1:-1].astype(np.int32) + hu[:, :, 2:].astype(np.int32)
    quiet = lungs[:, :, 1:-1] & (hu[:, :, 1:-1] < -700)
    noise = np.median(np.abs(step[quiet])) / 0.6745 / np.sqrt(6) if quiet.any() else 0.0
    return np.array([middle, (high - low) / 2, noise, (inside > -300).mean()], float)


def learn_domain(
    cases: Sequence[str],
    folds: Sequence[int],
    rows: np.ndarray,
    unseen: Sequence[Looked | None],
    together: Sequence[Looked | None],
) -> LungDomain:
    """Return the domain of the training cases, one patient each, with their folds and ``rows`` ``(n, 4)``.

    ``unseen``: what each fold's network saw of the cases it was not trained on; ``together``: what all networks, side
    by side, saw of every case: the columns of those that were trained on a case tell what training images look like.
    """
    names, fold, numbers = np.array(cases), np.array(folds), rows / UNITS
    count = int(fold.max()) + 1
    image = learn(
        [Places(numbers[fold != k], names[fold != k]) for k in range(count)],
        [Places(numbers[fold == k], names[fold == k]) for k in range(count)],
    )
    wide = next(one.features.shape[1] for one in together if one is not None) // count
    network = learn(
        [_places(names, together, fold != k, slice(k * wide, (k + 1) * wide)) for k in range(count)],
        [_places(names, unseen, fold == k, slice(None)) for k in range(count)],
    )
    return LungDomain(image, network)


def _places(names: np.ndarray, looked: Sequence[Looked | None], which: np.ndarray, columns: slice) -> Places:
    some = [
        (name, one.features[:, columns]) for name, one, yes in zip(names, looked, which, strict=True) if one and yes
    ]
    return Places(
        np.concatenate([f for _, f in some]), np.repeat([name for name, _ in some], [len(f) for _, f in some])
    )
