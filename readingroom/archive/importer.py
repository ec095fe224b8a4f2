"""Import of a folder, a file or a zip: every file in it is stored, known already, quarantined or skipped, and counted.

A zip is read member by member in pieces, never unpacked to disk: limits on entries, on the size of one member, on the
sum and on the ratio stop a bomb within a few megabytes, whatever its directory claims. Names in a zip are never paths.
"""

import lzma
import mmap
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from readingroom.archive.filing import HOME, Filing
from readingroom.archive.gather import Spool
from readingroom.archive.receive import Archive, Received
from readingroom.archive.revisions import request_ready
from readingroom.core.audit import AuditCode, record
from readingroom.core.errors import BadInput, NotFound, OutOfResources
from readingroom.core.ids import sha256_hex

MAX_ENTRIES = 500_000
MAX_RATIO = 200
_RATIO_FROM_BYTES = 8 << 20
"""A ratio means nothing for small members: a blank image packs 1000 to 1."""
_CHUNK = 1 << 20
# All that the unpackers raise on bytes that are not theirs; bzip2 says OSError, a bad offset ValueError.
_BROKEN = (NotImplementedError, EOFError, zlib.error, lzma.LZMAError, struct.error, ValueError, OverflowError, OSError)
_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_SKIPPED_NAMES = frozenset({"dicomdir", "thumbs.db", "desktop.ini"})

Progress = Callable[[int, int], None]


@dataclass
class ImportSummary:
    """Counts of an import. ``problems``: (digest of the name, code, reason) of what was not accepted."""

    stored: int = 0
    duplicates: int = 0
    corrected: int = 0
    notes: int = 0
    skipped: int = 0
    quarantined: int = 0
    refused: int = 0
    study_ids: set[str] = field(default_factory=set)
    problems: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def accepted(self) -> int:
        return self.stored + self.duplicates + self.corrected + self.notes

    def add(self, name: str, received: Received) -> None:
        counter = {
            "stored": "stored",
            "duplicate": "duplicates",
            "corrected": "corrected",
            "rejected-note": "notes",
            "quarantined": "quarantined",
            "refused": "refused",
        }[received.outcome]
        setattr(self, counter, getattr(self, counter) + 1)
        if received.study_id:
            self.study_ids.add(received.study_id)
        if not received.ok:
            self.fail(name, received.code, received.message)

    def fail(self, name: str, code: str, reason: str) -> None:
        # Names of files are often names of patients.
        self.problems.append((sha256_hex(name)[:16], code, reason))


def import_path(
    archive: Archive,
    path: Path,
    progress: Progress = lambda done, total: None,
    *,
    filing: Filing = HOME,
    actor: str = "import",
) -> ImportSummary:
    """Import what is at ``path``; ``progress(done, total)`` counts files.

    A folder or zip is a whole delivery: with its last file the studies in it are ready, without waiting for quiet.
    Symbolic links are not followed. Raises NotFound when there is nothing, BadInput for a zip that is a bomb or is
    broken, OutOfResources when the disk is full; what was stored before that stays.
    """
    if not path.exists():
        raise NotFound("There is nothing at this path.")
    summary = ImportSummary()
    try:
        if path.is_dir():
            _import_folder(archive, path, filing, summary, progress)
        elif _is_zip(path):
            _import_zip(archive, path, filing, summary, progress)
        else:
            _import_file(archive, path, filing, summary)
            progress(1, 1)
            # One file says nothing of the others of its study.
            return summary
    finally:
        _audit(archive, summary, actor)
    _ready(archive, summary)
    return summary


def _import_folder(archive: Archive, folder: Path, filing: Filing, summary: ImportSummary, progress: Progress) -> None:
    files = sorted(_files(folder))
    for done, path in enumerate(files, 1):
        if _is_zip(path):
            # A zip among the files of a folder was put there by someone who meant it: not nested, so allowed.
            _import_zip(archive, path, filing, summary, lambda _done, _total: None)
        else:
            _import_file(archive, path, filing, summary)
        progress(done, len(files))


def _files(folder: Path) -> Iterator[Path]:
    for root, _folders, names in os.walk(folder, followlinks=False):
        for name in names:
            path = Path(root) / name
            # Neither links nor sockets and devices: only what lies in the folder itself.
            if stat.S_ISREG(path.lstat().st_mode):
                yield path


def _import_file(archive: Archive, path: Path, filing: Filing, summary: ImportSummary) -> None:
    if _to_skip(path.name):
        summary.skipped += 1
        return
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        _put(archive, data, path.name, filing, summary)


