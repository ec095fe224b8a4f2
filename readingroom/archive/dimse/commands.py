"""DIMSE command sets (PS3.7): Implicit VR Little Endian, group 0000, read and written by hand because they are few."""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from readingroom.archive.dimse.pdu import InvalidPdu

MAX_COMMAND_BYTES: Final = 64 << 10
NO_DATA_SET: Final = 0x0101
MAX_COMMENT: Final = 64
"""Error Comment (0000,0902) is an LO."""


class Command(IntEnum):
    """Command Field values we answer or ignore by name (PS3.7 annex E); the rest is answered with 0211H."""

    C_STORE_RQ = 0x0001
    C_ECHO_RQ = 0x0030
    C_CANCEL_RQ = 0x0FFF


RESPONSE_BIT: Final = 0x8000


class Status(IntEnum):
    """Statuses the protocol itself gives (PS3.7 annex C, PS3.4 B.2.3); those of stored objects are the archive's."""

    SUCCESS = 0x0000
    PROCESSING_FAILURE = 0x0110
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    NOT_AUTHORISED = 0x0124
    UNRECOGNISED_OPERATION = 0x0211
    MISTYPED_ARGUMENT = 0x0212
    OUT_OF_RESOURCES = 0xA700


@dataclass(frozen=True)
class Request:
    """The elements of a command set that a storage and verification provider needs."""

    command: int
    message_id: int
    has_data_set: bool
    sop_class_uid: str
    sop_instance_uid: str


_ELEMENT = struct.Struct("<HHL")


def parse_request(data: bytes) -> Request:
    """Return the request in a whole command set. Raises InvalidPdu on anything but well-formed group 0000 elements."""
    values = _elements(data)
    # N- requests name their object in the Requested elements (0003, 1001) instead of the Affected ones.
    return Request(
        command=_us(values, 0x0100),
        message_id=_us(values, 0x0110) if 0x0110 in values else 0,
        has_data_set=_us(values, 0x0800) != NO_DATA_SET,
        sop_class_uid=_uid(values.get(0x0002, values.get(0x0003, b""))),
        sop_instance_uid=_uid(values.get(0x1000, values.get(0x1001, b""))),
    )


def _elements(data: bytes) -> dict[int, bytes]:
    values: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        if at + 8 > len(data):
            raise InvalidPdu("a command element is cut off")
        group, element, length = _ELEMENT.unpack_from(data, at)
        at += 8
        if group != 0 or length > len(data) - at:
            raise InvalidPdu("a command set is malformed")
        values[element] = data[at : at + length]
        at += length
    return values


def _us(values: dict[int, bytes], element: int) -> int:
    value = values.get(element, b"")
    if len(value) != 2:
        raise InvalidPdu("a command set lacks a value it must have")
    return int.from_bytes(value, "little")


def _uid(value: bytes) -> str:
    return value.decode("ascii", "replace").strip(" \0")


def encode_store_request(message_id: int, sop_class_uid: str, sop_instance_uid: str) -> bytes:
    """The command set of C-STORE-RQ (PS3.7 table 9.3-1), medium priority."""
    return _command_set(
        [
            (0x0002, _even(sop_class_uid)),
            (0x0100, Command.C_STORE_RQ.to_bytes(2, "little")),
            (0x0110, message_id.to_bytes(2, "little")),
            (0x0700, bytes(2)),
            (0x0800, (0x0001).to_bytes(2, "little")),
            (0x1000, _even(sop_instance_uid)),
        ]
    )


def parse_response_status(data: bytes) -> tuple[int, int]:
    """Return (message id responded to, status) of a response's command set. Raises InvalidPdu."""
    values = _elements(data)
    return _us(values, 0x0120), _us(values, 0x0900)


def encode_response(request: Request, status: int, comment: str = "") -> bytes:
    """The command set that answers ``request``. ``comment`` is cut to what an LO may hold."""
    elements = []
    if request.sop_class_uid:
        elements.append((0x0002, _even(request.sop_class_uid)))
    elements += [
        (0x0100, (request.command | RESPONSE_BIT).to_bytes(2, "little")),
        (0x0120, request.message_id.to_bytes(2, "little")),
        (0x0800, NO_DATA_SET.to_bytes(2, "little")),
        (0x0900, status.to_bytes(2, "little")),
    ]
    if comment:
        text = "".join(c if c.isascii() and c.isprintable() and c != "\\" else " " for c in comment)
        elements.append((0x0902, _even(text[:MAX_COMMENT].rstrip(), b" ")))
    if request.sop_instance_uid:
        elements.append((0x1000, _even(request.sop_instance_uid)))
    return _command_set(elements)


def _command_set(elements: list[tuple[int, bytes]]) -> bytes:
    body = b"".join(_ELEMENT.pack(0, element, len(value)) + value for element, value in elements)
    return _ELEMENT.pack(0, 0, 4) + len(body).to_bytes(4, "little") + body


def _even(text: str, pad: bytes = b"\0") -> bytes:
    value = text.encode("ascii", "replace")
    return value + pad if len(value) % 2 else value
