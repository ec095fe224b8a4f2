"""Quality of a CT or MR series, measured. Each measure says what it means, which way is better and where it is from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage

from readingroom.imaging.volume import SeriesProblem, Volume
from readingroom.intake.content import Content, describe


@dataclass(frozen=True)
class Measure:
    """One measure: name in the dictionary ``measure`` returns, UCUM unit, meaning, direction, source."""

    name: str
    unit: str
    meaning: str
    better: Literal["lower", "higher", "none"]
    citation: str


_OWN = "Own definition, from the standard's geometry (PS3.3 C.7.6.2)."
MEASURES = (
    Measure("slices", "1", "Slices in the volume.", "none", _OWN),
    Measure("slice_spacing_mm", "mm", "Distance of slice centres, from positions.", "lower", _OWN),
    Measure("pixel_spacing_mm", "mm", "In-plane distance of voxel centres (the larger).", "lower", _OWN),
    Measure("missing_slices", "1", "Slices missing inside the stack or undecodable.", "lower", _OWN),
    Measure("noise_hu", "[hnsf'U]", "Mode of the local standard deviation in soft tissue (0 to 100 HU).", "lower",
            "Christianson et al., AJR 2015;205:W23: global noise level in clinical CT."),
    Measure("air_noise_hu", "[hnsf'U]", "Median local standard deviation in air outside the body.", "lower",
            "ACR CT QC manual 2017, noise; here in air: clipping at -1024 HU makes it an underestimate."),
    Measure("lung_air_ml", "mL", "Air-containing lung in the scan.", "none", "Own definition (content.py)."),
    Measure("coverage", "", "`complete`, or where the lungs are cut off: `cut-top`, `cut-bottom`, `cut-both`.", "none",
            "ACR-STR practice parameter for thoracic CT: apices to costophrenic angles."),
)  # fmt: skip


def measure(
    volume: Volume | None, problems: Sequence[SeriesProblem], content: Content | None = None
) -> dict[str, float | str]:
    """Measure one series; names are those of ``MEASURES``. What cannot be measured is left out, never guessed."""
    if volume is None:
        return {}
    slice_mm, row_mm, column_mm = volume.spacing_mm
    values: dict[str, float | str] = {
        "slices": float(volume.array.shape[0]),
        "slice_spacing_mm": round(slice_mm, 4),
        "pixel_spacing_mm": round(max(row_mm, column_mm), 4),
        "missing_slices": float(missing_slices(volume, problems)),
    }
    if volume.unit != "HU":
        return values
    values.update(_noise(volume))
    content = content or describe(volume)
    if content is not None and content.region == "chest":
        values["lung_air_ml"] = round(content.lung_air_ml, 1)
        cut = (content.lung_cut_bottom, content.lung_cut_top)
        names = {(False, False): "complete", (False, True): "cut-top", (True, False): "cut-bottom"}
        values["coverage"] = names.get(cut, "cut-both")
    return values


def missing_slices(volume: Volume, problems: Sequence[SeriesProblem]) -> int:
    """How many slices the gaps of a volume amount to, plus undecodable ones at its ends."""
    inside = 0
    if volume.irregular and any(p.code == "missing-slice" for p in problems):
        steps = np.diff(volume.slice_positions_mm)
        inside = int(np.maximum(np.rint(steps / np.median(steps)) - 1, 0).sum())
    undecodable = sum(len(p.sop_instance_uids) for p in problems if p.code == "undecodable")
    return max(inside, undecodable)


def _noise(volume: Volume) -> dict[str, float]:
    """Local SD over 7 x 7 pixels on every eighth slice (at most 16)."""
    count = volume.array.shape[0]
    picked = np.unique(np.linspace(0, count - 1, min(16, max(1, count // 8))).astype(int))
    tissue, air = [], []
    for k in picked:
        plane = volume.array[k].astype(np.float32)
        mean = ndimage.uniform_filter(plane, 7)
        square = ndimage.uniform_filter(plane * plane, 7)
        deviation = np.sqrt(np.maximum(square - mean * mean, 0))[3:-3:3, 3:-3:3]
        mean = mean[3:-3:3, 3:-3:3]
        tissue.append(deviation[(mean > 0) & (mean < 100)])
        air.append(deviation[(mean < -960) & (deviation > 0)])
    found = {}
    spread = np.concatenate(tissue)
    if spread.size >= 100:
        counts, edges = np.histogram(spread, bins=np.arange(0, 120, 1.0))
        found["noise_hu"] = round(float(edges[int(counts.argmax())] + 0.5), 1)
    outside = np.concatenate(air)
    if outside.size >= 100:
        found["air_noise_hu"] = round(float(np.median(outside)), 1)
    return found
