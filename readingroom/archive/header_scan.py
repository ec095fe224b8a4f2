"""A small, fast walk over a DICOM data set: picks the indexed elements and finds the pixel data, decodes nothing else.

It runs before a sender is answered, so it reads each element's tag and length once and copies only the values
the index holds. It is given bytes from strangers: every length is checked against the end, nesting and element
count are bounded, and all it ever raises is BadInput. Encodings: PS3.5 sections 7 and A.4.
"""

import re
import struct
import warnings
import zlib
from dataclasses import dataclass, field
from mmap import mmap

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.uid import UID_dictionary
from pydicom.valuerep import TEXT_VR_DELIMS

from readingroom.core.errors import BadInput

Buffer = bytes | memoryview | mmap

MAX_ELEMENTS = 2_000_000
MAX_DEPTH = 64
MAX_INFLATED_BYTES = 512 << 20
_MAX_VALUE_BYTES = 4096
_UNDEFINED = 0xFFFFFFFF

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
DEFLATED = frozenset({"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"})
NATIVE = frozenset({IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG, *DEFLATED})
TRANSFER_SYNTAXES = frozenset(uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax")

_WANTED: dict[int, str] = {
    0x00080005: "SpecificCharacterSet",
    0x00080016: "SOPClassUID",
    0x00080018: "SOPInstanceUID",
    0x00080020: "StudyDate",
    0x00080030: "StudyTime",
    0x00080050: "AccessionNumber",
    0x00080060: "Modality",
    0x00080090: "ReferringPhysicianName",
    0x00081030: "StudyDescription",
    0x0008103E: "SeriesDescription",
    0x00100010: "PatientName",
    0x00100020: "PatientID",
    0x00100021: "IssuerOfPatientID",
    0x00100030: "PatientBirthDate",
    0x00100040: "PatientSex",
    0x00180015: "BodyPartExamined",
    0x0020000D: "StudyInstanceUID",
    0x0020000E: "SeriesInstanceUID",
    0x00200010: "StudyID",
    0x00200011: "SeriesNumber",
    0x00200013: "InstanceNumber",
    0x00201208: "NumberOfStudyRelatedInstances",
    0x00280008: "NumberOfFrames",
    0x00280010: "Rows",
    0x00280011: "Columns",
}
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_BINARY = frozenset({"Rows", "Columns"})
# Character set applies to these VRs (SH, LO, PN here); CS, DA, TM, IS, UI are ASCII.
_TEXT = frozenset(
    {
        "AccessionNumber", "ReferringPhysicianName", "StudyDescription", "SeriesDescription", "PatientName",
        "PatientID", "IssuerOfPatientID", "StudyID",
    }
)  # fmt: skip
_NAMES = frozenset({"PatientName", "ReferringPhysicianName"})
_NAME_DELIMITERS = {0x5C, 0x5E, 0x3D}
# VRs whose length takes four bytes in explicit encodings (PS3.5 table 7.1-1).
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_VR = re.compile(rb"[A-Z]{2}")

_EXPLICIT = {False: struct.Struct("<HH2sH"), True: struct.Struct(">HH2sH")}
_TAG_LENGTH = {False: struct.Struct("<HHI"), True: struct.Struct(">HHI")}
_LENGTH = {False: struct.Struct("<I"), True: struct.Struct(">I")}


@dataclass(frozen=True)
class Header:
    """What the index keeps of a data set. ``pixels``: start and end of the pixel data's value, or None.

    Offsets count from the start of the buffer given to ``scan`` and are None for a deflated data set, whose
    pixel value ``inflated`` holds. ``encapsulated``: the value is a sequence of fragments.
    """

    values: dict[str, str] = field(default_factory=dict)
    pixels: tuple[int, int] | None = None
    encapsulated: bool = False
    inflated: bytes | None = None

    def text(self, keyword: str, length: int = 64) -> str:
        """Return a value, at most ``length`` characters, or the empty string."""
        return self.values.get(keyword, "")[:length]

    def number(self, keyword: str) -> int | None:
        """Return an integer value that fits a database column, else None."""
        try:
            value = int(float(self.values.get(keyword, "").split("\\")[0]))
        except (ValueError, OverflowError):
            return None
        return value if -(2**31) <= value < 2**31 else None


def scan(data: Buffer, start: int, transfer_syntax_uid: str) -> Header:
    """Walk ``data`` from ``start`` and return its header.

    Raises BadInput (``empty``, ``truncated``, ``not-dicom``, ``unsupported``).
    """
    if transfer_syntax_uid not in TRANSFER_SYNTAXES:
        raise BadInput("The transfer syntax is not one of the standard's.", code="unsupported")
    if transfer_syntax_uid in DEFLATED:
        inflated = _inflate(data, start)
        header = _Walk(inflated, 0, explicit=True, big=False).header()
        return Header(header.values, header.pixels, header.encapsulated, inflated)
    explicit = transfer_syntax_uid != IMPLICIT_LITTLE
    return _Walk(data, start, explicit=explicit, big=transfer_syntax_uid == EXPLICIT_BIG).header()


def _inflate(data: Buffer, start: int) -> bytes:
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = engine.decompress(memoryview(data)[start:], MAX_INFLATED_BYTES)
    except zlib.error:
        raise BadInput("The deflated data cannot be inflated.", code="not-dicom") from None
    if engine.unconsumed_tail:
        raise BadInput(f"The data inflates to more than {MAX_INFLATED_BYTES >> 20} MiB.", code="unsupported")
    if not engine.eof:
        raise BadInput("The deflated data ends too early.", code="truncated")
    return inflated


class _Walk:
    """One walk: the buffer, where it ends, and how many elements it may still meet."""

    def __init__(self, data: Buffer, start: int, *, explicit: bool, big: bool) -> None:
        self.data, self.start, self.end = data, start, len(data)
        self.explicit, self.big = explicit, big
        self.left = MAX_ELEMENTS

    def header(self) -> Header:
        raw: dict[str, bytes] = {}
        pos, end, data = self.start, self.end, self.data
        pixels, encapsulated = None, False
        if pos >= end:
            raise BadInput("There are no bytes.", code="empty")
        while pos < end:
            tag, length, value = self._element(pos, self.explicit)
            if tag >> 16 in (0x0000, 0x0002, 0xFFFE):
                raise BadInput("An element stands where none of its kind may.", code="not-dicom")
            if tag in _PIXELS:
                encapsulated = length == _UNDEFINED
                stop = self._fragments_end(value) if encapsulated else value + length
                self._within(stop)
                pixels = (value, stop)
                break
            if tag > 0x7FE00010:
                break
            if length == _UNDEFINED:
                pos = self._sequence_end(value, self.explicit)
                continue
            pos = value + length
            self._within(pos)
            keyword = _WANTED.get(tag)
            if keyword is not None:
                raw[keyword] = bytes(data[value : min(pos, value + _MAX_VALUE_BYTES)])
        return Header(_decoded(raw, self.big), pixels, encapsulated)

    def _element(self, pos: int, explicit: bool) -> tuple[int, int, int]:
        """Return tag, length and where the value starts."""
        self.left -= 1
        if self.left < 0:
            raise BadInput(f"More than {MAX_ELEMENTS} elements.", code="unsupported")
        try:
            if explicit:
                group, element, vr, length = _EXPLICIT[self.big].unpack_from(self.data, pos)
                if vr in _LONG:
                    return group << 16 | element, _LENGTH[self.big].unpack_from(self.data, pos + 8)[0], pos + 12
                # Items have no VR; some writers slip implicit elements in.
                if group != 0xFFFE and _VR.fullmatch(vr):
                    return group << 16 | element, length, pos + 8
            group, element, length = _TAG_LENGTH[self.big].unpack_from(self.data, pos)
        except struct.error:
            raise BadInput("The data ends within an element.", code="truncated") from None
        return group << 16 | element, length, pos + 8

    def _within(self, pos: int) -> None:
        if pos > self.end:
            raise BadInput("An element is longer than the data.", code="truncated")

    def _fragments_end(self, pos: int) -> int:
        """Return where the fragments starting at ``pos`` end, without the sequence delimiter."""
        while pos < self.end:
            tag, length, value = self._element(pos, False)
            if tag == 0xFFFEE0DD:
                return pos
            if tag != 0xFFFEE000 or length == _UNDEFINED:
                raise BadInput("The pixel data's fragments are broken.", code="not-dicom")
            pos = value + length
            self._within(pos)
        # Some writers leave the delimiter out; no fragment's byte is missing.
        return pos

    def _sequence_end(self, pos: int, explicit: bool) -> int:
        """Return the position after a sequence of undefined length whose first item is at ``pos``."""
        # Each level: is it a sequence (of items) or an item (of elements), and how its elements are encoded.
        levels: list[tuple[bool, bool]] = [(True, explicit)]
        while levels:
            in_sequence, level_explicit = levels[-1]
            if pos >= self.end:
                raise BadInput("A sequence does not end.", code="truncated")
            tag, length, value = self._element(pos, level_explicit and not in_sequence)
            if tag in (0xFFFEE0DD, 0xFFFEE00D):
                levels.pop()
                pos = value
                # A sequence delimiter straight after an item's content ends the item too.
                if tag == 0xFFFEE0DD and not in_sequence and levels:
                    levels.pop()
                continue
            if in_sequence and tag != 0xFFFEE000:
                raise BadInput("A sequence holds something that is no item.", code="not-dicom")
            if length != _UNDEFINED:
                pos = value + length
                self._within(pos)
                continue
            if len(levels) >= MAX_DEPTH:
                raise BadInput(f"Sequences nested deeper than {MAX_DEPTH}.", code="unsupported")
            # The content of an element of VR UN and undefined length is implicit little endian (PS3.5 6.2.2).
            unknown = not in_sequence and level_explicit and bytes(self.data[pos + 4 : pos + 6]) == b"UN"
            levels.append((not in_sequence, level_explicit and not unknown))
            pos = value
        return pos


def _decoded(raw: dict[str, bytes], big: bool) -> dict[str, str]:
    encodings: list[str] | None = None
    values: dict[str, str] = {}
    for keyword, value in raw.items():
        if keyword in _BINARY:
            if len(value) >= 2:
                values[keyword] = str(int.from_bytes(value[:2], "big" if big else "little"))
            continue
        if keyword in _TEXT and (not value.isascii() or 0x1B in value):
            if encodings is None:
                encodings = _encodings(raw.get("SpecificCharacterSet", b""))
            text = _decode(value, encodings, _NAME_DELIMITERS if keyword in _NAMES else TEXT_VR_DELIMS)
        else:
            text = value.decode("latin-1")
        values[keyword] = clean(text)
    return values


def clean(text: str) -> str:
    """Return ``text`` without what a database refuses: NUL, lone surrogates, control characters; stripped."""
    # Padding is what most values have; the slow look at each character is for the rest.
    text = text.strip(" \0")
    if not text.isprintable():
        text = "".join(c for c in text if c.isprintable() or c == "\u3000")
    return text.strip()


def _encodings(value: bytes) -> list[str]:
    names = [name.strip() for name in value.decode("latin-1").strip(" \0").split("\\")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return list(convert_encodings(names if len(names) > 1 else names[0]))
        except (LookupError, ValueError):
            return ["utf-8"]


def _decode(value: bytes, encodings: list[str], delimiters: set[int]) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return decode_bytes(value, encodings, delimiters)
        except (LookupError, ValueError):
            return value.decode("utf-8", "replace")
