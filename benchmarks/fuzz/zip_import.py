"""Fuzz the import of an archive of files: names, sizes, compression and the files inside are a stranger's."""

import io
import zipfile
from contextlib import suppress

from common import MAX_BYTES, House, run

from benchmarks.common import write_instances
from readingroom.archive.importer import import_path
from readingroom.core.errors import BadInput, OutOfResources

HOUSE = House()


def one(data: bytes) -> None:
    archive = HOUSE.archive
    path = archive.settings.home / "upload.zip"
    path.write_bytes(data[:MAX_BYTES])
    before = {p.name for p in archive.settings.home.iterdir()}
    with suppress(BadInput, OutOfResources):
        import_path(archive, path, actor="fuzz")
    new = {p.name for p in archive.settings.home.iterdir()} - before - {"store", "work"}
    assert all(name.startswith("index.sqlite") for name in new), "written outside the store"
    assert not any(archive.settings.work_folder.iterdir()), "scratch is left"


def seeds() -> list[bytes]:
    paths = write_instances(HOUSE.archive.settings.work_folder, studies=1, slices=2, rows=8)
    files = [path.read_bytes() for path in paths]
    for path in paths:
        path.unlink()
    found = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as packed:
            packed.writestr("a/one.dcm", files[0])
            packed.writestr("../two.dcm", files[1][:600])
            packed.writestr("DICOMDIR", b"not one")
        found.append(buffer.getvalue())
    return [*found, b"PK\x05\x06" + bytes(18), files[0]]


if __name__ == "__main__":
    run(one, seeds())
