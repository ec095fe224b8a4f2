"""The exported trunk: what makes features of greys, the same file in training and at use."""

from collections.abc import Callable

import numpy as np

Run = Callable[[np.ndarray], dict[str, np.ndarray]]
BATCH = 16


def features_of(run: Run, greys: np.ndarray) -> np.ndarray:
    """Return features, float16 ``(n, 28, 40, 40)``, of greys ``(n, 3, SEEN, SEEN)``; ``run``: of
    ``inference.session.Model``. Half the digits: thousands of them are kept in training."""
    parts = [run(greys[n : n + BATCH])["features"].astype(np.float16) for n in range(0, len(greys), BATCH)]
    return np.concatenate(parts)
