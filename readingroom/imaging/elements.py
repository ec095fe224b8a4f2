"""Finds a few top-level elements in a little endian Part 10 file without reading the rest.

Pure Python, bounds checked throughout: a truncated or hostile file gives an error, never a crash (the
fast C++ readers we tried crash on truncated files). Big endian and deflated files are not for this module.
"""

import struct
from mmap import mmap

from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from readingroom.core.sealed import Source, mapped

PIXEL_DATA = 0x7FE00010
_SYNTAX = 0x00020010
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_DEEPEST = 32
_CHUNK = 16384
_BROKEN = (struct.error, IndexError, RecursionError)

_short = struct.Struct("<HH2sH")
_tag = struct.Struct("<HH")
_length = struct.Struct("<I")


class NotReadable(Exception):
    """The file is not what this module reads; a full parser may still read it."""


class Elements:
    """The wanted top-level elements of one file: raw values by tag, and where the pixel data is.

    ``pixel_offset`` is -1 and ``pixel_length`` 0 where there is none; an encapsulated length is ``0xFFFFFFFF``.
    """

    def __init__(self, syntax: str) -> None:
        self.syntax = syntax
        self.values: dict[int, bytes] = {}
        self.pixel_offset = -1
        self.pixel_length = 0


def find_elements(path: Source, wanted: frozenset[int]) -> Elements:
    """Read the wanted elements before the pixel data. Raises NotReadable, OSError."""
    with path.open("rb") as stream:
        start = stream.read(_CHUNK)
        try:
            found = _walk(start, wanted)
            if found.pixel_offset >= 0 or len(start) < _CHUNK:
                return found
        except (NotReadable, *_BROKEN):
            if len(start) < _CHUNK:
                raise NotReadable("truncated") from None
    # A long header: nearly all end within the chunk, which is quicker than a map.
    with mapped(path) as data:
        try:
            return _walk(data, wanted)
        except _BROKEN:
            raise NotReadable("truncated") from None


def _walk(data: bytes | mmap, wanted: frozenset[int]) -> Elements:
    if len(data) < 136 or data[128:132] != b"DICM":
        raise NotReadable("no preamble")
    syntax, at = _file_meta(data)
    if not syntax or syntax in (ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian):
        raise NotReadable("transfer syntax")
    explicit = syntax != ImplicitVRLittleEndian
    found = Elements(syntax)
    size, before = len(data), 0
    while at + 8 <= size:
        tag, length, at = _element(data, at, explicit)
        if tag <= before:
            # Out of order: not a data set any more.
            raise NotReadable("order")
        before = tag
        if tag == PIXEL_DATA:
            found.pixel_offset, found.pixel_length = at, length
            return found
        if length == _UNDEFINED:
            if tag in wanted:
                found.values[tag] = b""
            at = _skip_items(data, at, explicit, 0)
            continue
        if at + length > size:
            raise NotReadable("truncated")
        if tag in wanted:
            found.values[tag] = data[at : at + length]
        at += length
    return found


def _file_meta(data: bytes | mmap) -> tuple[str, int]:
    syntax, at = "", 132
    while at + 8 <= len(data) and _tag.unpack_from(data, at)[0] == 0x0002:
        tag, length, at = _element(data, at, True)
        if at + length > len(data):
            raise NotReadable("truncated")
        if tag == _SYNTAX:
            syntax = data[at : at + length].decode("ascii", "replace").strip(" \0")
        at += length
    return syntax, at


def _element(data: bytes | mmap, at: int, explicit: bool) -> tuple[int, int, int]:
    """``(tag, length, offset of the value)`` of the element at ``at``."""
    if explicit:
        group, number, vr, length = _short.unpack_from(data, at)
        if group != 0xFFFE:
            if vr in _LONG:
                return group << 16 | number, _length.unpack_from(data, at + 8)[0], at + 12
            if not vr.isalpha():
                raise NotReadable("value representation")
            return group << 16 | number, length, at + 8
    group, number = _tag.unpack_from(data, at)
    return group << 16 | number, _length.unpack_from(data, at + 4)[0], at + 8


def _skip_items(data: bytes | mmap, at: int, explicit: bool, depth: int) -> int:
    """Step over the items of a sequence of undefined length; return where it ends."""
    if depth > _DEEPEST:
        raise NotReadable("nesting")
    while True:
        tag, length, at = _element(data, at, explicit)
        if tag == _SEQUENCE_END:
            return at
        if tag != _ITEM:
            raise NotReadable("sequence")
        if length != _UNDEFINED:
            at += length
            continue
        while True:
            tag, length, at = _element(data, at, explicit)
            if tag == _ITEM_END:
                break
            at = _skip_items(data, at, explicit, depth + 1) if length == _UNDEFINED else at + length
