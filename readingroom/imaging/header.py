"""What the geometry and the decoder need to know of one image file, read fast and tolerantly.

``elements.py`` finds these few elements some ten times faster than a full parse; pydicom is the fallback for what it
does not read (big endian, deflated, odd files). Numbers are taken from the raw text: junk after a number, a decimal
comma or a value too long for DS does not lose a series.
"""

import math
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

from pydicom import dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian

from readingroom.core.errors import BadInput
from readingroom.core.sealed import Source
from readingroom.imaging.elements import NotReadable, find_elements

_NUMBER = re.compile(r"[-+]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][-+]?\d+)?")
_MODALITY_LUT = 0x00283000

HEADER_KEYWORDS = (
    "Modality",
    "SOPClassUID",
    "PatientPosition",
    "Laterality",
    "ImageLaterality",
    "BodyPartExamined",
    "SeriesDescription",
    "StudyDescription",
    "ProtocolName",
    "Manufacturer",
    "ManufacturerModelName",
    "ConvolutionKernel",
    "KVP",
    "XRayTubeCurrent",
    "MagneticFieldStrength",
    "SequenceName",
    "ScanningSequence",
    "ScanOptions",
    "RepetitionTime",
    "EchoTime",
    "InversionTime",
    "SliceThickness",
    "SpacingBetweenSlices",
    "GantryDetectorTilt",
    "ContrastBolusAgent",
    "ImageType",
    "RescaleType",
)
"""Non-identifying attributes kept beside the volume, as text (values joined by backslash)."""

AXIS_KEYWORDS = (
    "DiffusionBValue",
    "EchoTime",
    "InversionTime",
    "TemporalPositionIdentifier",
    "TriggerTime",
    "AcquisitionNumber",
    "EchoNumbers",
)
"""Attributes that may tell several images at one position apart, most telling first."""


@dataclass(frozen=True, slots=True)
class SliceHeader:
    """One image file: identity, geometry (mm, LPS) and how its pixels are stored. None: absent or not a number."""

    path: Source
    TransferSyntaxUID: str
    SOPClassUID: str
    SOPInstanceUID: str
    StudyInstanceUID: str
    SeriesInstanceUID: str
    FrameOfReferenceUID: str
    Modality: str
    ImageType: tuple[str, ...]
    InstanceNumber: int | None
    NumberOfFrames: int
    Rows: int
    Columns: int
    ImageOrientationPatient: tuple[float, ...] | None
    ImagePositionPatient: tuple[float, ...] | None
    PixelSpacing: tuple[float, ...] | None
    SamplesPerPixel: int
    PhotometricInterpretation: str
    BitsAllocated: int
    BitsStored: int
    HighBit: int
    PixelRepresentation: int
    RescaleSlope: float
    RescaleIntercept: float
    RescaleType: str
    PixelPaddingValue: int | None
    PixelPaddingRangeLimit: int | None
    has_modality_lut: bool
    pixel_offset: int
    """Byte offset of the value of Pixel Data in the file; -1 where only a full parse can find it."""
    pixel_length: int
    """Bytes of Pixel Data; 0 where there is none, -1 where only a full parse can tell."""
    axes: tuple[str, ...]
    """Values of ``AXIS_KEYWORDS`` as text, empty where absent."""

    @property
    def name(self) -> str:
        """How people find this slice: its instance number, or its position. Never a path."""
        if self.InstanceNumber is not None:
            return f"image {self.InstanceNumber}"
        return "an image without a number"


def parse_numbers(text: str) -> tuple[float, ...]:
    """Read backslash-separated numbers, ignoring junk around each. Empty where there is none."""
    values = []
    for part in text.split("\\"):
        found = _NUMBER.search(part)
        if found and math.isfinite(number := float(found.group().replace(",", "."))):
            values.append(number)
    return tuple(values)


def read_header(path: Source) -> Dataset:
    """Return the file's data set without pixel data. Raises BadInput where it is not DICOM."""
    return _read(path, stop_before_pixels=True)


def read_dataset(path: Source) -> Dataset:
    """Return the file's whole data set. Raises BadInput where it is not DICOM."""
    return _read(path, stop_before_pixels=False)


def _read(path: Source, stop_before_pixels: bool) -> Dataset:
    try:
        with path.open("rb") as stream:
            return dcmread(stream, stop_before_pixels=stop_before_pixels)
    except Exception as error:
        # pydicom raises whatever its parsing trips over: struct.error, OverflowError, and many more.
        raise BadInput(f"Not a readable DICOM file ({type(error).__name__}).") from None


def text_of(ds: Dataset, keyword: str) -> str:
    """Return an attribute as plain text with backslashes between values; empty where absent or unreadable."""
    try:
        value = ds.get(keyword)
    except Exception:
        # Values are converted at access, and junk raises errors of every kind.
        return ""
    if value is None:
        return ""
    if not isinstance(value, str) and hasattr(value, "__iter__"):
        return "\\".join(str(v) for v in value)
    return str(value).strip()


