"""The store: where bytes lie, under opaque random keys. A folder by default; another kind implements ``Store``.

What ``put`` has returned is on the disk: data written and synced, folder synced. The file has its name from the
start: nobody knows a key before ``put`` returns, so a half-written file is just one more that no row names, and
a rename would only make the disk wait once more. A key says nothing about its content: never a UID, a PatientID or a
name.

With ``store_encryption`` an object lies encrypted in ``KEY.sealed`` (``core/sealed.py``), its data key wrapped with the
key of its project (``keyring.py``). What came before lies plain in ``KEY`` until it is sealed too; both are read alike.
"""

import errno
import fcntl
import io
import os
import secrets
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol, cast

from readingroom.access.projects import DEFAULT_PROJECT
from readingroom.core.config import Settings
from readingroom.core.errors import KeyMissing, NotFound, OutOfResources
from readingroom.core.ids import new_id
from readingroom.core.sealed import (
    CHUNK_BYTES,
    DATA_KEY_BYTES,
    EMPTY_SLOT,
    HEADER_BYTES,
    MAGIC,
    SLOT_BYTES,
    SealBroken,
    SealedFile,
    SealedPath,
    Source,
    plain_size,
    seal,
    wrapped_by,
)

if TYPE_CHECKING:
    from readingroom.archive.keyring import KeyRing

_FILES_PER_FOLDER: Final = 1024
_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SEALED: Final = ".sealed"
_PART: Final = ".part"
"""Ends the name of a sealed copy that is not whole yet; its plain file is still there."""


class Store(Protocol):
    """Put, read a range, delete. ``put`` raises OutOfResources and leaves nothing behind when there is no room."""

    def put(self, chunks: Iterable[bytes | memoryview] | bytes, *, project: int = DEFAULT_PROJECT) -> str: ...

    def open(self, key: str) -> BinaryIO: ...

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes: ...

    def source(self, key: str) -> Source: ...

    def delete(self, key: str) -> None: ...

    def size(self, key: str) -> int: ...

    def keys(self, older_than_seconds: float) -> Iterator[str]: ...


def open_store(settings: Settings) -> "LocalStore":
    """Return this site's store. Raises KeyMissing where it is sealed and the secret key does not open it."""
    folder = settings.store_folder / "keys"
    ring = None
    if settings.store_encryption or folder.is_dir():
        # Imported here: a plain store needs no ciphers.
        from readingroom.archive.keyring import KeyRing
        from readingroom.core.secrets import load_secrets

        ring = KeyRing(folder, load_secrets(settings))
        ring.current(DEFAULT_PROJECT)
    return LocalStore(
        settings.store_folder, min_free_bytes=settings.min_free_bytes, ring=ring, sealing=settings.store_encryption
    )


