"""A sealed file: one object encrypted so that any part of it can be read without the rest, and its key changed without
writing its bytes again.

Every object has a data key of its own. The bytes are cut into chunks of 64 KiB, each under AES-256-GCM with its number
as nonce and a mark on the last one, so that a chunk changed, moved, left out or cut off does not open. In front lies
a header with room for two wrapped data keys: a new wrapping is written beside the old one before that is wiped, so
that at any moment one of them is whole. Who wraps data keys is no matter of this module (``archive/keyring.py``).

What reads files reads either kind through ``Source``: a ``Path``, or a ``SealedPath`` that brings its data key along.
"""

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal, cast

from readingroom.core.errors import ReadingRoomError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC: Final = b"RRSEAL1\n"
CHUNK_BYTES: Final = 64 << 10
KEY_ID_BYTES: Final = 16
SLOT_BYTES: Final = 76
"""A wrapped data key: 16 bytes that name the key it is wrapped with, a nonce of 12, the key's 32 and a tag of 16."""
HEADER_BYTES: Final = len(MAGIC) + 2 * SLOT_BYTES
EMPTY_SLOT: Final = bytes(SLOT_BYTES)
DATA_KEY_BYTES: Final = 32
_TAG_BYTES: Final = 16
_SEALED_BYTES: Final = CHUNK_BYTES + _TAG_BYTES


class SealBroken(ReadingRoomError):
    """A sealed file does not open: it was changed or cut, or this is not its key. Its bytes are left alone."""

    code = "seal-broken"

    def __init__(self) -> None:
        super().__init__("A stored object does not open.", "It was changed on the disk: bring it back from a copy.")


def cipher_of(key: bytes) -> "AESGCM":
    # Imported here and below: every process reads files, and where the store is plain none needs megabytes for this.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)


def opened(cipher: "AESGCM", nonce: bytes, sealed: bytes, context: bytes) -> bytes | None:
    """Return what was sealed, None where it is not whole or another key's."""
    from cryptography.exceptions import InvalidTag

    try:
        return cipher.decrypt(nonce, sealed, context)
    except InvalidTag:
        return None


def wrapped_by(slot: bytes) -> str:
    """Return the id of the key that wraps what is in ``slot``."""
    return slot[:KEY_ID_BYTES].hex()


def seal(pieces: Iterable[bytes | memoryview], data_key: bytes) -> Iterator[bytes]:
    """Yield the sealed chunks of what ``pieces`` make together (without a header)."""
    cipher, number, held = cipher_of(data_key), 0, b""
    for piece in pieces:
        view, at = memoryview(piece), 0
        if held:
            at = min(CHUNK_BYTES - len(held), len(view))
            held += view[:at]
            if at == len(view):
                continue
            yield cipher.encrypt(_nonce(number, False), held, MAGIC)
            number += 1
        # The last chunk carries a mark, so one that may be the last is held back.
        while len(view) - at > CHUNK_BYTES:
            yield cipher.encrypt(_nonce(number, False), view[at : at + CHUNK_BYTES], MAGIC)
            number, at = number + 1, at + CHUNK_BYTES
        held = bytes(view[at:])
    yield cipher.encrypt(_nonce(number, True), held, MAGIC)


def _nonce(number: int, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\1" if is_last else b"\0")


def plain_size(file_size: int) -> int:
    """Return how many bytes a sealed file of ``file_size`` holds. Raises SealBroken where none has that size."""
    body = file_size - HEADER_BYTES
    chunks, rest = divmod(body, _SEALED_BYTES)
    if body < _TAG_BYTES or 0 < rest < _TAG_BYTES:
        raise SealBroken
    return body - _TAG_BYTES * (chunks + (rest > 0))


class SealedFile(io.RawIOBase):
    """The bytes of a sealed file as a file that is read; takes over the open ``file``, unbuffered."""

    def __init__(self, file: io.FileIO, data_key: bytes) -> None:
        self._file, self._cipher = file, cipher_of(data_key)
        self.size = plain_size(file.seek(0, io.SEEK_END))
        self._last = max(self.size - 1, 0) // CHUNK_BYTES
        self._at = 0
        self._number, self._chunk = -1, b""
        if self.size == 0:
            # Nothing will be read of it, so its one chunk is looked at now.
            self._open(0)

    @property
    def name(self) -> str | bytes | int | Path:
        """Of the file; pydicom asks every open file for it."""
        return self._file.name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        if start + offset < 0:
            raise OSError(22, "Invalid argument")
        self._at = start + offset
        return self._at

    def readinto(self, target: Any) -> int:
        view = memoryview(target).cast("B")
        done = 0
        while done < len(view) and self._at < self.size:
            number, skip = divmod(self._at, CHUNK_BYTES)
            if number != self._number:
                self._open(number)
            piece = self._chunk[skip : skip + len(view) - done]
            view[done : done + len(piece)] = piece
            done += len(piece)
            self._at += len(piece)
        return done

    def readall(self) -> bytes:
        data = bytearray(max(self.size - self._at, 0))
        self.readinto(data)
        return bytes(data)

    def close(self) -> None:
        self._file.close()
        super().close()

    def _open(self, number: int) -> None:
        self._file.seek(HEADER_BYTES + number * _SEALED_BYTES)
        sealed = self._file.read(_SEALED_BYTES)
        chunk = opened(self._cipher, _nonce(number, number == self._last), sealed, MAGIC)
        if chunk is None:
            raise SealBroken
        self._number, self._chunk = number, chunk


@dataclass(frozen=True)
class SealedPath:
    """A sealed file and the key of its bytes: all that is needed to read this one object."""

    path: Path
    data_key: bytes = field(repr=False)

    def open(self, mode: Literal["rb"] = "rb") -> BinaryIO:
        return cast(BinaryIO, io.BufferedReader(self.raw(), CHUNK_BYTES))

    def raw(self) -> SealedFile:
        file = io.FileIO(self.path)
        try:
            return SealedFile(file, self.data_key)
        except BaseException:
            file.close()
            raise

    def read_bytes(self) -> bytes:
        with self.raw() as file:
            return file.readall()


Source = Path | SealedPath
"""Bytes to read: ``open("rb")`` and ``read_bytes()`` mean the same for both."""


@contextmanager
def mapped(source: Source) -> Iterator[bytes | mmap]:
    """Yield all bytes of ``source`` as one buffer: a map of the file, or what was decrypted, in memory."""
    if isinstance(source, SealedPath):
        yield source.read_bytes()
        return
    with source.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        yield data


def source_to_json(source: Source) -> list[str]:
    """Return ``source`` as JSON for a child process: it names the data key, so it may lie in no file."""
    if isinstance(source, SealedPath):
        return [str(source.path.absolute()), source.data_key.hex()]
    return [str(source.absolute())]


def source_from_json(words: list[str]) -> Source:
    """Return the source that ``source_to_json`` wrote."""
    path, *key = words
    return SealedPath(Path(path), bytes.fromhex(key[0])) if key else Path(path)
