"""What is measured of one crop: its outline against the one a person drew (``evaluation.segmentation``)."""

import numpy as np

from readingroom.evaluation.segmentation import dice, surface_distances, volume_bias_percent
from readingroom.readers.hippocampus.crops import PARTS, Crop

TOLERANCE_MM = 1.0
Measures = dict[str, float]


def measured(crop: Crop, labels: np.ndarray) -> Measures:
    """Return one crop's measures. ``labels`` as ``Crop.labels``. Where one of both is empty, a distance is that of the
    crop's diagonal: a worst case, not left out."""
    found: Measures = {f"dice_{p}": dice(crop.labels == n, labels == n) for n, p in enumerate(PARTS, 1)}
    found["dice_mean"] = float(np.mean([found[f"dice_{part}"] for part in PARTS]))
    drawn, said = crop.labels > 0, labels > 0
    found["dice_whole"] = dice(drawn, said)
    surface = surface_distances(drawn, said, (1.0, 1.0, 1.0), TOLERANCE_MM)
    worst = float(np.linalg.norm(crop.labels.shape))
    found["hd95_mm"] = worst if surface.hd95_mm is None else surface.hd95_mm
    found["assd_mm"] = worst if surface.assd_mm is None else surface.assd_mm
    found["surface_dice"] = surface.surface_dice
    found["volume_bias_percent"] = volume_bias_percent(drawn, said)
    found["volume_error_percent"] = abs(found["volume_bias_percent"])
    for n, part in enumerate(PARTS, 1):
        found[f"volume_bias_percent_{part}"] = volume_bias_percent(crop.labels == n, labels == n)
    return found