class LocalStore:
    """A folder of files, two levels of folders deep. Safe for threads and for several processes at once.

    A process fills one folder before it goes to the next, so that few folders are made and synced. ``ring``: opens
    what is sealed; ``sealing``: what is put is sealed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        min_free_bytes: int = 256 << 20,
        ring: "KeyRing | None" = None,
        sealing: bool = False,
    ) -> None:
        self.folder = folder
        self.min_free_bytes = min_free_bytes
        self.ring = ring
        self._sealing = sealing
        self._lock = threading.Lock()
        self._prefix = ""
        self._left = 0
        self._pid = 0
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, chunks: Iterable[bytes | memoryview] | bytes, *, project: int = DEFAULT_PROJECT) -> str:
        """Write ``chunks`` and return their key once they are durable.

        ``project``: whose key seals them. Raises OutOfResources when the disk is full, or the store's keys do not open.
        """
        status = os.statvfs(self.folder)
        if status.f_bavail * status.f_frsize < self.min_free_bytes:
            raise OutOfResources("The store's disk is nearly full.", "Free space or lower min_free_bytes.")
        target: Path | None = None
        pieces = (chunks,) if isinstance(chunks, bytes) else chunks
        try:
            key = self._next_key()
            target = self._sealed_path(key) if self._sealing else self._plain_path(key)
            # Unbuffered: each chunk is one write of its own.
            with io.FileIO(target, "xb+") as file:
                if self._sealing:
                    self._seal_into(file, key, pieces, project)
                else:
                    for piece in pieces:
                        _write(file, piece)
                # fdatasync writes the data and the size, which is all a new file needs to be read back.
                _sync(file)
            sync_folder(target.parent)
            return key
        except BaseException as error:
            if target is not None:
                target.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.errno in _FULL:
                raise OutOfResources("The store's disk is full.", "Free space; the sender will try again.") from error
            if isinstance(error, KeyMissing):
                raise OutOfResources(error.message, error.hint) from error
            raise

    def source(self, key: str) -> Source:
        """Return what to read the object from, also in another process (whether or not it is there)."""
        if self.ring is not None:
            with suppress(FileNotFoundError), io.FileIO(self._sealed_path(key)) as file:
                return SealedPath(self._sealed_path(key), self._data_key(file, key))
        return self._plain_path(key)

    def open(self, key: str) -> BinaryIO:
        """Return the object as an open file."""
        return cast(BinaryIO, io.BufferedReader(self._raw(key), CHUNK_BYTES))

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Return ``length`` bytes from ``start`` (all that follow where None)."""
        with self._raw(key) as file:
            if start:
                file.seek(start)
            if length is None:
                return file.readall()
            pieces = []
            while length > 0 and (piece := file.read(length)):
                pieces.append(piece)
                length -= len(piece)
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def delete(self, key: str) -> None:
        """Remove the bytes of ``key``; a key that is not there is no error."""
        self._plain_path(key).unlink(missing_ok=True)
        if self.ring is not None:
            self._sealed_path(key).unlink(missing_ok=True)

    def size(self, key: str) -> int:
        """Return how many bytes ``read`` gives."""
        for _ in range(2):
            if self.ring is not None:
                with suppress(FileNotFoundError):
                    return plain_size(self._sealed_path(key).stat().st_size)
            with suppress(FileNotFoundError):
                return self._plain_path(key).stat().st_size
        raise NotFound("No such key in the store.")

    def keys(self, older_than_seconds: float) -> Iterator[str]:
        """Yield the keys written longer ago than that, among them what a crash left half-written."""
        limit = time.time() - older_than_seconds
        for path in self._files():
            try:
                if path.stat().st_mtime > limit:
                    continue
            except FileNotFoundError:
                continue
            yield path.stem

    def plain_keys(self) -> Iterator[str]:
        """Yield the keys of what is not sealed."""
        return (path.name for path in self._files() if not path.suffix)

    def sealed_keys(self) -> Iterator[str]:
        """Yield the keys of what is sealed."""
        return (path.stem for path in self._files() if path.suffix == _SEALED)

    def seal_plain(self, key: str, project: int) -> bool:
        """Seal an object that lies plain, whole or not at all; False where it is no longer there."""
        plain, sealed = self._plain_path(key), self._sealed_path(key)
        if not sealed.exists():
            part = sealed.with_suffix(_PART)
            try:
                with io.FileIO(plain) as source, io.FileIO(part, "wb+") as file:
                    self._seal_into(file, key, iter(lambda: source.read(CHUNK_BYTES), b""), project)
                    _sync(file)
            except FileNotFoundError:
                return False
            part.rename(sealed)
            sync_folder(sealed.parent)
        # Whoever has the plain file open reads on; whoever comes now finds the sealed one first.
        plain.unlink(missing_ok=True)
        sync_folder(plain.parent)
        return True

    def clear_parts(self) -> None:
        """Remove the copies that an interrupted ``seal_plain`` left; only while no other runs."""
        for path in self.folder.glob(f"??/??/*{_PART}"):
            path.unlink(missing_ok=True)

    def wrap_anew(self, key: str, project: int) -> bool:
        """Wrap an object's data key with the present key of ``project``; False where that is so already.

        Raises SealBroken or KeyMissing, and leaves everything as it was, where it cannot be opened.
        """
        try:
            with io.FileIO(self._sealed_path(key), "rb+") as file:
                # One that is being written has no header yet: its writer looks for a new key before it is done.
                return len(_header(file)) == HEADER_BYTES and self._wrap(file, key, project)
        except FileNotFoundError:
            return False

    def _seal_into(self, file: io.FileIO, key: str, pieces: Iterable[bytes | memoryview], project: int) -> None:
        """Write the sealed form of ``pieces``.

        A rotation makes its key before it lists the files, and we made the file before we asked for the key. So either
        the rotation finds this file, or we find its key at the end: none is left under a key that is destroyed.
        """
        ring = self._ring()
        used = ring.current(project)
        data_key = secrets.token_bytes(DATA_KEY_BYTES)
        _write(file, MAGIC + used.wrap(data_key, key) + EMPTY_SLOT)
        for piece in seal(pieces, data_key):
            _write(file, piece)
        while (now := ring.current(project)) != used:
            self._wrap(file, key, project, data_key)
            used = now

    def _wrap(self, file: io.FileIO, key: str, project: int, data_key: bytes = b"") -> bool:
        """Write the new wrapping into the other slot, and only when that is durable wipe the old one."""
        fcntl.flock(file, fcntl.LOCK_EX)
        slots = _slots(_header(file))
        wanted = self._ring().current(project)
        opened = [self._unwrapped(slot, key) for slot in slots]
        new = next((n for n in (0, 1) if opened[n] and wrapped_by(slots[n]) == wanted.id), None)
        if new is None:
            data_key = data_key or opened[0] or opened[1] or self._data_key(file, key)
            new = 1 if opened[0] else 0
            _write_slot(file, new, wanted.wrap(data_key, key))
        elif slots[1 - new] == EMPTY_SLOT:
            return False
        _write_slot(file, 1 - new, EMPTY_SLOT)
        return True

    def _unwrapped(self, slot: bytes, key: str) -> bytes | None:
        try:
            return self._ring().unwrap(slot, key)
        except KeyMissing:
            return None

    def _ring(self) -> "KeyRing":
        assert self.ring is not None
        return self.ring

    def _raw(self, key: str) -> io.FileIO | SealedFile:
        # Twice: between looking for one form and the other the object may have been sealed.
        for _ in range(2):
            if self.ring is not None:
                with suppress(FileNotFoundError):
                    file = io.FileIO(self._sealed_path(key))
                    try:
                        return SealedFile(file, self._data_key(file, key))
                    except BaseException:
                        file.close()
                        raise
            with suppress(FileNotFoundError):
                return io.FileIO(self._plain_path(key))
        raise NotFound("No such key in the store.")

    def _data_key(self, file: io.FileIO, key: str) -> bytes:
        """Return the object's data key. Raises KeyMissing, SealBroken."""
        # Twice: the header may be read while it is written anew, or just before the key it names is destroyed.
        for _ in range(2):
            for slot in _slots(_header(file)):
                if data_key := self._unwrapped(slot, key):
                    return data_key
        for slot in _slots(_header(file)):
            self._ring().unwrap(slot, key)
        raise SealBroken

    def _plain_path(self, key: str) -> Path:
        if len(key) != 32 or not key.isalnum():
            raise NotFound("No such key in the store.")
        return self.folder / key[:2] / key[2:4] / key

    def _sealed_path(self, key: str) -> Path:
        return self._plain_path(key).with_suffix(_SEALED)

    def _files(self) -> Iterator[Path]:
        return (path for path in self.folder.glob("??/??/*") if path.suffix != _PART)

    def _next_key(self) -> str:
        with self._lock:
            # A forked process must not fill its parent's folder count, nor share its place.
            if self._left == 0 or self._pid != os.getpid():
                self._prefix, self._left, self._pid = new_id()[:4], _FILES_PER_FOLDER, os.getpid()
                first, second = self.folder / self._prefix[:2], self.folder / self._prefix[:2] / self._prefix[2:]
                if not second.exists():
                    second.mkdir(parents=True, exist_ok=True)
                    sync_folder(first)
                    sync_folder(self.folder)
            self._left -= 1
            return self._prefix + new_id()[4:]


def _write(file: io.FileIO, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _sync(file: io.FileIO) -> None:
    getattr(os, "fdatasync", os.fsync)(file.fileno())


def _header(file: io.FileIO) -> bytes:
    return os.pread(file.fileno(), HEADER_BYTES, 0)


def _slots(header: bytes) -> tuple[bytes, bytes]:
    """Return both wrapped data keys. Raises SealBroken where this is no header."""
    if len(header) != HEADER_BYTES or not header.startswith(MAGIC):
        raise SealBroken
    at = len(MAGIC)
    return header[at : at + SLOT_BYTES], header[at + SLOT_BYTES :]


def _write_slot(file: io.FileIO, number: int, slot: bytes) -> None:
    os.pwrite(file.fileno(), slot, len(MAGIC) + number * SLOT_BYTES)
    _sync(file)


def sync_folder(folder: Path) -> None:
    """Make what was added to or taken from ``folder`` durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
