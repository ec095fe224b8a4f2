"""How far an image is from what the reader was trained on: a Mahalanobis distance over four plain numbers of the lung.

About 1 to 3 for images like the training ones. It measures image quality (noise, density, texture), not disease. Above
``abstain_above`` the reader abstains: ``MARGIN`` times the largest distance of a training patient from all the others.
"""

from typing import Any

import numpy as np

MARGIN = 1.5
NAMES = ("lung_level_hu", "lung_spread_hu", "noise_hu", "soft_share")


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


def learn(rows: list[np.ndarray]) -> dict[str, Any]:
    """Return mean and inverse covariance of ``rows`` (one a patient) and ``abstain_above``, as JSON data."""
    alone = [distance(_fitted(rows[:n] + rows[n + 1 :]), row) for n, row in enumerate(rows)]
    return _fitted(rows) | {"abstain_above": round(MARGIN * max(alone), 3)}


def _fitted(rows: list[np.ndarray]) -> dict[str, Any]:
    data = np.stack(rows)
    covariance = np.cov(data, rowvar=False) + np.diag(np.maximum(data.var(axis=0) * 0.05, 1e-6))
    return {
        "names": list(NAMES),
        "mean": [float(v) for v in data.mean(axis=0)],
        "inverse": [[float(v) for v in row] for row in np.linalg.inv(covariance)],
    }


def distance(known: dict[str, Any], row: np.ndarray) -> float:
    """Return the Mahalanobis distance of ``row``."""
    away = row - np.asarray(known["mean"], float)
    return float(np.sqrt(max(0.0, away @ np.asarray(known["inverse"], float) @ away)))
