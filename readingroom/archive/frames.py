"""Where each frame's bytes lie in a stored file, so that a frame is served by a seek and a read.

Native pixels: computed. Encapsulated: from the extended or basic offset table, or from the fragments where
that is without doubt (PS3.5 A.4). Where it is not (no table, several fragments a frame; frames that do not
start on a byte; big endian; deflated) the frame is got by decoding, and the map says so.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydicom.dataset import Dataset

from readingroom.archive.header_scan import DEFLATED, EXPLICIT_BIG, Buffer, Header


@dataclass(frozen=True)
class FrameMap:
    """``native``: ``count`` frames of ``length`` bytes from ``offset``. ``decode``: not by position.

    ``fragments``: for each frame the (offset, length) pairs of its fragments.
    """

    kind: Literal["native", "fragments", "decode"]
    offset: int = 0
    length: int = 0
    count: int = 1
    fragments: tuple[tuple[tuple[int, int], ...], ...] = ()

    def ranges(self, frame: int) -> Sequence[tuple[int, int]]:
        """Return the (offset, length) pairs of a frame, 1-based; empty where it has none by position."""
        if self.kind == "native" and 1 <= frame <= self.count:
            return ((self.offset + (frame - 1) * self.length, self.length),)
        if self.kind == "fragments" and 1 <= frame <= len(self.fragments):
            return self.fragments[frame - 1]
        return ()

    def to_json(self) -> dict[str, Any]:
        body: dict[str, Any] = {"kind": self.kind}
        if self.kind == "native":
            body |= {"offset": self.offset, "length": self.length, "count": self.count}
        if self.kind == "fragments":
            body["fragments"] = [[number for pair in frame for number in pair] for frame in self.fragments]
        return body

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> "FrameMap":
        fragments = tuple(tuple(zip(frame[::2], frame[1::2], strict=True)) for frame in body.get("fragments", []))
        return cls(body["kind"], body.get("offset", 0), body.get("length", 0), body.get("count", 1), fragments)


def locate(data: Buffer, header: Header, ds: Dataset, transfer_syntax_uid: str) -> FrameMap | None:
    """Return the map of a whole stored file ``data``; None without pixel data. ``ds``: its header."""
    if header.pixels is None:
        return None
    if transfer_syntax_uid in DEFLATED or transfer_syntax_uid == EXPLICIT_BIG:
        return FrameMap("decode")
    count = header.number("NumberOfFrames") or 1
    if header.encapsulated:
        return _encapsulated(data, header.pixels, ds, max(count, 1))
    try:
        bits = int(ds.Rows) * int(ds.Columns) * int(ds.get("SamplesPerPixel") or 1) * int(ds.BitsAllocated)
    except (AttributeError, TypeError, ValueError):
        return FrameMap("decode")
    if str(ds.get("PhotometricInterpretation", "")) == "YBR_FULL_422":
        bits = bits * 2 // 3
    start, stop = header.pixels
    if bits <= 0 or bits % 8 or start + bits // 8 * count > stop:
        return FrameMap("decode")
    return FrameMap("native", start, bits // 8, count)


def _encapsulated(data: Buffer, pixels: tuple[int, int], ds: Dataset, count: int) -> FrameMap:
    items = _items(data, *pixels)
    if not items:
        return FrameMap("decode")
    table, fragments = items[0], items[1:]
    if not fragments:
        return FrameMap("decode")
    if count == 1:
        return FrameMap("fragments", fragments=(tuple(fragments),))
    if len(fragments) == count:
        return FrameMap("fragments", fragments=tuple((fragment,) for fragment in fragments))
    offsets = _offsets(ds, bytes(data[table[0] : table[0] + table[1]]))
    if len(offsets) != count:
        return FrameMap("decode")
    # Offsets count from the first byte of the first fragment's item tag.
    origin = fragments[0][0] - 8
    frames: list[list[tuple[int, int]]] = [[] for _ in offsets]
    number = -1
    starts = {offset: n for n, offset in enumerate(offsets)}
    for offset, length in fragments:
        number = starts.get(offset - 8 - origin, number)
        if number < 0:
            return FrameMap("decode")
        frames[number].append((offset, length))
    if not all(frames):
        return FrameMap("decode")
    return FrameMap("fragments", fragments=tuple(tuple(frame) for frame in frames))


def _offsets(ds: Dataset, basic: bytes) -> list[int]:
    extended = ds.get("ExtendedOffsetTable")
    if isinstance(extended, bytes) and extended and len(extended) % 8 == 0:
        return list(struct.unpack(f"<{len(extended) // 8}Q", extended))
    return list(struct.unpack(f"<{len(basic) // 4}I", basic)) if len(basic) % 4 == 0 else []


def _items(data: Buffer, start: int, stop: int) -> list[tuple[int, int]]:
    """Return (offset, length) of the value of each item; the walk has checked that they fit."""
    items = []
    while start + 8 <= stop:
        group, element, length = struct.unpack_from("<HHI", data, start)
        if (group, element) != (0xFFFE, 0xE000) or start + 8 + length > stop:
            break
        items.append((start + 8, length))
        start += 8 + length
    return items
