"""What the networks say of a stack of axial slices."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from readingroom.readers.glioma import prepare
from readingroom.readers.glioma.lesions import sigmoid

OUTPUTS = ("tumour", "features")
_BATCH = 4
_FAR = -20.0
"""Log-odds outside the window."""

Network = Callable[[np.ndarray], dict[str, np.ndarray]]
"""``(n, 3, rows, columns)`` -> OUTPUTS: log-odds ``(n, networks, rows, columns)``, features ``(n, width)``."""


@dataclass(frozen=True, eq=False)
class Looked:
    """``chance``: probability of tumour ``(slices, rows, columns)`` of the whole stack; ``features`` ``(slices,
    width)`` of all networks side by side."""

    chance: np.ndarray
    features: np.ndarray


def look(seen: prepare.Seen, network: Network, only: int | None = None) -> Looked:
    """Return what the networks say, the mean of their log-odds, or that of the network number ``only``. Nothing outside
    the head is tumour."""
    image = seen.image
    made = [network(image[n : n + _BATCH]) for n in range(0, len(image), _BATCH)]
    logits = np.concatenate([one["tumour"].mean(axis=1) if only is None else one["tumour"][:, only] for one in made])
    whole = prepare.put_back(logits.astype(np.float32), seen.middle, seen.head.shape[1:], _FAR)
    features = np.concatenate([one["features"] for one in made])
    return Looked(np.where(seen.head, sigmoid(whole), np.float32(0)), features)
