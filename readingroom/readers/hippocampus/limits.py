"""When the reader abstains: the limits, fixed beforehand, and the sentences."""

from typing import TYPE_CHECKING

import numpy as np

from readingroom.imaging.volume import Volume
from readingroom.readers.hippocampus.sides import SIDES, inside

if TYPE_CHECKING:
    from readingroom.readers.hippocampus.head import Placed

MAX_STEP_MM = 2.0
"""Coarser voxels show too little of a structure of 8 x 15 x 40 mm, and the network saw none."""
MIN_LIKENESS = 0.45
"""Correlation with the template. Constructed heads reach 0.95, a real brain with a tumour 0.53 (T1 after contrast
agent); upside down, mirrored front to back, half a head, FLAIR and noise stay below 0.36."""
SCALES = (0.6, 1.5)
"""Volume of a brain to that of the template."""
VOLUMES_MM3 = (1000.0, 6000.0)
"""The training files have 2,382 to 4,401; atrophy goes below."""
FARTHEST_MM = 12.0
"""From the template's place, and between left and mirrored right."""
BOUNDS = 0.999
"""Share of the crops' corners that must lie in the volume."""


def unfit(volume: Volume | None) -> str:
    """Why this volume can't be read, or nothing."""
    if volume is None:
        return "The series gave no volume."
    if volume.irregular:
        return "Slices are missing or lie at uneven distances: no template can be laid over it."
    if max(volume.spacing_mm) > MAX_STEP_MM + 0.01:
        return f"Voxels are up to {max(volume.spacing_mm):.1f} mm wide; at most {MAX_STEP_MM:g} mm can be read."
    size = np.array(volume.array.shape) * np.array(volume.spacing_mm)
    if size.min() < 100:
        return f"The images cover {size.min():.0f} mm; a whole head needs 100 mm each way, a crop is not read."
    return ""


def unsure(volume: Volume, placed: "Placed") -> str:
    """Why the head can't be trusted to lie where the template says, or nothing."""
    if placed.likeness < MIN_LIKENESS:
        return (
            f"This does not look like T1 of a whole upright head: its correlation with the template is "
            f"{placed.likeness:.2f}, {MIN_LIKENESS:g} at least are wanted."
        )
    if not SCALES[0] <= placed.scale <= SCALES[1]:
        return f"The brain would have {placed.scale:.1f} times the volume of the template's."
    if any(inside(volume, placed, side) < BOUNDS for side in SIDES):
        return "A hippocampus lies at the edge of the images or beyond."
    return ""
