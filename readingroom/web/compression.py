"""Compression on the way out, for JSON only: images are compressed already, and static files were ahead of time."""

from starlette.datastructures import Headers
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

_EXCLUDED = ("multipart/*", "image/*", "audio/*", "video/*", "application/dicom", "application/octet-stream",
             "application/pdf", "application/zip")  # fmt: skip


class GzipJson:
    """Compress answers of the API, and DICOMweb's where the caller takes JSON. Level 1: nearly all of the gain."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.packed = GZipMiddleware(app, minimum_size=1024, compresslevel=1, exclude_content_types=_EXCLUDED)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wanted = scope["type"] == "http" and (
            scope["path"].startswith("/api/")
            or (scope["path"].startswith("/dicomweb/") and "json" in Headers(scope=scope).get("accept", ""))
        )
        await (self.packed if wanted else self.app)(scope, receive, send)
