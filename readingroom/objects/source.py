"""Headers of the source images, made fit to be referred to: what objects inherit, tidied once, in one place.

Received headers may lack Type 2 attributes, hold junk in numbers, or use any character set. What we write from them
must not: dates that are no dates become empty, text becomes UTF-8 (ISO_IR 192), numbers get at most 16 characters.

Tidy headers hold no patient or study attributes: libraries quote what they find odd in warnings, and those reach logs.
The encoders write them last, from the content's own header.
"""

import re
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from pydicom import config as pydicom_config
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.valuerep import DSfloat

from readingroom.core.errors import BadInput
from readingroom.core.ids import derived_uid, is_uid
from readingroom.core.sealed import Source
from readingroom.findings.model import SegmentMask
from readingroom.objects.content import StudyHeader

_TEXT = {
    # Keyword -> the longest its VR allows (PS3.5 table 6.2-1).
    "PatientID": 64, "IssuerOfPatientID": 64, "AccessionNumber": 16, "StudyID": 16, "StudyDescription": 64,
    "Manufacturer": 64, "ManufacturerModelName": 64, "InstitutionName": 64, "SeriesDescription": 64,
}  # fmt: skip
_UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
_NUMBERS = {
    "ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2,
    "SliceThickness": 1, "SpacingBetweenSlices": 1,
}  # fmt: skip
_COUNTS = ("Rows", "Columns", "InstanceNumber")
_TAGS = [*_TEXT, *_UIDS, *_NUMBERS, *_COUNTS, *StudyHeader.model_fields, "Modality", "SpecificCharacterSet"]
# pydicom's warnings about invalid values quote them.
pydicom_config.settings.reading_validation_mode = pydicom_config.IGNORE
_KEPT = frozenset("\n\t\u200c\u200d")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def read_sources(paths: Sequence[Source]) -> tuple[tuple[Dataset, ...], StudyHeader]:
    """Return tidy headers of the images at ``paths``, sorted by slice within each series, and the first one's header.

    Raises BadInput on no path, or on a file that is not DICOM.
    """
    images = []
    for path in paths:
        try:
            with path.open("rb") as stream:
                images.append(dcmread(stream, stop_before_pixels=True, specific_tags=_TAGS))
        except (InvalidDicomError, OSError, EOFError) as error:
            raise BadInput(f"A source image cannot be read: {type(error).__name__}.") from None
    if not images:
        raise BadInput("Objects need the images they are about.")
    pairs = sorted(((tidy(ds), ds) for ds in images), key=lambda pair: _order(pair[0]))
    return tuple(clean for clean, _ds in pairs), header_of(pairs[0][1])


def tidy(ds: Dataset) -> Dataset:
    """Return a new header with what objects refer to, every value valid for its VR; patient and study left empty."""
    clean = Dataset()
    clean.SpecificCharacterSet = "ISO_IR 192"
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(clean, keyword, "")
    clean.StudyDate = clean.StudyTime = clean.ReferringPhysicianName = ""
    for keyword in _UIDS:
        value = _text(ds, keyword)
        if is_uid(value):
            setattr(clean, keyword, value)
    if "FrameOfReferenceUID" not in clean:
        # Images of one series share their coordinates even where nobody named them; no other series shares these.
        clean.FrameOfReferenceUID = derived_uid("frame of reference", _text(ds, "SeriesInstanceUID"))
    for keyword in ("Manufacturer", "ManufacturerModelName", "InstitutionName", "SeriesDescription"):
        setattr(clean, keyword, short(_text(ds, keyword), _TEXT[keyword]))
    clean.Modality = short(_text(ds, "Modality"), 16) or "OT"
    for keyword, count in _NUMBERS.items():
        numbers = _numbers(ds, keyword, count)
        if numbers is not None:
            # DS holds at most 16 characters.
            values = [DSfloat(number, auto_format=True) for number in numbers]
            setattr(clean, keyword, values if count > 1 else values[0])
    for keyword in _COUNTS:
        numbers = _numbers(ds, keyword, 1)
        if numbers is not None and abs(numbers[0]) < 2**31:
            setattr(clean, keyword, int(numbers[0]))
    return clean


def header_of(ds: Dataset) -> StudyHeader:
    """Return the study header of an image, each value valid for its VR or empty."""
    values = {keyword: _text(ds, keyword) for keyword in StudyHeader.model_fields}
    return tidy_header(StudyHeader(**values))


def tidy_header(header: StudyHeader) -> StudyHeader:
    """Return the header with values that fit their VR: too long is cut, no date is empty, sex is F, M, O or empty."""
    values = header.model_dump()
    for keyword, length in _TEXT.items():
        if keyword in values:
            values[keyword] = short(values[keyword], length)
    for keyword in ("PatientName", "ReferringPhysicianName"):
        values[keyword] = person_name(values[keyword])
    for keyword in ("PatientBirthDate", "StudyDate"):
        values[keyword] = _date(values[keyword])
    values["StudyTime"] = _time(values["StudyTime"])
    sex = values["PatientSex"].strip().upper()
    values["PatientSex"] = sex if sex in ("F", "M", "O") else ""
    return StudyHeader(**values)


