"""Bytes that come in pieces, gathered without holding a huge object in memory: small ones as bytes, large ones as a
memory map of an unnamed temporary file.
"""

import mmap
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from readingroom.archive.header_scan import Buffer
from readingroom.core.errors import BadInput, OutOfResources

IN_MEMORY_BYTES = 32 << 20


@contextmanager
def gathered(data: Buffer | Iterable[bytes], limit: int, folder: Path) -> Iterator[Buffer]:
    """Yield all of ``data`` as one buffer, valid within the block.

    Raises BadInput (``too-large``) past ``limit`` bytes, OutOfResources when ``folder``'s disk is full.
    """
    if isinstance(data, bytes | memoryview | mmap.mmap):
        if len(data) > limit:
            raise _too_large(limit)
        yield data
        return
    spool = Spool(limit, folder)
    try:
        for chunk in data:
            spool.write(chunk)
        yield spool.buffer()
    finally:
        spool.close()


class Spool:
    """Takes chunks up to a limit, then gives them back as one buffer."""

    def __init__(self, limit: int, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES, dir=str(folder))  # noqa: SIM115
        self._limit = limit
        self.size = 0

    def write(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if self.size > self._limit:
            raise _too_large(self._limit)
        try:
            self._file.write(chunk)
        except OSError as error:
            raise OutOfResources("No room to gather the data.", "Free space; then send again.") from error

    def buffer(self) -> Buffer:
        self._file.seek(0)
        if self.size <= IN_MEMORY_BYTES:
            return self._file.read()
        try:
            self._file.flush()
        except OSError as error:
            raise OutOfResources("No room to gather the data.", "Free space; then send again.") from error
        return mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)

    def close(self) -> None:
        self._file.close()


def _too_large(limit: int) -> BadInput:
    return BadInput(f"Larger than {limit} bytes.", "Raise max_object_bytes if this is meant.", code="too-large")
