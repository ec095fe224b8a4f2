"""``multipart/related`` (RFC 2387) both ways: parts out of a stream that comes in, parts into one that goes out."""

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field

from readingroom.core.errors import BadInput

_BOUNDARY = re.compile(r'boundary\s*=\s*(?:"([^"]{1,70})"|([^\s;,"]{1,70}))', re.IGNORECASE)
_MAX_HEADER_BYTES = 16_384


def boundary_of(content_type: str) -> bytes:
    """Return the boundary a Content-Type names. Raises BadInput."""
    if not content_type.lower().lstrip().startswith("multipart/related"):
        raise BadInput("The body must be multipart/related.", 'Send type="application/dicom".', code="media-type")
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise BadInput("The Content-Type names no boundary.", code="media-type")
    return (found.group(1) or found.group(2)).encode("latin-1")


@dataclass(frozen=True)
class Start:
    """A part begins; ``media_type`` in lower case."""

    media_type: str


@dataclass(frozen=True)
class Piece:
    """Bytes of the part that has begun."""

    data: bytes


@dataclass(frozen=True)
class End:
    """The part is complete."""


Event = Start | Piece | End


@dataclass
class Parser:
    """Takes a body in pieces of any size and gives what it finds. Holds no more than a boundary and a header."""

    boundary: bytes
    _buffer: bytearray = field(default_factory=bytearray)
    _state: str = "preamble"

    def __post_init__(self) -> None:
        self._delimiter = b"\r\n--" + self.boundary
        # The first boundary may stand at the very start, without a line before it.
        self._buffer += b"\r\n"

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield what ``data`` brings. Raises BadInput for a header that does not end."""
        self._buffer += data
        while True:
            if self._state in ("preamble", "body"):
                at = self._buffer.find(self._delimiter)
                if at < 0:
                    keep = len(self._delimiter) - 1
                    if len(self._buffer) > keep:
                        if self._state == "body":
                            yield Piece(bytes(self._buffer[:-keep]))
                        del self._buffer[:-keep]
                    return
                if self._state == "body":
                    if at:
                        yield Piece(bytes(self._buffer[:at]))
                    yield End()
                del self._buffer[: at + len(self._delimiter)]
                self._state = "line"
            elif self._state == "line":
                if self._buffer.startswith(b"--"):
                    self._state = "done"
                    return
                end = self._buffer.find(b"\r\n")
                if end < 0:
                    self._bounded()
                    return
                # The line's end stays: a part without headers is an empty line.
                del self._buffer[:end]
                self._state = "headers"
            elif self._state == "headers":
                end = self._buffer.find(b"\r\n\r\n")
                if end < 0:
                    self._bounded()
                    return
                yield Start(_media_type(bytes(self._buffer[:end])))
                del self._buffer[: end + 4]
                self._state = "body"
            else:
                return

    @property
    def complete(self) -> bool:
        """Whether the closing boundary has come."""
        return self._state == "done"

    def _bounded(self) -> None:
        if len(self._buffer) > _MAX_HEADER_BYTES:
            raise BadInput("A part's header does not end.", code="media-type")


def _media_type(header: bytes) -> str:
    for line in header.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-type":
            return value.decode("latin-1").strip().lower()
    return "application/dicom"


class Writer:
    """Frames parts with one random boundary."""

    def __init__(self, media_type: str) -> None:
        self.boundary = secrets.token_hex(16)
        self.content_type = f'multipart/related; type="{media_type}"; boundary={self.boundary}'

    def head(self, content_type: str, length: int, location: str = "", *, first: bool) -> bytes:
        """Return what stands before a part."""
        lines = [f"Content-Type: {content_type}", f"Content-Length: {length}"]
        if location:
            lines.append(f"Content-Location: {location}")
        return (("" if first else "\r\n") + f"--{self.boundary}\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode(
            "latin-1"
        )

    def tail(self) -> bytes:
        return f"\r\n--{self.boundary}--\r\n".encode()
