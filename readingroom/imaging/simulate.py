"""Writes a simulated chest CT as DICOM, marked as simulated wherever a person or a program may look.

PatientName ``Simulated^Chest``, PatientID ``SIM-...``, StudyDescription and SeriesDescription that begin with
``SIMULATED``, ImageComments, Manufacturer and QualityControlImage YES. ImageType stays ORIGINAL, PRIMARY, AXIAL: the
images come from no other image. The same arguments always give the same UIDs and pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from readingroom.core.ids import derived_uid, sha256_hex
from readingroom.imaging.phantom import DEFAULT_NODULES, FIELD_MM, HEIGHT_MM, Nodule, NoduleWish, chest

MARK = "SIMULATED"
"""StudyDescription of every simulated study begins with this word."""

POSITIONS = ("HFS", "FFS", "HFP", "FFP")


@dataclass(frozen=True)
class SimulatedStudy:
    """What was written. ``nodules`` hold their true place (LPS mm as written), diameter, density and side."""

    folder: Path
    files: tuple[Path, ...]
    nodules: tuple[Nodule, ...]
    study_instance_uid: str
    series_instance_uid: str
    frame_of_reference_uid: str


def write_chest_ct(
    folder: Path,
    *,
    seed: int = 0,
    slices: int = 120,
    rows: int = 512,
    nodules: Sequence[NoduleWish] = DEFAULT_NODULES,
    position: str = "HFS",
    registered_as: str = "",
    mirrored_rows: bool = False,
    tilt_degrees: float = 0.0,
    missing: Sequence[int] = (),
    noise_hu: float = 18.0,
    patient_number: int | None = None,
    study_date: str = "20260101",
) -> SimulatedStudy:
    """Write ``slices`` files of ``rows`` x ``rows`` pixels into ``folder`` (made if needed) and say what is in them.

    The scan is always 300 mm high and 380 mm wide, so ``slices`` and ``rows`` set the voxel size; ``rows=128,
    slices=40`` takes a fraction of a second. ``position``: how the patient lies (the table is on that side).
    ``registered_as``: the position the technologist typed, where it is wrong: coordinates then follow the error, as on
    a real scanner. ``mirrored_rows``: rows stored from left to right of the patient (positions stay right).
    ``tilt_degrees``: a tilted gantry: the slices lie askew in the same patient. ``missing``: slice numbers (0-based,
    from the feet) that are not written.
    """
    if position not in POSITIONS or (registered_as or position) not in POSITIONS:
        raise ValueError(f"position is one of {', '.join(POSITIONS)}")
    told = registered_as or position
    # Not ``missing`` and not the folder: the images that are there are the same images.
    key = sha256_hex("simulated chest 1", *(str(v) for v in (
        seed, slices, rows, tuple(nodules), position, told, mirrored_rows, tilt_degrees, noise_hu, patient_number,
        study_date)))  # fmt: skip
    hu, placed = chest(rows, slices, nodules, seed, noise_hu, prone=position.endswith("P"))
    frame = _Frame(rows, slices, _wrong_way(position, told), told.endswith("P"), mirrored_rows, tilt_degrees)
    study = _study_template(key, seed if patient_number is None else patient_number, study_date, told, rows, slices)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    if tilt_degrees:
        hu = frame.tilted(hu)
    for k in range(slices):
        if k in missing:
            continue
        path = folder / f"IM{k + 1:04}.dcm"
        _write_slice(path, study, key, k, hu[k], frame)
        files.append(path)
    written = tuple(Nodule(frame.as_written(n.lps_mm), n.diameter_mm, n.hu) for n in placed)
    if frame.wrong_way[0] < 0:
        # Side is the patient's, not the coordinates': that is the point of a wrong registration.
        written = tuple(_MisregisteredNodule(n.lps_mm, n.diameter_mm, n.hu) for n in written)
    return SimulatedStudy(
        folder, tuple(files), written, study.StudyInstanceUID, study.SeriesInstanceUID, study.FrameOfReferenceUID
    )


class _MisregisteredNodule(Nodule):
    """A nodule whose coordinates say the other side: the patient lay differently from what was typed."""

    @property
    def side(self) -> str:
        return "right" if self.lps_mm[0] > 0 else "left"


def _wrong_way(position: str, told: str) -> tuple[int, int, int]:
    """Signs of the written coordinates against the true ones when the position was typed wrongly."""
    head = 1 if position[0] == told[0] else -1
    front = 1 if position[2] == told[2] else -1
    # Feet first turns the patient about the vertical axis (x and z), prone about the long one (x and y).
    return head * front, front, head


@dataclass(frozen=True)
class _Frame:
    """How true coordinates and arrays become what is written."""

    rows: int
    slices: int
    wrong_way: tuple[int, int, int]
    rotated: bool
    mirrored: bool
    tilt_degrees: float

    @property
    def row_sign(self) -> int:
        return (-1 if self.rotated else 1) * (-1 if self.mirrored else 1) * self.wrong_way[0]

    @property
    def column_sign(self) -> int:
        return (-1 if self.rotated else 1) * self.wrong_way[1]

    def as_written(self, lps_mm: Sequence[float]) -> tuple[float, float, float]:
        x, y, z = (sign * v for sign, v in zip(self.wrong_way, lps_mm, strict=True))
        return x, y, z

    def tilted(self, hu: np.ndarray) -> np.ndarray:
        """The patient on slices askew to z, turned about the line through their middles along x; linear, int16."""
        tilt = np.radians(self.tilt_degrees)
        middle = (self.rows - 1) / 2
        along = np.arange(self.rows) - middle
        turn = self.column_sign * self.wrong_way[1] * self.wrong_way[2]
        y = middle + np.cos(tilt) * along
        rise = turn * np.sin(tilt) * along * (FIELD_MM / self.rows) / (HEIGHT_MM / self.slices)
        low, part = y.astype(int), (y - y.astype(int)).astype(np.float32)[:, None]
        high = np.minimum(low + 1, self.rows - 1)
        out = np.empty_like(hu)
        for k in range(self.slices):
            # Beyond the ends the patient goes on as the last slice shows.
            z = np.clip(k + rise, 0, self.slices - 1)
            below = z.astype(int)
            above, up = np.minimum(below + 1, self.slices - 1), (z - below).astype(np.float32)[:, None]
            lower = hu[below, low] * (1 - part) + hu[below, high] * part
            upper = hu[above, low] * (1 - part) + hu[above, high] * part
            out[k] = np.rint(lower * (1 - up) + upper * up)
        return out

    def place(self, k: int, hu: np.ndarray) -> tuple[np.ndarray, list[float], list[float]]:
        """Pixels as stored, ImagePositionPatient and ImageOrientationPatient of slice ``k``."""
        # A row of the stored picture starts at the patient's right (x < 0) where row_sign is positive.
        flip_x = self.row_sign * self.wrong_way[0] < 0
        flip_y = self.column_sign * self.wrong_way[1] < 0
        pixels = hu[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
        pixel = FIELD_MM / self.rows
        corner = (self.rows - 1) / 2 * pixel
        z = k * HEIGHT_MM / self.slices * self.wrong_way[2]
        tilt = np.radians(self.tilt_degrees)
        position = [
            -corner * self.row_sign,
            -corner * self.column_sign * np.cos(tilt),
            z - corner * np.sin(tilt),
        ]
        orientation = [self.row_sign, 0, 0, 0, self.column_sign * np.cos(tilt), np.sin(tilt)]
        return pixels, [round(float(v), 6) for v in position], [round(float(v), 8) + 0.0 for v in orientation]


def _study_template(key: str, number: int, date: str, position: str, rows: int, slices: int) -> Dataset:
    ds = Dataset()
    ds.SOPClassUID = CTImageStorage
    ds.StudyInstanceUID = derived_uid(key, "study")
    ds.SeriesInstanceUID = derived_uid(key, "series")
    ds.FrameOfReferenceUID = derived_uid(key, "frame of reference")
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = (
        "Simulated^Chest",
        f"SIM-{number:06}",
        "19600101",
        "O",
    )
    ds.PatientAge = f"{int(date[:4]) - 1960:03}Y"
    ds.PatientComments = "Simulated data. Not a patient."
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = date
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = "101500"
    ds.AccessionNumber, ds.StudyID, ds.ReferringPhysicianName = f"SIM{number:06}", "1", ""
    ds.StudyDescription, ds.SeriesDescription = f"{MARK} CT chest", f"{MARK} chest CT"
    ds.Modality, ds.SeriesNumber, ds.AcquisitionNumber = "CT", 1, 1
    ds.Manufacturer, ds.ManufacturerModelName = "Reading Room", "Simulated chest"
    ds.BodyPartExamined, ds.PatientPosition = "CHEST", position
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.ImageComments = "SIMULATED image, made by formula. Not a patient."
    ds.QualityControlImage = "YES"
    ds.PositionReferenceIndicator = ""
    ds.KVP, ds.ConvolutionKernel = 120, "SIMULATED"
    ds.SliceThickness = round(HEIGHT_MM / slices, 4)
    ds.PixelSpacing = [round(FIELD_MM / rows, 8)] * 2
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows = ds.Columns = rows
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = -1024, 1, "HU"
    ds.WindowCenter, ds.WindowWidth = -600, 1500
    ds.BurnedInAnnotation, ds.LossyImageCompression = "NO", "00"
    return ds


def _write_slice(path: Path, template: Dataset, key: str, k: int, hu: np.ndarray, frame: _Frame) -> None:
    pixels, position, orientation = frame.place(k, hu)
    ds = Dataset()
    ds.update(template)
    ds.SOPInstanceUID = derived_uid(key, f"image {k}")
    ds.InstanceNumber = k + 1
    ds.ImagePositionPatient, ds.ImageOrientationPatient = position, orientation
    ds.SliceLocation = position[2]
    if frame.tilt_degrees:
        ds.GantryDetectorTilt = frame.tilt_degrees
    ds.PixelData = np.ascontiguousarray(pixels + 1024, "<u2").tobytes()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.save_as(path, enforce_file_format=True)
