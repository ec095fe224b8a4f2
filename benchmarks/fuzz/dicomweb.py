"""Fuzz DICOMweb through the whole application, as a program with a token asks it: address, query, headers and body.

An input is the number of a method, then three lines (path, query, Accept) and the rest as a body. No answer may have a
status of 500 or above but 503 and 507 (full).
"""

import asyncio
from io import BytesIO
from typing import Any
from urllib.parse import unquote

from common import MAX_BYTES, House, run
from pydicom import dcmread

from benchmarks.common import write_instances
from readingroom.access.accounts import create_account
from readingroom.access.projects import DEFAULT_NAME, set_memberships
from readingroom.access.tokens import create_token
from readingroom.archive.receive import Archive
from readingroom.core.permissions import Permission, Role
from readingroom.web.app import create_app

BOUNDARY = b"fuzz"
METHODS = ("GET", "POST")
HOUSE = House()
LOOP = asyncio.new_event_loop()


class Site:
    """The application over the archive of the moment, with one stored study."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        settings = archive.settings
        self.app = create_app(settings, archive.database, archive)
        with archive.database.write() as session:
            account = create_account(session, "fuzz", "correct horse battery staple", Role.SERVICE)
            scopes = [Permission.STUDY_QUERY, Permission.STUDY_READ, Permission.STUDY_STORE]
            set_memberships(session, account, {DEFAULT_NAME: Role.SERVICE}, actor="fuzz")
            self.token = create_token(session, account, "fuzz", scopes, 1, actor="fuzz").text
        for path in write_instances(settings.work_folder, studies=1, slices=2, rows=8):
            assert archive.put_file(path.read_bytes(), source="fuzz").ok
            path.unlink()

    def ask(self, method: str, path: bytes, query: bytes, accept: bytes, body: bytes) -> int:
        return LOOP.run_until_complete(self._ask(method, path, query, accept, body))

    async def _ask(self, method: str, path: bytes, query: bytes, accept: bytes, body: bytes) -> int:
        status = 0
        # In two pieces: what a parser carries from one to the next is where it breaks.
        pieces = [body[: len(body) // 2], body[len(body) // 2 :]]

        async def receive() -> dict[str, Any]:
            if not pieces:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

        async def send(message: dict[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": unquote(path.decode("ascii")), "raw_path": path, "query_string": query, "root_path": "",
            "server": ("127.0.0.1", self.archive.settings.web_port), "client": ("127.0.0.1", 1),
            "headers": [
                (b"host", f"127.0.0.1:{self.archive.settings.web_port}".encode()),
                (b"authorization", f"Bearer {self.token}".encode()),
                (b"accept", accept),
                (b"content-type", b'multipart/related; type="application/dicom"; boundary=' + BOUNDARY),
                (b"content-length", str(len(body)).encode()),
            ],
        }  # fmt: skip
        await self.app(scope, receive, send)
        return status


_site: list[Site] = []


def site() -> Site:
    archive = HOUSE.archive
    if not _site or _site[0].archive is not archive:
        _site[:] = [Site(archive)]
    return _site[0]


def one(data: bytes) -> None:
    parts = bytes(data[1:MAX_BYTES]).split(b"\n", 3)
    if len(parts) < 4 or not data:
        return
    path, query, accept, body = parts
    # What the HTTP parser (h11) lets through, and no more.
    path, query = (bytes(byte for byte in target if 0x20 < byte < 0x7F) for target in (path, query))
    accept = bytes(byte for byte in accept if byte >= 0x20 and byte != 0x7F).strip()
    status = site().ask(METHODS[data[0] % 2], b"/dicomweb/" + path, query, accept, body)
    assert 200 <= status < 500 or status in (503, 507), f"answered {status}"


def seeds() -> list[bytes]:
    paths = write_instances(HOUSE.archive.settings.work_folder, studies=1, slices=2, rows=8)
    files = [path.read_bytes() for path in paths]
    for path in paths:
        path.unlink()
    ds = dcmread(BytesIO(files[0]), stop_before_pixels=True)
    study = f"studies/{ds.StudyInstanceUID}".encode()
    series = study + f"/series/{ds.SeriesInstanceUID}".encode()
    instance = series + f"/instances/{ds.SOPInstanceUID}".encode()
    json, multi = b"application/dicom+json", b'multipart/related; type="application/dicom"; transfer-syntax=*'
    asked = [
        (b"studies", b"PatientName=Bench*&fuzzymatching=true&limit=2&offset=0&includefield=all", json),
        (b"studies", b"StudyDate=20250101-20270101&00100020=BENCH00000&StudyTime=10-11", json),
        (study + b"/series", b"Modality=CT&includefield=00080021", json),
        (series + b"/instances", b"InstanceNumber=1", json),
        (study + b"/metadata", b"", json),
        (instance, b"", multi),
        (instance + b"/frames/1", b"", b'multipart/related; type="application/octet-stream"'),
        (instance + b"/rendered", b"window=40,400,linear&viewport=64,64", b"image/jpeg;q=0.8, image/png"),
        (instance + b"/bulkdata/7FE00010", b"accept=application/octet-stream", b"*/*"),
        (series + b"/thumbnail", b"", b"image/png"),
    ]
    gets = [b"\0" + b"\n".join((*parts, b"")) for parts in asked]
    part = b"\r\n--" + BOUNDARY + b"\r\nContent-Type: application/dicom\r\n\r\n"
    bodies = [part + files[0] + part + files[1] + b"\r\n--" + BOUNDARY + b"--\r\n", part + files[0][:400]]
    return gets + [b"\1studies\n\n" + json + b"\n" + body for body in bodies]


if __name__ == "__main__":
    run(one, seeds())