def read_slice_header(path: Source) -> SliceHeader:
    """Read one file. Raises BadInput where it is no DICOM image, naming what is wrong and nothing of the patient."""
    try:
        found = find_elements(path, _WANTED)
    except NotReadable:
        return _by_pydicom(path)

    def get(tag: int) -> bytes:
        return found.values.get(tag, b"")

    lut = _MODALITY_LUT in found.values
    return _build(path, found.syntax, get, "little", lut, found.pixel_offset, found.pixel_length)


def _by_pydicom(path: Source) -> SliceHeader:
    ds = read_header(path)
    order = "big" if ds.file_meta.get("TransferSyntaxUID") == ExplicitVRBigEndian else "little"

    def get(tag: int) -> bytes:
        element = ds.get_item(tag)
        if element is None or element.value is None:
            return b""
        if isinstance(element.value, bytes):
            return element.value
        if isinstance(element.value, int):
            return element.value.to_bytes(2, order, signed=element.value < 0)  # type: ignore[arg-type]
        values = element.value if isinstance(element.value, (list, tuple)) else [element.value]
        return "\\".join(str(v) for v in values).encode("utf-8", "replace")

    syntax = str(ds.file_meta.get("TransferSyntaxUID", "") or "")
    return _build(path, syntax, get, order, "ModalityLUTSequence" in ds, -1, -1)


_TAGS = {keyword: tag_for_keyword(keyword) or 0 for keyword in SliceHeader.__slots__ if tag_for_keyword(keyword)}
_AXIS_TAGS = tuple(tag_for_keyword(keyword) or 0 for keyword in AXIS_KEYWORDS)
_WANTED = frozenset({*_TAGS.values(), *_AXIS_TAGS, _MODALITY_LUT})


def _build(
    path: Source, syntax: str, get: Callable[[int], bytes], order: str, lut: bool, offset: int, length: int
) -> SliceHeader:
    def text(keyword: str) -> str:
        return _text(get(_TAGS[keyword]))

    def numbers(keyword: str, count: int) -> tuple[float, ...] | None:
        values = parse_numbers(text(keyword))
        return values if len(values) == count else None

    def number(keyword: str, default: float) -> float:
        values = parse_numbers(text(keyword))
        return values[0] if values else default

    def unsigned(keyword: str, default: int = 0) -> int:
        raw = get(_TAGS[keyword])[:2]
        return int.from_bytes(raw, order) if len(raw) == 2 else default  # type: ignore[arg-type]

    def padding(keyword: str) -> int | None:
        # US or SS by PixelRepresentation, and often written as the other one: only the 16 bits count.
        raw = get(_TAGS[keyword])
        return int.from_bytes(raw[:2], order, signed=signed) if len(raw) >= 2 else None  # type: ignore[arg-type]

    if not text("SOPClassUID") and not text("SOPInstanceUID"):
        raise BadInput("Not a readable DICOM file (no SOP Class UID and no SOP Instance UID).")
    signed = unsigned("PixelRepresentation") == 1
    stored = unsigned("BitsStored", 16)
    instance = parse_numbers(text("InstanceNumber"))
    return SliceHeader(
        path=path,
        TransferSyntaxUID=syntax,
        SOPClassUID=text("SOPClassUID"),
        SOPInstanceUID=text("SOPInstanceUID"),
        StudyInstanceUID=text("StudyInstanceUID"),
        SeriesInstanceUID=text("SeriesInstanceUID"),
        FrameOfReferenceUID=text("FrameOfReferenceUID"),
        Modality=text("Modality"),
        ImageType=tuple(part.strip() for part in text("ImageType").split("\\") if part.strip()),
        InstanceNumber=int(instance[0]) if instance else None,
        NumberOfFrames=max(1, int(number("NumberOfFrames", 1))),
        Rows=unsigned("Rows"),
        Columns=unsigned("Columns"),
        ImageOrientationPatient=numbers("ImageOrientationPatient", 6),
        ImagePositionPatient=numbers("ImagePositionPatient", 3),
        PixelSpacing=numbers("PixelSpacing", 2),
        SamplesPerPixel=unsigned("SamplesPerPixel", 1),
        PhotometricInterpretation=text("PhotometricInterpretation"),
        BitsAllocated=unsigned("BitsAllocated"),
        BitsStored=stored,
        HighBit=unsigned("HighBit", stored - 1),
        PixelRepresentation=int(signed),
        RescaleSlope=number("RescaleSlope", 1.0),
        RescaleIntercept=number("RescaleIntercept", 0.0),
        RescaleType=text("RescaleType"),
        PixelPaddingValue=padding("PixelPaddingValue"),
        PixelPaddingRangeLimit=padding("PixelPaddingRangeLimit"),
        has_modality_lut=lut,
        pixel_offset=offset,
        pixel_length=length,
        axes=(_double(get(_AXIS_TAGS[0]), order), *(_text(get(tag)) for tag in _AXIS_TAGS[1:])),
    )


def _text(raw: bytes) -> str:
    return raw.decode("ascii", "replace").strip(" \0")


def _double(raw: bytes, order: str) -> str:
    return f"{struct.unpack(('<' if order == 'little' else '>') + 'd', raw)[0]:g}" if len(raw) == 8 else ""
