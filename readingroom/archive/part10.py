"""The wrapping of a stored file (PS3.10): read the file meta information of what comes in, build it for what came
over the network without any.
"""

import struct
from dataclasses import dataclass

from readingroom import __version__
from readingroom.archive.header_scan import EXPLICIT_LITTLE, IMPLICIT_LITTLE, Buffer
from readingroom.core.errors import BadInput
from readingroom.core.ids import derived_uid

IMPLEMENTATION_CLASS_UID = derived_uid("readingroom", "implementation")
IMPLEMENTATION_VERSION_NAME = f"READINGROOM_{__version__.replace('.', '')}"[:16]
_LONG = frozenset({b"OB", b"OW", b"UN", b"SQ", b"UT", b"OF", b"OD", b"OL", b"UC", b"UR"})
_MAX_META_BYTES = 1 << 20


@dataclass(frozen=True)
class Wrapping:
    """Where the data set starts, how it is encoded, and whether the buffer is a whole Part 10 file already."""

    dataset_start: int
    TransferSyntaxUID: str
    has_meta: bool


def unwrap(data: Buffer) -> Wrapping:
    """Read the file meta information. Raises BadInput (``empty``, ``not-dicom``, ``truncated``).

    The elements are walked rather than the group length trusted: many writers get it wrong. Without a preamble the
    data is recognised when it starts with group 0002 (as some writers leave it) or with group 0008 (a bare data set).
    """
    if len(data) == 0:
        raise BadInput("There are no bytes.", code="empty")
    if bytes(data[128:132]) == b"DICM":
        start, syntax = _read_meta(data, 132)
        return Wrapping(start, syntax, True)
    head = bytes(data[:8])
    if head[:2] == b"\x02\x00":
        start, syntax = _read_meta(data, 0)
        return Wrapping(start, syntax, False)
    if len(head) == 8 and head[:2] == b"\x08\x00":
        explicit = head[4:6].isalpha() and head[4:6].isupper()
        return Wrapping(0, EXPLICIT_LITTLE if explicit else IMPLICIT_LITTLE, False)
    raise BadInput("Not a DICOM file.", code="not-dicom")


def _read_meta(data: Buffer, pos: int) -> tuple[int, str]:
    """Return where group 0002, which starts at ``pos``, ends, and the transfer syntax it names."""
    syntax = ""
    while pos + 8 <= len(data) and bytes(data[pos : pos + 2]) == b"\x02\x00":
        element, vr, length = struct.unpack_from("<H2sH", data, pos + 2)
        value = pos + 8
        if vr in _LONG:
            if pos + 12 > len(data):
                break
            (length,) = struct.unpack_from("<I", data, pos + 8)
            value = pos + 12
        pos = value + length
        if pos > len(data) or pos > _MAX_META_BYTES:
            raise BadInput("The file meta information is cut off or broken.", code="truncated")
        if element == 0x0010:
            syntax = bytes(data[value:pos]).decode("latin-1").strip(" \0")
    if pos >= len(data):
        raise BadInput("The file ends before its data set.", code="truncated")
    if not syntax:
        raise BadInput("The file does not name its transfer syntax.", code="missing-tag")
    return pos, syntax


def file_meta(*, SOPClassUID: str, SOPInstanceUID: str, TransferSyntaxUID: str, source_aet: str = "") -> bytes:
    """Return preamble, prefix and group 0002 for a data set, ready to be followed by its bytes."""
    elements = [
        _element(0x0001, b"OB", b"\x00\x01"),
        _element(0x0002, b"UI", SOPClassUID.encode("ascii", "replace")),
        _element(0x0003, b"UI", SOPInstanceUID.encode("ascii", "replace")),
        _element(0x0010, b"UI", TransferSyntaxUID.encode("ascii", "replace")),
        _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID.encode()),
        _element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME.encode()),
    ]
    if source_aet:
        elements.append(_element(0x0016, b"AE", source_aet.encode("ascii", "replace")[:16]))
    body = b"".join(elements)
    return bytes(128) + b"DICM" + _element(0x0000, b"UL", struct.pack("<I", len(body))) + body


def _element(element: int, vr: bytes, value: bytes) -> bytes:
    if len(value) % 2:
        value += b" " if vr in (b"SH", b"AE") else b"\0"
    if vr == b"OB":
        return struct.pack("<HH2sHI", 2, element, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", 2, element, vr, len(value)) + value
