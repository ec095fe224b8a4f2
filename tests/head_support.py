"""A head made of formulas, as a DICOM CT: scalp, skull, brain with ventricles, a falx, and a bleed where one is asked
for. Good for geometry and workflow; nothing measured on it says how well a reader works on patients."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from scipy import ndimage
from support import make_ct_slice

PIXEL_MM, SLICE_MM, SIZE = 1.0, 5.0, 256
CENTRE = (127.5, 127.5)


@dataclass(frozen=True)
class Bleed:
    """A ball of blood: its middle in LPS mm (x to the left, y to the back, z up from the lowest slice)."""

    lps_mm: tuple[float, float, float]
    radius_mm: float = 16.0
    hu: float = 70.0


def head_hu(slices: int = 28, bleed: Bleed | None = None, seed: int = 1) -> np.ndarray:
    """Return HU int16 ``(slices, 256, 256)``, the lowest slice first, the face at row 0, the patient's right at
    column 0."""
    z, y, x = (np.arange(n) for n in (slices, SIZE, SIZE))
    z_mm = z[:, None, None] * SLICE_MM
    y_mm, x_mm = (y[None, :, None] - CENTRE[0]) * PIXEL_MM, (x[None, None, :] - CENTRE[1]) * PIXEL_MM
    # An ellipsoid whose middle lies at a third of the height; the neck goes on below as a cylinder.
    middle, tall = 45.0, SLICE_MM * slices - 45.0
    up = np.clip((z_mm - middle) / tall, 0, 0.995)
    wide = np.sqrt(1 - up**2)

    def within(shrunk_mm: float) -> np.ndarray:
        return np.asarray((x_mm / (76 * wide - shrunk_mm)) ** 2 + (y_mm / (95 * wide - shrunk_mm)) ** 2 < 1)

    hu = np.full((slices, SIZE, SIZE), -1000.0, np.float32)
    hu[within(0)] = 45
    hu[within(5)] = 900
    inside = within(13)
    hu[inside] = 33
    for side in (-1, 1):
        ventricle = ((x_mm - side * 12) / 6) ** 2 + (y_mm / 28) ** 2 + ((z_mm - 70) / 14) ** 2 < 1
        hu[inside & ventricle] = 6
    hu[inside & (np.abs(x_mm) < 1) & (z_mm > 80)] = 48
    if bleed is not None:
        bx, by, bz = bleed.lps_mm
        ball = (x_mm - bx) ** 2 + (y_mm - by) ** 2 + (z_mm - bz) ** 2 < bleed.radius_mm**2
        hu[inside & ball] = bleed.hu
    hu = ndimage.gaussian_filter(hu, (0, 0.7, 0.7))
    hu += np.random.default_rng(seed).normal(0, 4, hu.shape).astype(np.float32)
    return np.clip(np.rint(hu), -1024, 2000).astype(np.int16)


def head_series(hu: np.ndarray, flip: tuple[bool, bool, bool] = (False, False, False), **attributes: object) -> list[
    Dataset
]:  # fmt: skip
    """HU as DICOM slices. ``flip``: slices, rows, columns stored the other way round, coordinates staying right."""
    study, series = generate_uid(), generate_uid()
    half = (SIZE - 1) / 2 * PIXEL_MM
    orientation = [-1 if flip[2] else 1, 0, 0, 0, -1 if flip[1] else 1, 0]
    corner = [half if flip[2] else -half, half if flip[1] else -half]
    said = {
        "StudyDescription": "CT head", "SeriesDescription": "Head native", "BodyPartExamined": "HEAD",
        "ImageOrientationPatient": orientation, "PixelSpacing": [PIXEL_MM, PIXEL_MM], "SliceThickness": SLICE_MM,
        "ConvolutionKernel": "H31s", **attributes,
    }  # fmt: skip
    order = range(len(hu))[::-1] if flip[0] else range(len(hu))
    made = []
    for number, k in enumerate(order):
        pixels = hu[k, :: -1 if flip[1] else 1, :: -1 if flip[2] else 1] + 1024
        made.append(
            make_ct_slice(
                study_uid=study, series_uid=series, number=number + 1, z_mm=k * SLICE_MM, rows=SIZE, columns=SIZE,
                pixels=pixels, **(said | {"ImagePositionPatient": [*corner, k * SLICE_MM]}),
            )
        )  # fmt: skip
    return made


def of_windowed(brain: np.ndarray) -> np.ndarray:
    """HU that the brain window shows as these greys ``(n, 256, 256)``: what is white is bone, what is black is air
    where it reaches the edge of the image, else fat."""
    hu = brain.astype(np.float32) / 255 * 120 - 20
    hu[brain == 255] = 900
    for grey, one in zip(brain, hu, strict=True):
        black, _ = ndimage.label(np.pad(grey < 4, 1, constant_values=True))
        black = black[1:-1, 1:-1]
        one[black > 0] = -100
        one[black == 1] = -1000
    return np.rint(hu).astype(np.int16)


def save(folder: Path, made: Sequence[Dataset]) -> list[Path]:
    """Write slices as files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{n:03}.dcm" for n in range(len(made))]
    for path, ds in zip(paths, made, strict=True):
        ds.save_as(path, enforce_file_format=True)
    return paths
