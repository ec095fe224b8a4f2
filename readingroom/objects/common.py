"""What SR, SEG and encapsulated PDF share: patient, study and equipment modules, and bytes that never vary.

The libraries put the time of day and their own version into what they make. ``finish`` replaces both by what the
content says, so that rendering twice gives the same bytes.
"""

from io import BytesIO

from highdicom.sr.coding import CodedConcept
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, ExplicitVRLittleEndian

from readingroom.core.errors import BadInput
from readingroom.findings.codes import code
from readingroom.findings.model import Code
from readingroom.objects.content import ENCODER_VERSION, ReportContent, dicom_datetime
from readingroom.objects.source import short, tidy_header

MANUFACTURER = "Reading Room"
MODEL = "readingroom"
# 2.25 UID (PS3.5 annex B.2) chosen once for this implementation.
IMPLEMENTATION_CLASS_UID = UID("2.25.223704190412385771180964112763417953317")


def concept(coded: Code) -> CodedConcept:
    """Return the code as highdicom has it."""
    return CodedConcept(value=coded.value, scheme_designator=coded.scheme, meaning=coded.meaning)


def named(name: str) -> CodedConcept:
    """Return the code with this short name of ``findings/codes.json``."""
    return concept(code(name))


def identify(ds: Dataset, content: ReportContent) -> None:
    """Write the patient and study modules from the content's header, Type 2 attributes empty where unknown."""
    header = tidy_header(content.header)
    if not header.StudyInstanceUID:
        raise BadInput("The content has no StudyInstanceUID.")
    for keyword, value in header.model_dump().items():
        if value or keyword not in ("IssuerOfPatientID", "StudyDescription"):
            setattr(ds, keyword, value)
    for optional in ("IssuerOfPatientID", "StudyDescription"):
        if not getattr(header, optional) and optional in ds:
            delattr(ds, optional)


def finish(ds: Dataset, content: ReportContent) -> bytes:
    """Make the object independent of clock and library versions, and return its Part 10 bytes."""
    ds.SpecificCharacterSet = "ISO_IR 192"
    identify(ds, content)
    begun, written = content.local(content.at), content.local(content.written_at)
    ds.SeriesDate, ds.SeriesTime = begun.strftime("%Y%m%d"), begun.strftime("%H%M%S")
    ds.InstanceCreationDate = ds.ContentDate = written.strftime("%Y%m%d")
    ds.InstanceCreationTime = ds.ContentTime = written.strftime("%H%M%S")
    ds.ContributingEquipmentSequence = [_equipment(content)]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = f"READINGROOM_{ENCODER_VERSION}"
    ds.file_meta = meta
    buffer = BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


def _equipment(content: ReportContent) -> Dataset:
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [named("processing-equipment")]
    item.Manufacturer = MANUFACTURER
    item.ManufacturerModelName = MODEL
    versions = [short(f"{run.reader} {run.version}", 64) for run in content.readers]
    item.SoftwareVersions = [f"encoder {ENCODER_VERSION}", *versions]
    item.ContributionDateTime = dicom_datetime(content.written_at, content.zone)
    item.ContributionDescription = "Wrote this object from findings of AI readers and people."
    return item
