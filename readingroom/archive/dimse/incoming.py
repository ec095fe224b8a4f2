"""The data set being received: fragments joined in one buffer that is used again, or in a temporary file when long.

Memory grows only with bytes that arrived, never with a length somebody announced. Past the size limit, or when the
disk is full, the rest is read and dropped, so that the sender can be told with a status.
"""

import mmap
import tempfile
from pathlib import Path
from typing import IO, Final

from readingroom.archive.dimse.wire import Wire

_FIRST_BYTES: Final = 1 << 20
_KEEP_BYTES: Final = 8 << 20
"""A buffer that grew beyond this isn't kept for the next object."""
SPOOL_BYTES: Final = 32 << 20
_CHUNK_BYTES: Final = 1 << 20


class Incoming:
    """One data set at a time. ``size`` is what came; ``refused`` is the code (``archive.statuses``) of why it can't be
    taken, or empty."""

    def __init__(self, limit: int, folder: Path) -> None:
        self.size = 0
        self.refused = ""
        self._limit = limit
        self._folder = folder
        self._buffer = bytearray()
        self._file: IO[bytes] | None = None

    def take(self, wire: Wire, count: int) -> None:
        """Move ``count`` bytes of the data set off the wire."""
        self.size += count
        if self.refused:
            wire.discard(count)
        elif self.size > self._limit:
            self._refuse("too-large")
            wire.discard(count)
        elif self.size <= SPOOL_BYTES:
            if self.size > len(self._buffer):
                self._grow()
            wire.read_into(memoryview(self._buffer)[self.size - count : self.size])
        else:
            self._spool(wire, count)

    def data(self) -> memoryview | mmap.mmap:
        """The whole data set, valid until ``clear``: a view of the buffer, or a map of the temporary file."""
        if self._file is None:
            return memoryview(self._buffer)[: self.size].toreadonly()
        self._file.flush()
        return mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)

    def clear(self) -> None:
        """Be ready for the next data set."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if len(self._buffer) > _KEEP_BYTES:
            self._buffer = bytearray()
        self.size = 0
        self.refused = ""

    def _grow(self) -> None:
        larger = bytearray(max(_FIRST_BYTES, self.size, 2 * len(self._buffer)))
        larger[: len(self._buffer)] = self._buffer
        self._buffer = larger

    def _spool(self, wire: Wire, count: int) -> None:
        chunk = memoryview(bytearray(min(count, _CHUNK_BYTES)))
        had = self.size - count
        try:
            if self._file is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 (closed by clear)
                self._file.write(memoryview(self._buffer)[:had])
                self._buffer = bytearray()
        except OSError:
            self._refuse("out-of-resources")
        while count:
            piece = chunk[: min(count, len(chunk))]
            wire.read_into(piece)
            count -= len(piece)
            if self._file is not None and not self.refused:
                try:
                    self._file.write(piece)
                except OSError:
                    self._refuse("out-of-resources")

    def _refuse(self, code: str) -> None:
        size = self.size
        self.clear()
        self.size, self.refused = size, code
