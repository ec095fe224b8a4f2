"""The nearest training cases: by distance between what the network made of them, in its most telling directions.

Features are standardised and brought down to ``DIRECTIONS`` by principal components of the training cases, so that the
file stays small. A case has the key it has in the public set; nothing of a patient's.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from readingroom.core.errors import BadInput
from readingroom.findings.model import SimilarCase

DIRECTIONS = 12
SHOWN = 3


@dataclass(frozen=True, eq=False)
class Cases:
    """``middle``, ``width`` ``(g,)`` of the features, ``directions`` ``(d, g)``; ``places`` ``(n, d)`` of the cases."""

    middle: np.ndarray
    width: np.ndarray
    directions: np.ndarray
    places: np.ndarray
    keys: tuple[str, ...]
    descriptions: tuple[str, ...]

    def nearest(self, features: np.ndarray) -> tuple[SimilarCase, ...]:
        """Return the ``SHOWN`` nearest cases, nearest first. ``features`` ``(g,)``."""
        here = self.directions @ ((features - self.middle) / self.width)
        away = np.linalg.norm(self.places - here, axis=1)
        return tuple(
            SimilarCase(case=self.keys[n], distance=round(float(away[n]), 3), description=self.descriptions[n])
            for n in np.argsort(away, kind="stable")[:SHOWN]
        )

    def as_json(self) -> dict[str, Any]:
        arrays = {
            name: np.round(getattr(self, name), 5).tolist() for name in ("middle", "width", "directions", "places")
        }
        return arrays | {"keys": list(self.keys), "descriptions": list(self.descriptions)}


def learn(features: np.ndarray, keys: Sequence[str], descriptions: Sequence[str]) -> Cases:
    """Return the cases for ``features`` ``(n, g)``."""
    middle, width = features.mean(0), np.maximum(features.std(0), 1e-3)
    standard = (features - middle) / width
    _, _, directions = np.linalg.svd(standard, full_matrices=False)
    directions = directions[:DIRECTIONS]
    return Cases(middle, width, directions, standard @ directions.T, tuple(keys), tuple(descriptions))


def read_cases(data: bytes) -> Cases:
    """Read what ``as_json`` wrote. Raises BadInput on anything else."""
    try:
        kept = json.loads(data)
        arrays = {name: np.array(kept[name], float) for name in ("middle", "width", "directions", "places")}
        if arrays["directions"].shape[1] != len(arrays["middle"]) or len(arrays["places"]) != len(kept["keys"]):
            raise ValueError("sizes differ")
        return Cases(**arrays, keys=tuple(kept["keys"]), descriptions=tuple(kept["descriptions"]))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise BadInput(f"Not a list of cases: {type(error).__name__}.") from None
