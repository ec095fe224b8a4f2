"""Serving what the front-end build made: the pages and the viewer, compressed ahead, hashed files cached for ever."""

import mimetypes
import re
from pathlib import Path

from fastapi import Request
from fastapi.responses import FileResponse, PlainTextResponse, Response

from readingroom.core.errors import NotFound

FOLDER = Path(__file__).parent / "static"
IMMUTABLE = "public, max-age=31536000, immutable"
# Vite puts hashed files below assets/; webpack (OHIF) puts 16 hex digits into the name.
_HASHED = re.compile(r"(^assets/.*-[A-Za-z0-9_-]{8,}\.[a-z0-9]+$)|((^|\.|/)[0-9a-f]{16}\.[a-z0-9]+$)")
_TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm", ".svg": "image/svg+xml"}
COMPRESSED = ".gz"


class StaticFolder:
    """A built folder. ``index`` answers every address of its pages (they route in the browser)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    def file(self, path: str, request: Request) -> Response:
        """Return the file at ``path`` or raise NotFound; nothing outside the folder is ever reached."""
        found = (self.folder / path).resolve() if "\0" not in path else self.folder
        if not found.is_relative_to(self.folder) or not found.is_file() or found.suffix == COMPRESSED:
            raise NotFound("There is nothing here.")
        headers = {"Cache-Control": IMMUTABLE if _HASHED.search(path) else "no-cache", "Vary": "Accept-Encoding"}
        kind = _TYPES.get(found.suffix) or mimetypes.guess_type(found.name)[0] or "application/octet-stream"
        packed = found.with_name(found.name + COMPRESSED)
        # A range of the packed bytes would be no range of the file.
        if "gzip" in request.headers.get("Accept-Encoding", "") and "range" not in request.headers and packed.is_file():
            headers["Content-Encoding"] = "gzip"
            found = packed
        answer = FileResponse(found, media_type=kind, headers=headers)
        return _unchanged(answer, found, headers, request) or answer

    def page(self, path: str, request: Request) -> Response:
        """Return the file at ``path``, or the index page where the path looks like a page's address."""
        try:
            return self.file(path, request)
        except NotFound:
            if "." in path.rsplit("/", 1)[-1]:
                raise
        return self.index(request)

    def index(self, request: Request) -> Response:
        """Return the index page, or a plain sentence where the pages are not built."""
        if not (self.folder / "index.html").is_file():
            return PlainTextResponse("The pages are not built yet. Run: make setup\n", 503)
        return self.file("index.html", request)


def _unchanged(answer: FileResponse, found: Path, headers: dict[str, str], request: Request) -> Response | None:
    answer.set_stat_headers(found.stat())
    etag = answer.headers["etag"]
    if request.headers.get("If-None-Match") != etag:
        return None
    return Response(status_code=304, headers={**headers, "ETag": etag})
