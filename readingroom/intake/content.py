"""What the voxels themselves show of a CT: body, lungs, brain. Measured on a coarse copy in a fraction of a second.

Content is a witness of its own: headers lie (a chest sent as ABDOMEN, a description left from the protocol before).
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from readingroom.imaging.body import body_mask
from readingroom.imaging.resample import along_patient
from readingroom.imaging.volume import Volume

_BODY_HU = -400
_AIR_HU = -500
_BONE_HU = 250
_LUNG_LEAST_ML = 500.0
_BRAIN_LEAST_ML = 150.0


@dataclass(frozen=True)
class Content:
    """Measured on the coarse copy. Lengths mm, volumes ml; ``region`` is empty where content cannot tell."""

    region: str
    body_width_mm: float
    body_depth_mm: float
    lung_air_ml: float
    brain_ml: float
    extent_mm: float
    lung_cut_top: bool
    lung_cut_bottom: bool


def describe(volume: Volume) -> Content | None:
    """Describe a CT volume in HU; None for anything else."""
    if volume.unit != "HU" or volume.modality != "CT":
        return None
    coarse = along_patient(volume, 4.0)
    hu = np.ascontiguousarray(coarse.array)
    spacing = coarse.spacing_mm
    voxel_ml = float(np.prod(spacing)) / 1000
    inside = body_mask(hu, _BODY_HU)
    if not inside.any():
        return Content("", 0, 0, 0, 0, hu.shape[0] * spacing[0], False, False)
    shadow = np.any(inside, axis=0)
    depth = _spread(shadow.any(axis=1)) * spacing[1]
    width = _spread(shadow.any(axis=0)) * spacing[2]
    lungs = _large(inside & (hu < _AIR_HU), _LUNG_LEAST_ML / 4 / voxel_ml)
    lung_ml = float(lungs.sum()) * voxel_ml
    brain_ml = float(_in_skull(hu, inside).sum()) * voxel_ml
    areas = lungs.sum(axis=(1, 2)) * spacing[1] * spacing[2]
    return Content(
        region=_region(lung_ml, brain_ml, width, depth),
        body_width_mm=width,
        body_depth_mm=depth,
        lung_air_ml=lung_ml,
        brain_ml=brain_ml,
        extent_mm=hu.shape[0] * spacing[0],
        # Apices and bases taper to nothing; much lung in the very last slice means that the scan stopped inside it.
        lung_cut_top=bool(lung_ml >= _LUNG_LEAST_ML and areas[-1] > 0.15 * areas.max()),
        lung_cut_bottom=bool(lung_ml >= _LUNG_LEAST_ML and areas[0] > 0.15 * areas.max()),
    )


def _spread(line: np.ndarray) -> float:
    places = np.flatnonzero(line)
    return float(places[-1] - places[0] + 1)


def _region(lung_ml: float, brain_ml: float, width: float, depth: float) -> str:
    if lung_ml >= _LUNG_LEAST_ML:
        return "chest"
    if brain_ml >= _BRAIN_LEAST_ML and width < 300:
        return "head"
    if width >= 240 and depth >= 140:
        return "abdomen"
    return ""


def _large(mask: np.ndarray, least_voxels: float) -> np.ndarray:
    labels, count = ndimage.label(mask)
    if count == 0:
        return mask
    sizes = np.bincount(labels.ravel())
    keep = sizes >= least_voxels
    keep[0] = False
    return keep[labels]


def _in_skull(hu: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Soft tissue (0 to 80 HU) that a closed ring of bone surrounds, slice by slice."""
    bone = ndimage.binary_closing(hu > _BONE_HU, np.ones((1, 3, 3)))
    ringed = np.stack([ndimage.binary_fill_holes(plane) for plane in bone]) & ~bone & inside
    return ndimage.binary_opening(ringed & (hu > 0) & (hu < 80))
