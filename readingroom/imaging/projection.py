"""The projection image: a radiograph, mammogram or angiogram, where a pixel is a shadow and mm need care.

The pixel size comes with its origin. A size on the detector is larger than in the patient by the magnification;
without knowing which it is, no length in mm may be given.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydicom.dataset import Dataset

from readingroom.core.errors import BadInput
from readingroom.core.sealed import Source
from readingroom.imaging.decode import modality_values
from readingroom.imaging.header import parse_numbers, read_dataset, text_of

SpacingOrigin = Literal["imager", "calibrated", "unknown"]


@dataclass(frozen=True, eq=False)
class ProjectionImage:
    """One frame in modality values, ``array`` ``(rows, columns)`` float32.

    ``pixel_mm``: (between rows, between columns); None exactly where ``spacing_origin`` is ``unknown``. ``imager``: on
    the detector, magnified. ``calibrated``: in the patient, by fiducial or geometry (PS3.3 10.7.1.3).
    """

    array: np.ndarray
    pixel_mm: tuple[float, float] | None
    spacing_origin: SpacingOrigin
    sop_instance_uid: str
    frame: int
    modality: str
    inverted: bool
    """MONOCHROME1: low values are white."""

    def __post_init__(self) -> None:
        if (self.pixel_mm is None) != (self.spacing_origin == "unknown"):
            raise BadInput("A pixel size needs its origin, and an origin its pixel size.")


def read_projection(path: Source, frame: int = 1) -> ProjectionImage:
    """Read one frame of a projection image. Raises BadInput, Unsupported as ``decode_frame``."""
    ds = read_dataset(path)
    values = modality_values(ds, frame)
    if values.ndim != 2:
        raise BadInput("A projection image is grey.")
    size, origin = pixel_size(ds)
    return ProjectionImage(
        array=values,
        pixel_mm=size,
        spacing_origin=origin,
        sop_instance_uid=text_of(ds, "SOPInstanceUID"),
        frame=frame,
        modality=text_of(ds, "Modality"),
        inverted=text_of(ds, "PhotometricInterpretation") == "MONOCHROME1",
    )


def pixel_size(ds: Dataset) -> tuple[tuple[float, float] | None, SpacingOrigin]:
    """Pixel size of a projection image and where it comes from (PS3.3 10.7.1.3)."""
    spacing = parse_numbers(text_of(ds, "PixelSpacing"))
    imager = parse_numbers(text_of(ds, "ImagerPixelSpacing"))
    calibrated = text_of(ds, "PixelSpacingCalibrationType") in ("GEOMETRY", "FIDUCIAL")
    if _usable(spacing) and (calibrated or (_usable(imager) and spacing != imager)):
        return (spacing[0], spacing[1]), "calibrated"
    if _usable(imager):
        return (imager[0], imager[1]), "imager"
    # Pixel Spacing alone, without saying what it is: it may be either.
    return None, "unknown"


def _usable(spacing: tuple[float, ...]) -> bool:
    return len(spacing) == 2 and min(spacing) > 0
