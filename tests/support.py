"""Plain functions that tests share (``pythonpath`` in pyproject.toml makes ``import support`` work everywhere)."""

import os
import shutil
import socket
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, KeyObjectSelectionDocumentStorage, generate_uid

ROOT = Path(__file__).parent.parent
PACKAGES = {
    "storescu": "dcmtk", "storescp": "dcmtk", "echoscu": "dcmtk", "dcmdump": "dcmtk", "dcmodify": "dcmtk",
    "Orthanc": "orthanc orthanc-dicomweb", "chromium": "chromium",
    "rsyslogd": "rsyslog rsyslog-openssl rsyslog-gnutls", "pdftotext": "poppler-utils",
}  # fmt: skip


def skip_or_fail(reason: str) -> None:
    """Skip with the reason; fail instead where CI allows no skip."""
    if os.environ.get("READINGROOM_NO_SKIP"):
        pytest.fail(f"may not skip here: {reason}")
    pytest.skip(reason)


def find_tool(name: str) -> str:
    """Return the path of a Debian tool, or skip with the line that installs it."""
    found = shutil.which(name)
    if not found:
        skip_or_fail(f"{name} is not installed: apt install {PACKAGES.get(name, name)}")
    assert found
    return found


def free_port() -> int:
    """Return a loopback TCP port nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_listening(pid: int, port: int, seconds: float = 30) -> None:
    """Wait until the process listens on the port, without a connection that it would have to answer."""
    end = time.monotonic() + seconds
    while not any(
        one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in psutil.Process(pid).net_connections()
    ):
        assert time.monotonic() < end, f"nothing listens on port {port}"
        time.sleep(0.05)


def make_ct_slice(
    *,
    study_uid: str,
    series_uid: str,
    number: int,
    z_mm: float,
    frame_of_reference_uid: str = "1.2.3.4",
    patient_id: str = "PLANTED-1",
    patient_name: str = "Plantagenet^Quilla",
    rows: int = 32,
    columns: int = 32,
    pixels: np.ndarray | None = None,
    sop_uid: str = "",
    **attributes: object,
) -> Dataset:
    """One small axial CT slice, Explicit VR Little Endian, ready for ``save_as(enforce_file_format=True)``.

    Further keyword arguments set attributes by DICOM keyword. Pixels are stored values (HU + 1024).
    """
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = CTImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = sop_uid or generate_uid()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = CTImageStorage
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study_uid, series_uid
    ds.FrameOfReferenceUID = frame_of_reference_uid
    ds.PatientID, ds.PatientName, ds.PatientBirthDate, ds.PatientSex = patient_id, patient_name, "19500101", "F"
    ds.StudyDate, ds.StudyTime, ds.AccessionNumber, ds.StudyID = "20260101", "101500", "ACC1", "1"
    ds.ReferringPhysicianName = ""
    ds.StudyDescription, ds.SeriesDescription = "CT chest", "Axial"
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber = "CT", 1, number
    ds.Manufacturer, ds.BodyPartExamined, ds.PatientPosition = "Reading Room tests", "CHEST", "HFS"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-160.0, -160.0, z_mm]
    ds.PixelSpacing, ds.SliceThickness, ds.KVP = [10.0, 10.0], 3.0, 120
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns, ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = (
        rows,
        columns,
        16,
        12,
        11,
        0,
    )
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = -1024, 1, "HU"
    if pixels is None:
        pixels = (np.arange(rows * columns, dtype=np.uint16).reshape(rows, columns) + number) % 2000
    ds.PixelData = np.ascontiguousarray(pixels, np.uint16).tobytes()
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def ct_series(slices: int = 5, **keywords: object) -> list[Dataset]:
    """A small CT series, 3 mm apart, with fresh UIDs unless given."""
    study_uid = str(keywords.pop("study_uid", generate_uid()))
    series_uid = str(keywords.pop("series_uid", generate_uid()))
    return [
        make_ct_slice(study_uid=study_uid, series_uid=series_uid, number=n + 1, z_mm=3.0 * n, **keywords)  # type: ignore[arg-type]
        for n in range(slices)
    ]


def rejection_note(images: list[Dataset], code: str = "113001", *, like: Dataset | None = None) -> Dataset:
    """A rejection note for images of one series. ``like``: an image of the study the note is in, if it is another."""
    like = like or images[0]
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = KeyObjectSelectionDocumentStorage
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = like.StudyInstanceUID, generate_uid()
    ds.PatientID, ds.PatientName, ds.Modality = like.PatientID, like.PatientName, "KO"
    title = Dataset()
    title.CodeValue, title.CodingSchemeDesignator, title.CodeMeaning = code, "DCM", "Rejected"
    ds.ConceptNameCodeSequence = [title]
    study, series = Dataset(), Dataset()
    study.StudyInstanceUID, series.SeriesInstanceUID = like.StudyInstanceUID, images[0].SeriesInstanceUID
    series.ReferencedSOPSequence = []
    for image in images:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
        series.ReferencedSOPSequence.append(item)
    study.ReferencedSeriesSequence = [series]
    ds.CurrentRequestedProcedureEvidenceSequence = [study]
    return ds
