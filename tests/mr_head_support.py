"""A constructed head: the MNI template's brain with a skull and a scalp around it, turned, scaled and moved by a known
transform, with noise and an uneven coil, as a volume or as DICOM. No patient: level 0."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid
from scipy import ndimage
from scipy.spatial.transform import Rotation

from readingroom.imaging.nifti import read_nifti
from readingroom.imaging.volume import Volume
from readingroom.readers.hippocampus.head import template_path

MIDDLE = np.array([0.0, 18.0, 10.0])
TEMPLATE_ORIGIN_RAS = np.array([-98.0, -134.0, -72.0])


@dataclass(frozen=True, eq=False)
class Head:
    """``to_head``: template LPS mm -> this head's LPS mm, as it was constructed."""

    volume: Volume
    to_head: np.ndarray

    def at(self, template_lps_mm: Sequence[float]) -> np.ndarray:
        return np.asarray(self.to_head[:3, :3] @ np.array(template_lps_mm) + self.to_head[:3, 3])


@cache
def _template() -> np.ndarray:
    """uint8, axes growing to R, A and S, 1 mm; dark skull and bright scalp around the brain."""
    brain = read_nifti(template_path())
    away = ndimage.distance_transform_edt(brain[::2, ::2, ::2] == 0) * 2
    far = np.repeat(np.repeat(np.repeat(away, 2, 0), 2, 1), 2, 2)[tuple(slice(0, n) for n in brain.shape)]
    whole = brain.copy()
    whole[(far > 2) & (far <= 6)] = 15
    whole[(far > 6) & (far <= 12)] = 180
    return whole


def head(
    degrees: Sequence[float] = (0, 0, 0), scale: Sequence[float] = (1, 1, 1), shift_mm: Sequence[float] = (0, 0, 0),
    *, noise: float = 6.0, uneven: float = 0.2, step_mm: Sequence[float] = (1.5, 1.2, 1.2), seed: int = 0,
) -> Head:  # fmt: skip
    """``step_mm``: distance of slices, rows, columns. Axial slices from the feet; ``noise`` in grey levels of 255."""
    matrix = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() @ np.diag(scale)
    to_head = np.eye(4)
    to_head[:3, :3], to_head[:3, 3] = matrix, MIDDLE + np.array(shift_mm) - matrix @ MIDDLE
    count = [round(mm / step) for mm, step in zip((195, 230, 190), step_mm, strict=True)]
    affine = np.diag([step_mm[2], step_mm[1], step_mm[0], 1.0])
    affine[:3, 3] = np.array([-95.0, -97.0, -80.0]) + np.array(shift_mm)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in count), indexing="ij"), axis=-1)[..., ::-1]
    lps = index @ affine[:3, :3].T + affine[:3, 3]
    inverse = np.linalg.inv(to_head)
    ras = (lps @ inverse[:3, :3].T + inverse[:3, 3]) * np.array([-1.0, -1.0, 1.0])
    values = ndimage.map_coordinates(_template(), np.moveaxis(ras - TEMPLATE_ORIGIN_RAS, -1, 0), order=1)
    values = values * np.exp(uneven * (np.sin(lps[..., 0] / 90 + 1) + lps[..., 2] / 100))
    values = values + np.random.default_rng(seed).normal(0, noise, values.shape)
    return Head(volume_of(np.clip(3 * values, 0, 3000).astype(np.int16), affine), to_head)


def volume_of(array: np.ndarray, affine: np.ndarray) -> Volume:
    uids = tuple(f"1.2.3.{k}" for k in range(len(array)))
    return Volume(array, affine, "1.2", "1.3", "1.4", "MR", "arbitrary", uids, (1,) * len(array))


def write_dicom(
    folder: Path, made: Head, *, position: str = "HFS", mirrored_rows: bool = False, from_the_head: bool = False,
    description: str = "SIMULATED T1 MPRAGE", body_part: str = "HEAD",
) -> tuple[str, list[Path]]:  # fmt: skip
    """Write the head as an MR series, one file a slice; return its SeriesInstanceUID and the files.

    ``mirrored_rows``: rows stored from the patient's left to the right; ``from_the_head``: the first file is the
    uppermost slice. Places in the patient are right either way.
    """
    folder.mkdir(parents=True, exist_ok=True)
    volume, study, series, frame = made.volume, generate_uid(), generate_uid(), generate_uid()
    array, affine = volume.array, volume.affine.copy()
    if mirrored_rows:
        array = array[:, :, ::-1]
        affine[:3, 3] += affine[:3, 0] * (array.shape[2] - 1)
        affine[:3, 0] *= -1
    order = range(len(array))[::-1] if from_the_head else range(len(array))
    files = []
    for number, k in enumerate(order, 1):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = MRImageStorage, ExplicitVRLittleEndian
        ds = Dataset()
        ds.file_meta = meta
        ds.SOPClassUID, ds.SOPInstanceUID = MRImageStorage, generate_uid()
        meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Simulated^Head", "SIM-HEAD", "", ""
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame
        ds.StudyDate, ds.StudyTime, ds.AccessionNumber, ds.StudyID, ds.ReferringPhysicianName = "20260101", *4 * ("",)
        ds.Modality, ds.Manufacturer, ds.StudyDescription = "MR", "made up", "SIMULATED"
        ds.SeriesDescription = description
        ds.BodyPartExamined, ds.PatientPosition, ds.SeriesNumber, ds.InstanceNumber = body_part, position, 1, number
        ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions, ds.MRAcquisitionType = "GR", "MP", "", "3D"
        ds.RepetitionTime, ds.EchoTime, ds.InversionTime, ds.EchoTrainLength = "2300", "2.9", "900", "1"
        ds.ImageType = ["ORIGINAL", "PRIMARY", "M"]
        ds.Rows, ds.Columns = array.shape[1:]
        ds.PixelSpacing = [float(v) for v in volume.spacing_mm[1:]]
        ds.SliceThickness = volume.spacing_mm[0]
        ds.ImageOrientationPatient = [*(affine[:3, 0] / volume.spacing_mm[2]), *(affine[:3, 1] / volume.spacing_mm[1])]
        ds.ImagePositionPatient = [round(float(v), 4) for v in affine[:3, 3] + affine[:3, 2] * k]
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 1
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
        ds.PixelData = np.ascontiguousarray(array[k], "<i2").tobytes()
        files.append(folder / f"IM{number:04}.dcm")
        ds.save_as(files[-1], enforce_file_format=True)
    return series, files