def _put(
    archive: Archive, data: bytes | mmap.mmap | memoryview, name: str, filing: Filing, summary: ImportSummary
) -> None:
    if bytes(data[:4]) in _ZIP_MAGIC:
        summary.skipped += 1
        summary.fail(name, "nested-zip", "A zip within a zip is not opened.")
        return
    received = archive.put_file(data, source="import", filing=filing)
    summary.add(name, received)
    if received.code == "out-of-resources":
        raise OutOfResources(received.message, "Free space, then import again: what is here already is passed over.")


def _import_zip(archive: Archive, path: Path, filing: Filing, summary: ImportSummary, progress: Progress) -> None:
    try:
        container = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, *_BROKEN) as error:
        raise BadInput(f"The zip cannot be read ({type(error).__name__}).", "Pack it again.", code="bad-zip") from None
    with container:
        # Not is_dir(): it fails on an entry without a name.
        members = [info for info in container.infolist() if not info.filename.endswith("/")]
        if len(members) > MAX_ENTRIES:
            raise BadInput(f"The zip has more than {MAX_ENTRIES} entries.", code="zip-bomb")
        budget = _Budget(archive.settings.max_unpacked_bytes)
        for done, info in enumerate(members, 1):
            _import_member(archive, container, info, budget, filing, summary)
            progress(done, len(members))


def _import_member(
    archive: Archive,
    container: zipfile.ZipFile,
    info: zipfile.ZipInfo,
    budget: "_Budget",
    filing: Filing,
    summary: ImportSummary,
) -> None:
    # The name only decides what to skip; it is never joined to a path.
    name = info.filename.replace("\\", "/").rsplit("/", 1)[-1]
    if _to_skip(name) or stat.S_ISLNK(info.external_attr >> 16):
        summary.skipped += 1
        return
    if info.flag_bits & 0x1:
        summary.skipped += 1
        summary.fail(info.filename, "encrypted", "The entry is encrypted.")
        return
    spool = Spool(archive.settings.max_object_bytes, archive.settings.work_folder)
    try:
        for chunk in _unpacked(container, info):
            spool.write(chunk)
            budget.spend(len(chunk), spool.size, info.compress_size)
        _put(archive, spool.buffer(), info.filename, filing, summary)
    except BadInput as error:
        if error.code != "too-large":
            raise
        summary.refused += 1
        summary.fail(info.filename, error.code, error.message)
    except zipfile.BadZipFile as error:
        # One broken entry does not cost the others.
        summary.refused += 1
        summary.fail(info.filename, "bad-zip", str(error))
    finally:
        spool.close()


def _unpacked(container: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield an entry's bytes. Raises BadZipFile whatever is wrong with it."""
    try:
        with container.open(info) as member:
            while chunk := member.read(_CHUNK):
                yield chunk
    except (zipfile.BadZipFile, *_BROKEN) as error:
        raise zipfile.BadZipFile(f"The entry cannot be unpacked ({type(error).__name__}).") from None


class _Budget:
    """How much a zip may still unpack to. What is counted is what comes out, not what the directory says."""

    def __init__(self, limit: int) -> None:
        self.limit, self.left = limit, limit

    def spend(self, count: int, unpacked: int, packed: int) -> None:
        self.left -= count
        if self.left < 0:
            raise BadInput(f"The zip unpacks to more than {self.limit} bytes.", code="zip-bomb")
        if unpacked > _RATIO_FROM_BYTES and unpacked > MAX_RATIO * max(packed, 1):
            raise BadInput(f"An entry of the zip unpacks to more than {MAX_RATIO} times its size.", code="zip-bomb")


def _is_zip(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(4) in _ZIP_MAGIC


def _to_skip(name: str) -> bool:
    return name.lower() in _SKIPPED_NAMES or name.startswith(".")


def _ready(archive: Archive, summary: ImportSummary) -> None:
    for study_id in sorted(summary.study_ids):
        with archive.database.write() as session:
            request_ready(session, study_id)


def _audit(archive: Archive, summary: ImportSummary, actor: str) -> None:
    with archive.database.write() as session:
        detail = {"accepted": summary.accepted, "quarantined": summary.quarantined, "refused": summary.refused}
        for study_id in sorted(summary.study_ids) or (None,):
            record(session, AuditCode.IMPORT, "import", actor, study_id=study_id, detail=detail)
