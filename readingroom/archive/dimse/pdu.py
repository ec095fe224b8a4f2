"""The bytes of the upper layer's PDUs (PS3.8 section 9.3), for the accepting and for the requesting side.

Parsing trusts no length: each is checked against the bytes at hand, and anything wrong is an ``InvalidPdu``.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from readingroom.archive.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

ASSOCIATE_RQ: Final = 0x01
ASSOCIATE_AC: Final = 0x02
ASSOCIATE_RJ: Final = 0x03
P_DATA_TF: Final = 0x04
RELEASE_RQ: Final = 0x05
RELEASE_RP: Final = 0x06
ABORT: Final = 0x07

HEADER: Final = struct.Struct(">BxL")
"""PDU type, reserved, length of what follows."""
PDV_HEADER: Final = struct.Struct(">LBB")
"""Length of what follows, presentation context id, message control header (bit 0: command, bit 1: last)."""
_ITEM: Final = struct.Struct(">BxH")

APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"
MAX_ASSOCIATE_BYTES: Final = 1 << 20
"""Longest A-ASSOCIATE-RQ read. 128 contexts with every transfer syntax and a long user identity are well below."""
MAX_PDU_BYTES: Final = 1 << 20
"""The maximum length we announce for P-DATA-TF, and the most we read in one."""


class InvalidPdu(Exception):
    """Bytes that are no valid PDU. The text never holds content of the PDU."""


@dataclass(frozen=True)
class PresentationContext:
    id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True)
class RoleSelection:
    sop_class_uid: str
    scu: bool
    scp: bool


@dataclass(frozen=True)
class AssociateRequest:
    """A-ASSOCIATE-RQ. What we neither use nor answer (user identity, extended negotiation) is skipped over."""

    protocol_version: int
    called_aet: str
    calling_aet: str
    application_context: str
    contexts: tuple[PresentationContext, ...]
    max_pdu_bytes: int
    roles: tuple[RoleSelection, ...]


@dataclass(frozen=True)
class ContextResult:
    """Answer to one presentation context: ``result`` 0 accepted, 3 abstract syntax, 4 transfer syntaxes refused."""

    id: int
    result: int
    abstract_syntax: str
    transfer_syntax: str


def _text(data: bytes) -> str:
    # UIDs and AE titles are ISO 646; padding with NUL or spaces is tolerated.
    return data.decode("ascii", "replace").strip(" \0")


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        if at + 4 > len(data):
            raise InvalidPdu("an item is cut off")
        kind, length = _ITEM.unpack_from(data, at)
        at += 4
        if at + length > len(data):
            raise InvalidPdu("an item is longer than its PDU")
        yield kind, data[at : at + length]
        at += length


def _context(data: bytes) -> PresentationContext:
    if len(data) < 4:
        raise InvalidPdu("a presentation context is cut off")
    abstract, transfer = "", []
    for kind, body in _items(data[4:]):
        if kind == 0x30:
            abstract = _text(body)
        elif kind == 0x40:
            transfer.append(_text(body))
    if data[0] % 2 == 0:
        raise InvalidPdu("a presentation context id is even")
    return PresentationContext(data[0], abstract, tuple(transfer))


def _role(data: bytes) -> RoleSelection:
    length = int.from_bytes(data[:2], "big")
    if len(data) != length + 4:
        raise InvalidPdu("a role selection has a wrong length")
    return RoleSelection(_text(data[2 : 2 + length]), data[-2] == 1, data[-1] == 1)


def parse_associate_request(body: bytes) -> AssociateRequest:
    """Return the request in ``body`` (what follows the six bytes of PDU header). Raises InvalidPdu."""
    if len(body) < 68:
        raise InvalidPdu("an association request is cut off")
    application, contexts, max_pdu_bytes, roles = "", [], 0, []
    for kind, item in _items(body[68:]):
        if kind == 0x10:
            application = _text(item)
        elif kind == 0x20:
            contexts.append(_context(item))
        elif kind == 0x50:
            for sub_kind, sub_item in _items(item):
                if sub_kind == 0x51:
                    if len(sub_item) != 4:
                        raise InvalidPdu("a maximum length has a wrong length")
                    max_pdu_bytes = int.from_bytes(sub_item, "big")
                elif sub_kind == 0x54:
                    roles.append(_role(sub_item))
    if len({context.id for context in contexts}) != len(contexts):
        raise InvalidPdu("a presentation context id occurs twice")
    return AssociateRequest(
        protocol_version=int.from_bytes(body[:2], "big"),
        called_aet=_text(body[4:20]),
        calling_aet=_text(body[20:36]),
        application_context=application,
        contexts=tuple(contexts),
        max_pdu_bytes=max_pdu_bytes,
        roles=tuple(roles),
    )


def parse_associate_accept(body: bytes) -> tuple[dict[int, str], int]:
    """Return {context id: transfer syntax} of the accepted contexts and the peer's maximum PDU length (0: none).

    Raises InvalidPdu.
    """
    accepted, max_pdu_bytes = {}, 0
    for kind, item in _items(body[68:]):
        if kind == 0x21 and len(item) >= 4 and item[2] == 0:
            for sub_kind, sub_item in _items(item[4:]):
                if sub_kind == 0x40:
                    accepted[item[0]] = _text(sub_item)
        elif kind == 0x50:
            for sub_kind, sub_item in _items(item):
                if sub_kind == 0x51:
                    max_pdu_bytes = int.from_bytes(sub_item, "big")
    return accepted, max_pdu_bytes


def _item(kind: int, body: bytes) -> bytes:
    return _ITEM.pack(kind, len(body)) + body


def _pdu(kind: int, body: bytes) -> bytes:
    return HEADER.pack(kind, len(body)) + body


def encode_associate_request(called_aet: str, calling_aet: str, contexts: Sequence[PresentationContext]) -> bytes:
    """A-ASSOCIATE-RQ (PS3.8 table 9-11) that asks for nothing but the contexts."""
    parts = [_item(0x10, APPLICATION_CONTEXT.encode())]
    for context in contexts:
        syntaxes = b"".join(_item(0x40, uid.encode("ascii", "replace")) for uid in context.transfer_syntaxes)
        abstract = _item(0x30, context.abstract_syntax.encode("ascii", "replace"))
        parts.append(_item(0x20, bytes((context.id, 0, 0, 0)) + abstract + syntaxes))
    parts.append(_item(0x50, _about_us()))
    return _pdu(ASSOCIATE_RQ, b"\x00\x01\x00\x00" + _titles(called_aet, calling_aet) + bytes(32) + b"".join(parts))


def _titles(called_aet: str, calling_aet: str) -> bytes:
    return b"".join(title.encode("ascii", "replace")[:16].ljust(16) for title in (called_aet, calling_aet))


def _about_us(between: bytes = b"") -> bytes:
    return b"".join(
        (
            _item(0x51, MAX_PDU_BYTES.to_bytes(4, "big")),
            _item(0x52, IMPLEMENTATION_CLASS_UID.encode()),
            between,
            _item(0x55, IMPLEMENTATION_VERSION_NAME.encode()),
        )
    )


def encode_associate_accept(
    request: AssociateRequest, results: tuple[ContextResult, ...], roles: tuple[RoleSelection, ...]
) -> bytes:
    """A-ASSOCIATE-AC (PS3.8 table 9-17). No asynchronous window is answered: the default of one applies."""
    parts = [_item(0x10, APPLICATION_CONTEXT.encode())]
    for result in results:
        # A refused context carries a transfer syntax item too; its content is not significant.
        syntax = _item(0x40, result.transfer_syntax.encode("ascii", "replace"))
        parts.append(_item(0x21, bytes((result.id, 0, result.result, 0)) + syntax))
    role_items = []
    for role in roles:
        uid = role.sop_class_uid.encode("ascii", "replace")
        role_items.append(_item(0x54, len(uid).to_bytes(2, "big") + uid + bytes((role.scu, role.scp))))
    parts.append(_item(0x50, _about_us(b"".join(role_items))))
    titles = _titles(request.called_aet, request.calling_aet)
    return _pdu(ASSOCIATE_AC, b"\x00\x01\x00\x00" + titles + bytes(32) + b"".join(parts))


def encode_associate_reject(result: int, source: int, reason: int) -> bytes:
    """A-ASSOCIATE-RJ (PS3.8 table 9-21)."""
    return _pdu(ASSOCIATE_RJ, bytes((0, result, source, reason)))


def encode_release_response() -> bytes:
    return _pdu(RELEASE_RP, bytes(4))


def encode_abort(source: int, reason: int) -> bytes:
    """A-ABORT (PS3.8 table 9-26): source 0 user, 2 provider."""
    return _pdu(ABORT, bytes((0, 0, source, reason)))


def encode_command(context_id: int, command: bytes, max_pdu_bytes: int) -> bytes:
    """P-DATA-TF PDUs that carry a command set, as one piece to write. ``max_pdu_bytes`` 0: no limit."""
    room = len(command) if max_pdu_bytes == 0 else max(max_pdu_bytes - PDV_HEADER.size, 1)
    pieces = [command[at : at + room] for at in range(0, len(command), room)]
    return b"".join(
        HEADER.pack(P_DATA_TF, len(piece) + PDV_HEADER.size)
        + PDV_HEADER.pack(len(piece) + 2, context_id, 0x01 | (0x02 if piece is pieces[-1] else 0))
        + piece
        for piece in pieces
    )
