"""What wraps every request: the Host check, the security headers, the access log, and the net for unexpected errors.

The log and the metrics name a route by its template (``/api/v1/studies/{study_id}``), never by its path or query:
DICOMweb paths hold UIDs, and its queries hold what the standard makes them hold.
"""

import ipaddress
import logging
import socket
import traceback

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from readingroom.core.audit import acting_from
from readingroom.core.clock import monotonic
from readingroom.core.config import Settings
from readingroom.core.errors import ReadingRoomError
from readingroom.core.ids import new_id
from readingroom.web import errors
from readingroom.web.limits import Limits
from readingroom.web.patience import in_time
from readingroom.web.plain_text import check_address

log = logging.getLogger(__name__)
access_log = logging.getLogger("readingroom.web.access")

REGISTRY = CollectorRegistry()
REQUESTS = Counter("readingroom_http_requests", "Answers", ("method", "route", "status"), registry=REGISTRY)
SECONDS = Histogram("readingroom_http_seconds", "Seconds to the answer's last byte", ("route",), registry=REGISTRY)
PREFIXES = ("/api/v1", "/dicomweb", "/fhir")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})


class Guard:
    """The outermost layer. It answers 500 with an opaque number where anything unexpected gets this far."""

    def __init__(self, app: ASGIApp, settings: Settings, csp: str, limits: Limits) -> None:
        self.app = app
        self.limits = limits
        self.is_secure = settings.web_address.startswith("https://")
        self.hosts = {"localhost", settings.web_host.lower(), socket.gethostname().lower()} | {
            name.lower() for name in settings.allowed_hosts
        }
        self.csp = csp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = monotonic()
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._add_headers(scope, MutableHeaders(scope=message))
            await send(message)

        try:
            check_address(scope)
            if self._host_is_ours(Headers(scope=scope).get("host", "")):
                address = (scope.get("client") or ("",))[0]
                self.limits.take_for_address(address, scope["method"], scope["path"])
                # What is audited meanwhile, names the address it was asked from.
                with acting_from(address):
                    await self.app(scope, in_time(receive), send_with_headers)
            else:
                refusal = errors.body("bad-host", "This server does not answer to that name.", "See allowed_hosts.")
                await JSONResponse(refusal, 421)(scope, receive, send_with_headers)
        except ReadingRoomError as error:
            # From a streaming answer or a layer outside the routes.
            if status:
                raise
            await errors.answer(error)(scope, receive, send_with_headers)
        except Exception as error:
            number = _log_incident(error)
            if status:
                # The answer has begun: all that is left is to break it off, so that nobody takes it for whole.
                raise _BrokenOff(number) from None
            refusal = errors.body("internal", "Something went wrong here.", f"Tell an administrator: {number}.")
            await JSONResponse(refusal, 500)(scope, receive, send_with_headers)
        finally:
            self._note(scope, status, monotonic() - begun)

    def _host_is_ours(self, host: str) -> bool:
        """Whether the Host header names us. An address cannot be rebound by somebody's DNS, so any address will do."""
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        name = name.strip("[]").lower()
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self.hosts
        return True

    def _add_headers(self, scope: Scope, headers: MutableHeaders) -> None:
        headers["Content-Security-Policy"] = self.csp
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "no-referrer"
        headers["Cross-Origin-Opener-Policy"] = "same-origin"
        headers["Cross-Origin-Embedder-Policy"] = "require-corp"
        headers["Cross-Origin-Resource-Policy"] = "same-origin"
        headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"
        if scope["scheme"] == "https" or self.is_secure:
            headers["Strict-Transport-Security"] = "max-age=31536000"
        # Patients' data stays out of the browser's cache. Only built files, which hold none, say otherwise.
        headers.setdefault("Cache-Control", "no-store")

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = template(scope)
        method = scope["method"] if scope["method"] in _METHODS else "other"
        REQUESTS.labels(method, route, str(status)).inc()
        SECONDS.labels(route).observe(seconds)
        access_log.info("%s %s %d %.0f ms", method, route, status, seconds * 1000)


class _BrokenOff(Exception):
    """Ends an answer that has begun; its number finds the stack in the log."""


def template(scope: Scope) -> str:
    """Return the template of the route that took the request with the prefix it is under, or ``none``."""
    found = getattr(scope.get("route"), "path", None)
    if not found:
        return "none"
    # The route knows its path within its router only.
    prefix = next((p for p in PREFIXES if scope["path"].startswith(p + "/") and not found.startswith(p + "/")), "")
    return f"{prefix}{found}"


def _log_incident(error: Exception) -> str:
    number = new_id()[:12]
    # Frames show our own lines; the error's text may show a file's values, so it stays out.
    stack = "".join(traceback.format_tb(error.__traceback__))
    log.error("incident %s: %s\n%s", number, type(error).__name__, stack)
    return number
