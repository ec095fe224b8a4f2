"""One peer's socket: buffered reads with deadlines, large reads straight into the object's memory, single writes.

Accepted sockets get TCP_NODELAY, and TCP_QUICKACK again after every read (Linux drops it): a sender with Nagle's
algorithm otherwise waits 40 ms for our acknowledgement at the end of every object.
"""

import socket
import ssl
import threading
from contextlib import suppress
from typing import Final

from readingroom.core.clock import monotonic

_BUFFER_BYTES: Final = 256 << 10
_DIRECT_BYTES: Final = 64 << 10
_SLICE_SECONDS: Final = 0.5
"""How often a waiting read looks at its deadline and at the stop signal."""
STOP_GRACE_SECONDS: Final = 5.0
"""How long an operation under way may go on once the receiver is told to stop."""
SLOWEST_BYTES_PER_SECOND: Final = 8 << 10
"""A PDU that comes in slower than this (after the idle time) is a stalled one."""


class Closed(Exception):
    """The connection is gone: closed, reset, or no longer writable."""


class Expired(Exception):
    """The deadline passed."""


class Stopping(Exception):
    """The receiver stops and this association has had its time."""


class Wire:
    """Reads and writes for one association's thread. ``idle`` says that no operation is under way."""

    def __init__(self, connection: socket.socket, stop: threading.Event) -> None:
        self._socket = connection
        self._stop = stop
        self._stop_seen: float | None = None
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._start = self._end = 0
        self._deadline = monotonic()
        self.idle = True
        connection.settimeout(_SLICE_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Linux only.
        self._quick_ack = getattr(socket, "TCP_QUICKACK", None)
        self._acknowledge()

    def _acknowledge(self) -> None:
        if self._quick_ack is not None:
            try:
                self._socket.setsockopt(socket.IPPROTO_TCP, self._quick_ack, 1)
            except OSError as error:
                raise Closed from error

    def arm(self, seconds: float) -> None:
        """Set the deadline of everything that follows, from now."""
        self._deadline = monotonic() + seconds

    def read(self, count: int) -> bytes:
        """Return exactly ``count`` bytes; for headers and short PDUs."""
        if self._end - self._start >= count:
            data = bytes(self._buffer[self._start : self._start + count])
            self._start += count
            return data
        data_buffer = bytearray(count)
        self.read_into(memoryview(data_buffer))
        return bytes(data_buffer)

    def read_into(self, target: memoryview) -> None:
        """Fill ``target``: from the buffer first, then, where much is missing, straight from the socket."""
        at, count = 0, len(target)
        while at < count:
            held = self._end - self._start
            if held:
                piece = min(held, count - at)
                target[at : at + piece] = self._buffer[self._start : self._start + piece]
                self._start += piece
                at += piece
            elif count - at >= _DIRECT_BYTES:
                at += self._receive(target[at:])
            else:
                self._start, self._end = 0, self._receive(self._buffer)

    def discard(self, count: int) -> None:
        """Read ``count`` bytes and throw them away."""
        while count:
            if self._start == self._end:
                self._start, self._end = 0, self._receive(self._buffer)
            piece = min(self._end - self._start, count)
            self._start += piece
            count -= piece

    def discard_until_closed(self) -> None:
        """Throw everything away until the peer closes (raises Closed) or the deadline passes (raises Expired)."""
        self._start = self._end = 0
        while True:
            self._receive(self._buffer)

    def write(self, data: bytes) -> None:
        """Send ``data``, in one write whenever the socket takes it."""
        view = memoryview(data)
        while view:
            try:
                view = view[self._socket.send(view) :]
            except TimeoutError:
                self._check()
            except OSError as error:
                raise Closed from error

    def finish(self) -> None:
        """Say that nothing more will be written."""
        try:
            if isinstance(self._socket, ssl.SSLSocket):
                # Our part of the end of TLS, without waiting for the peer's.
                self._socket.settimeout(0)
                with suppress(ssl.SSLWantReadError):
                    self._socket.unwrap()
                self._socket.settimeout(_SLICE_SECONDS)
            else:
                self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise Closed from error

    def _receive(self, target: memoryview) -> int:
        while True:
            try:
                count = self._socket.recv_into(target)
            except TimeoutError:
                self._check()
                continue
            except OSError as error:
                raise Closed from error
            if count == 0:
                raise Closed
            self._acknowledge()
            self._check()
            return count

    def _check(self) -> None:
        now = monotonic()
        if now > self._deadline:
            raise Expired
        if self._stop.is_set():
            self._stop_seen = self._stop_seen or now
            if self.idle or now > self._stop_seen + STOP_GRACE_SECONDS:
                raise Stopping
