"""MR series of heads as DICOM, made of arrays: what tests of brain readers send."""

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage, generate_uid
from support import make_ct_slice

FLAIR = {"SeriesDescription": "AX FLAIR", "RepetitionTime": 9000, "EchoTime": 120, "InversionTime": 2500}
T1_POST = {"SeriesDescription": "AX T1 +C", "RepetitionTime": 600, "EchoTime": 12}


def mr_series(
    stack: np.ndarray,
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
    *,
    study_uid: str = "",
    frame_of_reference_uid: str = "1.2.3.4.5",
    origin_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
    **attributes: object,
) -> list[Dataset]:
    """An axial MR series of ``stack`` ``(slices, rows, columns)``, values 0 to 32767: rows grow to the back, columns to
    the left, slices to the head. ``spacing_mm``: of slices, rows, columns; ``origin_mm``: LPS of voxel (0, 0, 0)."""
    series_uid, study_uid = generate_uid(), study_uid or generate_uid()
    made = []
    for n, plane in enumerate(stack):
        ds = make_ct_slice(
            study_uid=study_uid, series_uid=series_uid, number=n + 1, z_mm=origin_mm[2] + n * spacing_mm[0],
            frame_of_reference_uid=frame_of_reference_uid, rows=plane.shape[0], columns=plane.shape[1],
            pixels=plane.astype(np.uint16),
        )  # fmt: skip
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = MRImageStorage
        ds.Modality, ds.BodyPartExamined, ds.StudyDescription = "MR", "HEAD", "MR head"
        ds.BitsStored, ds.HighBit = 16, 15
        ds.ScanningSequence, ds.SequenceVariant, ds.MRAcquisitionType = "SE", "NONE", "2D"
        ds.ImagePositionPatient = [origin_mm[0], origin_mm[1], origin_mm[2] + n * spacing_mm[0]]
        ds.PixelSpacing, ds.SliceThickness = [spacing_mm[1], spacing_mm[2]], spacing_mm[0]
        for keyword in ("KVP", "RescaleType", "RescaleIntercept", "RescaleSlope"):
            delattr(ds, keyword)
        for keyword, value in attributes.items():
            setattr(ds, keyword, value)
        made.append(ds)
    return made


def head(shape: tuple[int, int, int] = (24, 240, 200), slice_mm: float = 5.0) -> np.ndarray:
    """A head of ellipsoids, 1 mm in the plane: scalp, skull, brain, ventricles, and noise; int16."""
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    z = (z - shape[0] / 2) * slice_mm
    y, x = y - shape[1] / 2, x - shape[2] / 2

    def inside(a: float, b: float, c: float, at: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
        return ((x - at[2]) / a) ** 2 + ((y - at[1]) / b) ** 2 + ((z - at[0]) / c) ** 2 < 1

    out = np.zeros(shape)
    for values, size in ((900, (82, 100, 90)), (60, (77, 95, 85)), (420, (70, 88, 78))):
        out[inside(*size)] = values
    for side in (-12, 12):
        out[inside(8, 30, 18, (0, 0, side))] = 80
    return np.clip(out + np.random.default_rng(1).normal(0, 12, shape), 0, 4000).astype(np.int16)