def study_moment(header: StudyHeader) -> datetime:
    """Return the study's date and time; midnight where it has no time, 1970 where it has no date.

    A header does not say its zone: UTC keeps the digits as they are.
    """
    header = tidy_header(header)
    time = header.StudyTime.split(".")[0].ljust(6, "0")
    return datetime.strptime(f"{header.StudyDate or '19700101'}{time}", "%Y%m%d%H%M%S").replace(tzinfo=UTC)


def short(text: str, length: int) -> str:
    """Return text fit for a single-valued LO or SH: no control characters, no backslash, at most ``length`` long."""
    return plain_text(_CONTROL.sub(" ", text)).replace("\\", "/").strip()[:length].rstrip()


def plain_text(text: str) -> str:
    """Return text of many lines fit for UT, PDF, JSON and PostgreSQL: no control, format or surrogate characters.

    Tab, line feed and the joiners of Persian and Indic scripts stay; spaces of any width become spaces.
    """
    return "".join(map(_plain, text.replace("\r\n", "\n").replace("\r", "\n")))


def _plain(character: str) -> str:
    if character in _KEPT:
        return character
    kind = unicodedata.category(character)
    if kind in ("Zl", "Zp"):
        return "\n"
    return " " if kind == "Zs" else "" if kind in ("Cc", "Cf", "Cs") else character


def person_name(text: str) -> str:
    """Return a PN: at most three groups of at most 64 characters and five components."""
    groups = plain_text(_CONTROL.sub(" ", text)).replace("\\", "/").split("=")[:3]
    return "=".join("^".join(group.split("^")[:5])[:64].strip() for group in groups).rstrip("=")


def account_name(text: str) -> str:
    """Return a name typed by an account as a PN: without components, all of it is the family name (PS3.5 6.2.1.1)."""
    name = person_name(text)
    return name if "^" in name else f"{name}^"


def slice_order(images: Sequence[Dataset], mask: SegmentMask) -> list[Dataset]:
    """Return the source image of each mask slice. Raises BadInput where one is not among ``images``."""
    by_uid = {str(ds.get("SOPInstanceUID", "")): ds for ds in images}
    try:
        return [by_uid[uid] for uid in mask.sop_instance_uids]
    except KeyError:
        raise BadInput("A segment names an image that is not among its source images.") from None


def spacing_along_normal(images: Sequence[Dataset]) -> float:
    """Return the median distance of neighbouring images of one series, mm; 1 where there is only one position."""
    along = sorted({round(_order(ds)[1], 3) for ds in images})
    return float(np.median(np.diff(along))) if len(along) > 1 else 1.0


def _order(ds: Dataset) -> tuple[str, float, int, str]:
    along = 0.0
    if "ImagePositionPatient" in ds and "ImageOrientationPatient" in ds:
        orientation = np.array(ds.ImageOrientationPatient, float)
        normal = np.cross(orientation[:3], orientation[3:])
        along = float(normal @ np.array(ds.ImagePositionPatient, float))
    series, instance = str(ds.get("SeriesInstanceUID", "")), str(ds.get("SOPInstanceUID", ""))
    return series, along, int(ds.get("InstanceNumber", 0)), instance


def _raw(ds: Dataset, keyword: str) -> Any:
    try:
        return ds.get(keyword)
    except Exception:
        # pydicom raises many kinds of error when it converts a value that does not fit its VR.
        return None


def _text(ds: Dataset, keyword: str) -> str:
    value = _raw(ds, keyword)
    if value is None:
        return ""
    return (
        str(value)
        if not isinstance(value, (list, tuple)) and not hasattr(value, "append")
        else "\\".join(map(str, value))
    )


def _numbers(ds: Dataset, keyword: str, count: int) -> list[float] | None:
    value = _raw(ds, keyword)
    values = list(value) if hasattr(value, "__iter__") and not isinstance(value, str) else [value]
    try:
        numbers = [float(number) for number in values]
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count and np.isfinite(numbers).all() else None


def _date(text: str) -> str:
    # ACR-NEMA wrote dates with dots.
    digits = text.strip().replace(".", "").replace("-", "")
    try:
        datetime.strptime(digits, "%Y%m%d")
    except ValueError:
        return ""
    return digits


def _time(text: str) -> str:
    found = re.fullmatch(r"([01]\d|2[0-3])([0-5]\d)?([0-5]\d)?(\.\d{1,6})?", text.strip().replace(":", ""))
    if not found or (found[4] and not found[3]):
        return ""
    return found[0]
